"""What is no file under the name of one that is read back neither stops a command nor is removed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch

from landscape.cache.cache_limits import CacheLimits
from landscape.cache.collect import collect
from landscape.cache.contents import read_store
from landscape.cache.inventory import list_units
from landscape.cache.verify import verify
from landscape.records.record import load_record, save_record
from landscape.session import in_use
from landscape.session.in_use import FOLDER, REMOVING, claimed, marked, marks
from quant.errors import StoreError
from quant.files.hashed_files import is_sealed, read_hashed, seal, write_hashed
from tests.landscape.cache.folders import STORE, fill
from tests.landscape.probing.test_odd_shards import ODD
from tests.landscape.stores import quiet
from tests.synthetic import landscape

odd = pytest.mark.parametrize("kind", ODD)
READ = (
    f"{STORE}/settings.json", f"{STORE}/batch-*.json", f"{STORE}/probes/*.h5", f"{STORE}/layers/*.h5",
    f"{STORE}/points/*/*.h5", f"{STORE}/unfinished/*.safetensors", f"{STORE}/runs/*.json", "studies/*.json",
    "tokens/*.safetensors", "self/*/*/*.safetensors", "models/gguf-*/SHA256SUMS", "models/gguf-*/conversion.json",
)  # fmt: skip


def asides(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.damaged*"))


@odd
def test_tensors_count_as_missing_and_are_written_beside_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    ODD[kind](path)
    assert read_hashed(path, {}) is None
    write_hashed(path, {"a": torch.ones(2)}, {})
    read = read_hashed(path, {})
    assert read is not None
    assert read[0]["a"].tolist() == [1, 1]
    assert len(asides(path)) == 1 or kind == "a link to nothing"


@odd
def test_a_run_is_kept_beside_it(kind: str, tmp_path: Path) -> None:
    path, result = tmp_path / "survey.json", landscape(directions=2, windows=2)
    ODD[kind](path)
    with pytest.raises(StoreError, match=f"expected a run of quant-landscape in .*, found {kind}; name another"):
        load_record(path)
    save_record(result, path, "landscape probe")
    assert load_record(path).kind == "survey"
    assert os.path.lexists(asides(path)[0])


@odd
def test_a_folder_whose_sums_are_no_file_is_not_sealed(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    seal(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    ODD[kind](tmp_path / "SHA256SUMS")
    assert not is_sealed(tmp_path)


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device"])
def test_the_commands_of_the_cache_answer(kind: str, tmp_path: Path) -> None:
    fill(tmp_path)
    for pattern in READ:
        path = next(tmp_path.glob(pattern))
        path.unlink()
        ODD[kind](path)
    list_units(tmp_path)
    assert read_store(tmp_path / STORE).probes
    verify(tmp_path)
    collect(tmp_path, CacheLimits(), dry_run=True)
    verify(tmp_path, repair=True)
    collect(tmp_path, CacheLimits())


MARKS = [
    [], "x", 3, None, {}, {"host": 5, "pid": 1, "started": 0}, {"host": "h", "pid": "x", "started": 0},
    {"host": "", "pid": -1, "started": 1}, {"host": "h", "pid": 10**30, "started": 1},
    {"host": "h", "pid": 1, "started": None}, {"host": "h", "pid": 1, "started": 1.5},
    {"host": "h", "pid": 1, "started": 10**400}, {"host": "h", "pid": 1, "started": 1, "store": [1]},
]  # fmt: skip


@pytest.mark.parametrize("content", MARKS, ids=str)
def test_a_mark_of_wrong_types_counts_as_one_of_any_store(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_use.socket, "gethostname", lambda: "h")
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "x.json").write_text(json.dumps(content))
    assert marks(tmp_path, time.time()) == [in_use.Mark("", 0, 0.0)]


@odd
def test_a_mark_that_is_no_file_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    ODD[kind](tmp_path / FOLDER / "x.json")
    assert marks(tmp_path, time.time()) in ([in_use.Mark("", 0, 0.0)], [])
    (tmp_path / FOLDER / "y.json").write_text("[" * 50_000)
    assert in_use.Mark("", 0, 0.0) in marks(tmp_path, time.time())


@odd
def test_a_claim_that_is_no_file_holds_nobody_back(kind: str, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / REMOVING
    for enter in (lambda: marked(tmp_path, quiet), lambda: claimed(tmp_path)):
        ODD[kind](path)
        with enter():
            pass
        path.unlink(missing_ok=True)
    assert asides(path)
