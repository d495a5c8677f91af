"""What this tool did not write is neither removed nor called damaged, wherever in the folder a user put it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from landscape.cache.cache_limits import CacheLimits
from landscape.cache.collect import collect
from landscape.cache.inventory import list_units
from landscape.cache.own_names import DOWNLOAD, is_own
from landscape.cache.verify import verify
from landscape.probing.store import Store
from landscape.records.record import KINDS
from landscape.records.run_files import run_path
from quant.checkpoints.checkpoint import Checkpoint
from quant.checkpoints.wheel import MEMBER
from quant.files.temporary_files import temporary_name
from quant.numerics import PRECISIONS
from tests.landscape.cache.folders import DAY, STORE, fill, set_age

POINT = f"{STORE}/points/{'78' * 32}"
CONVERSION = f"models/gguf-{'cd' * 32}"
USERS = (
    "models/my-finetune/model.safetensors", "models/my.gguf", "models/gguf-mine/model.safetensors",
    "models/tmpmodels_1/model.safetensors", "models/x.damaged", "tokens/hf_token.txt", "self/portrait.png",
    "self/f00d/seed0/train-00000.safetensors", "studies/thesis.docx", "studies/mine.json", "studies/mine.json.damaged",
    "tmpbackups1/a.txt", "my.damaged", ".x.tmp", f"{'0' * 32}.tmp", f".vim.{'0' * 32}.partial", "probes.damaged/a.h5",
    f"{STORE}/my-notes.md", f"{STORE}/mine.json", f"{STORE}/mine.json.damaged", f"{STORE}/probes/plot.png",
    f"{STORE}/layers/mine.h5", f"{STORE}/runs/mine.json", f"{STORE}/points/mine/a.h5", f"{POINT}/notes.txt",
    f"{POINT}/deep/{'9' * 64}.h5", f"{STORE}/unfinished/mine.safetensors", f"{CONVERSION}/adapter.safetensors",
    "0123456789abcdef-thesis/chapter.tex",
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    fill(tmp_path)
    (tmp_path / POINT).mkdir()
    (tmp_path / POINT / f"{'9' * 64}.h5").write_bytes(b"point")
    return tmp_path


def put(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the user's own")
    set_age(root, 60 * DAY)


def unknown(root):
    return [unit.path for unit in list_units(root) if unit.kind == "unknown"]


def test_nothing_of_the_user_is_called_damaged_removed_or_renamed(root):
    put(root, USERS)
    found = unknown(root)
    assert [name for name in USERS if not {root / name, *(root / name).parents} & set(found)] == []
    damaged = {finding.path for finding in verify(root, repair=True).damaged}
    assert damaged == {root / POINT / f"{'9' * 64}.h5", root / CONVERSION}  # our own: no HDF5; a file too many
    for limits in (CacheLimits(older_than=30 * DAY, stores=True), CacheLimits(keep=0, stores=True)):
        collect(root, limits)
        assert [name for name in USERS if not (root / name).exists()] == []
        assert (root / STORE / "settings.json").exists()  # the store has unknown files in it
    assert {unit.kind for unit in list_units(root)} <= {"probes", "layers", "settings", "point", "conversion",
                                                        "leftover", "unknown"}  # fmt: skip


def test_one_file_of_the_user_keeps_a_whole_store(root):
    put(root, [f"{STORE}/my-notes.md"])
    before = {path.name for path in (root / STORE / "probes").glob("*.h5")}
    collect(root, CacheLimits(keep=0, stores=True))
    assert {path.name for path in (root / STORE / "probes").glob("*.h5")} == before
    (root / STORE / "my-notes.md").unlink()
    collect(root, CacheLimits(keep=0, stores=True))
    assert not (root / STORE).exists()


def test_what_is_there_for_a_moment_keeps_no_store(root):
    """A write is tried in each of these before the work (``check_writable``, ``check_kept``, ``clock``)."""
    places = (STORE, POINT, *(f"{STORE}/{name}" for name in ("probes", "layers", "points", "runs", "unfinished")))
    shared = ("tokens", "models", "studies", "self", f"self/{'f00d' * 4}", "self/f00df00df00df00d/seed0-length3-first1")
    left = [root / place / f"{dot}{'3' * 32}.tmp" for place in (*places, *shared) for dot in ("", ".")]
    put(root, left)
    assert {unit.path for unit in list_units(root) if unit.kind == "leftover"} >= set(left)
    collect(root, CacheLimits(keep=0, stores=True))
    assert not (root / STORE).exists()
    assert [path for path in left if path.exists()] == []


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_a_store_is_recognised_by_its_name(tmp_path, dtype, precision):
    computation = Checkpoint.computation.fget(SimpleNamespace(dtype=dtype, matmul_precision=precision))
    store = Store(tmp_path, "ab" * 32, computation)
    store.settings({})
    (unit,) = list_units(tmp_path)
    assert (unit.kind, unit.store) == ("settings", store.folder.name)
    aside = temporary_name(store.folder)
    store.folder.rename(aside)  # while it is removed
    assert {unit.kind for unit in list_units(tmp_path)} == {"leftover"}


def test_a_link_into_another_folder_stays(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "mine.txt").write_text("mine")
    link = root / POINT / "link"
    link.symlink_to(other)
    set_age(root, 60 * DAY)
    collect(root, CacheLimits(keep=0, stores=True))
    assert link.is_symlink()


def test_what_comes_into_a_store_after_it_was_listed_stays(root, monkeypatch):
    set_age(root, 60 * DAY)
    listed = list_units(root)
    put(root, [f"{POINT}/late.txt"])
    monkeypatch.setattr("landscape.cache.collect.list_units", lambda folder: listed)  # a slow reader
    done = collect(root, CacheLimits(keep=0, stores=True))
    assert (root / POINT / "late.txt").exists()
    assert root / POINT in {candidate.path for candidate in done.busy}


def test_the_names_are_those_that_are_written():
    assert Path(MEMBER).name == DOWNLOAD


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_every_kind_are_recognised(kind, tmp_path):
    path = run_path(tmp_path, kind, "org/Llama 3.2-1B", "landscape probe")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert is_own("run", path)
