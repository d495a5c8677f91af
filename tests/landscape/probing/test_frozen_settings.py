"""Settings that cannot be right are set aside, said once and chosen again; what is right in them stays."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from landscape.probing import frozen_settings
from landscape.probing.frozen_settings import Whole
from landscape.radius import RadiusRequest
from landscape.session.opening import check_evaluation, frozen_threads
from landscape.session.session import Session
from quant.errors import StoreError
from quant.nll import EVALUATION
from tests.landscape.probing.test_odd_shards import ODD
from tests.landscape.stores import MODEL, quiet, result, store

BOUNDS = {"threads": Whole(1024), "evaluation": Whole(100, missing=1)}
NEW = {"threads": 3, "evaluation": 2}
WRONG = {
    "empty": b"",
    "cut off": b'{"schema_version": 1, "settings": {"thr',
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "nested deeply": b"[" * 60_000,
    "without settings": b'{"schema_version": 1}',
    "a version in words": b'{"schema_version": "1", "settings": {"threads": 2}}',
    "settings that are a list": b'{"schema_version": 1, "settings": [1, 2]}',
    "settings that are null": b'{"schema_version": 1, "settings": null}',
    "longer than any settings": b" " * 2**20 + b'{"schema_version": 1, "settings": {"threads": 2}}',
}
VALUES = [100_000, 0, -4, 2.0, 1e400, "4", None, True, [4], {}, 10**30]


def place(root: Path, name: str = "settings") -> Path:
    folder = root / f"{MODEL[:16]}-float32"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.json"


def settled(path: Path, said: list[str], name: str = "settings") -> dict[str, int]:
    return dict(store(path, said.append).settings(NEW, name, BOUNDS))


@pytest.mark.parametrize("name", ["settings", "batch-cpu-32"])
@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_file_that_holds_no_settings_is_set_aside(
    content: bytes, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_settings, "_PAUSE", 0.0)
    said: list[str] = []
    place(tmp_path, name).write_bytes(content)
    assert settled(tmp_path, said, name) == NEW
    (line,) = said
    assert line.endswith(f": moved to {name}.json.damaged; what it said is chosen again")
    assert place(tmp_path, name).with_name(f"{name}.json.damaged").read_bytes() == content
    assert store(tmp_path, quiet).settings({}, name, BOUNDS) == NEW


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_set_aside(kind: str, tmp_path: Path) -> None:
    said: list[str] = []
    ODD[kind](place(tmp_path))
    assert settled(tmp_path, said) == NEW
    assert said == [f"{place(tmp_path)} is {kind}: moved to settings.json.damaged; what it said is chosen again"]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_number_out_of_its_bounds_is_chosen_again_and_the_others_stay(value: object, tmp_path: Path) -> None:
    said: list[str] = []
    place(tmp_path).write_text(json.dumps({"schema_version": 1, "settings": {"threads": value, "evaluation": 7}}))
    assert settled(tmp_path, said) == {"threads": 3, "evaluation": 7}
    (line,) = said
    assert "has threads " in line
    assert "(not 1 to 1024): moved to settings.json.damaged" in line


def test_a_number_that_every_file_has_is_chosen_again(tmp_path: Path) -> None:
    said: list[str] = []
    place(tmp_path).write_text('{"schema_version": 1, "settings": {}}')
    assert settled(tmp_path, said) == {"threads": 3, "evaluation": 1}
    assert "has threads null (not 1 to 1024)" in said[0]


def test_what_a_file_of_an_earlier_version_lacks_has_a_value(tmp_path: Path) -> None:
    place(tmp_path).write_text('{"schema_version": 1, "settings": {"threads": 2}}')
    assert store(tmp_path).settings(NEW, bounds=BOUNDS) == {"threads": 2, "evaluation": 1}


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_settings, "_PAUSE", 0.0)
    path, said = place(tmp_path), list[str]()
    settled(tmp_path, said)
    written = path.read_bytes()
    for bit in range(8 * len(written)):
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = store(tmp_path, said.append).settings({"threads": 5, "evaluation": 6}, bounds=BOUNDS)
        assert found in (NEW, {"threads": 5, "evaluation": 6}), bytes(flipped)  # never a third
        for aside in path.parent.glob("*.damaged*"):
            aside.unlink()
    assert any("does not match its sha256: moved to settings.json.damaged" in line for line in said)


def test_a_newer_version_is_refused_and_stays(tmp_path: Path) -> None:
    place(tmp_path).write_text('{"schema_version": 2, "settings": {}}')
    with pytest.raises(StoreError, match="expected schema_version 1, found 2"):
        settled(tmp_path, [])
    assert place(tmp_path).exists()


def test_good_settings_that_came_since_are_not_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process set the damaged file aside and froze its own settings just before this one renames."""
    path, moved = place(tmp_path), frozen_settings.set_aside
    path.write_bytes(b"{")

    def late(target: Path) -> Path:
        target.write_text('{"schema_version": 1, "settings": {"threads": 8, "evaluation": 2}}')
        return moved(target)

    monkeypatch.setattr(frozen_settings, "set_aside", late)
    assert store(tmp_path, quiet).settings(NEW, bounds=BOUNDS) == {"threads": 8, "evaluation": 2}
    assert os.listdir(path.parent) == ["settings.json"]


def test_a_file_that_cannot_be_moved_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(frozen_settings, "set_aside", refuse)
    place(tmp_path).write_bytes(b"{")
    with pytest.raises(
        StoreError, match=r"which holds no settings.* cannot be moved \(Permission denied: it .*\); remove it"
    ):
        settled(tmp_path, [])


def test_the_threads_of_the_known_probes_are_taken_again(tmp_path: Path) -> None:
    said: list[str] = []
    store(tmp_path).commit([result("w")], {"threads": 3, "evaluation": EVALUATION})
    place(tmp_path).write_bytes(b"\0")
    here, before = store(tmp_path, said.append), torch.get_num_threads()
    check_evaluation(here)
    with frozen_threads(here, lambda line: None):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    assert len(said) == 1


def test_an_evaluation_that_can_be_read_is_refused_all_the_same(tmp_path: Path) -> None:
    other = EVALUATION + 1
    place(tmp_path).write_text(json.dumps({"schema_version": 1, "settings": {"threads": 0, "evaluation": other}}))
    with pytest.raises(StoreError, match=f"found version {other}"):
        check_evaluation(store(tmp_path, lambda line: None))


EARLIER = {"torch": "2.7", "threads": 3}  # a record of a version that did not say its evaluation


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"threads": 0, "evaluation": EVALUATION}, {"threads": 3, "evaluation": EVALUATION}),
        ({"evaluation": EVALUATION}, {"threads": 3, "evaluation": EVALUATION}),
        ({"threads": "4", "evaluation": EVALUATION}, {"threads": 3, "evaluation": EVALUATION}),
    ],
)
def test_an_evaluation_that_the_file_says_is_not_asked_of_losses_that_do_not_say_it(
    settings: dict[str, object], kept: dict[str, int], tmp_path: Path
) -> None:
    said: list[str] = []
    store(tmp_path).commit([result("w")], EARLIER)
    place(tmp_path).write_text(json.dumps({"schema_version": 1, "settings": settings}))
    check_evaluation(store(tmp_path, said.append))
    assert len(said) == 1
    assert json.loads(place(tmp_path).read_text())["settings"] == kept
    check_evaluation(store(tmp_path, quiet))


def test_a_store_that_is_refused_stays_as_it_was(tmp_path: Path) -> None:
    store(tmp_path).commit([result("w")], EARLIER)
    place(tmp_path).write_bytes(b"{")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"the losses there do not say it; remove that folder, or use another"):
            check_evaluation(store(tmp_path, quiet))
        assert place(tmp_path).read_bytes() == b"{"
        assert sorted(os.listdir(place(tmp_path).parent)) == ["probes", "settings.json"]


def test_a_refusal_names_the_file_that_was_set_aside(tmp_path: Path) -> None:
    """Where earlier code renamed it before it refused."""
    store(tmp_path).commit([result("w")], EARLIER)
    aside = place(tmp_path).with_name("settings.json.damaged")
    aside.write_text(json.dumps({"schema_version": 1, "settings": {"threads": 0, "evaluation": EVALUATION}}))
    with pytest.raises(StoreError, match=r"; if settings\.json\.damaged there still holds it, correct that file"):
        check_evaluation(store(tmp_path, quiet))
    aside.rename(place(tmp_path))
    check_evaluation(store(tmp_path, lambda line: None))


def test_a_proposal_is_made_only_for_what_is_missing(tmp_path: Path) -> None:
    made: list[str] = []

    def three() -> int:
        made.append("threads")
        return 3

    def never() -> int:
        raise AssertionError

    place(tmp_path).write_text('{"schema_version": 1, "settings": {"threads": 0, "evaluation": 7}}')
    for _ in range(2):
        found = store(tmp_path, lambda line: None).settings({"threads": three, "evaluation": never}, bounds=BOUNDS)
        assert found == {"threads": 3, "evaluation": 7}
    assert made == ["threads"]


@pytest.mark.parametrize("value", [[], {}, "3", 2.0, True, None, 0, -3, 10**30], ids=str)
def test_a_record_whose_numbers_are_none_does_not_say_them(value: object, tmp_path: Path) -> None:
    store(tmp_path).commit([result("w")], {"threads": value, "evaluation": EVALUATION})
    here = store(tmp_path)
    check_evaluation(here)
    assert here.settings({}) == {"threads": torch.get_num_threads(), "evaluation": EVALUATION}
    store(tmp_path / "b").commit([result("w")], {"threads": 3, "evaluation": value})
    with pytest.raises(StoreError, match="the losses there do not say it"):
        check_evaluation(store(tmp_path / "b"))


def test_records_of_another_evaluation_are_refused_by_its_number(tmp_path: Path) -> None:
    store(tmp_path).commit([result("w")], {"threads": 3, "evaluation": EVALUATION})
    store(tmp_path).commit([result("x")], {"threads": 3, "evaluation": EVALUATION + 1})
    with pytest.raises(StoreError, match=f"found version {EVALUATION + 1}"):
        check_evaluation(store(tmp_path))


SPOILED: dict[str, Callable[[Path], object]] = {
    "threads of 100,000": lambda path: path.write_text(path.read_text().replace('"threads": ', '"threads": 100000')),
    "nothing": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_run_goes_on_with_the_same_losses(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    request = RadiusRequest(seq_len=12, store=tmp_path)

    def losses() -> dict[str, float]:
        with Session.open(request) as session:
            session.check_center(session.windows[:3])
            session.store.compact()
            return {str(probe): found.total for probe, found in session.runner.known.items()}

    first = losses()
    for path in tmp_path.glob("*/*.json"):
        spoil(path)
    assert losses() == first
    assert len(list(tmp_path.glob("*/*.damaged"))) == 1 + (spoil is SPOILED["nothing"])
