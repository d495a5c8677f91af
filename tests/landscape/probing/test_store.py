from __future__ import annotations

import errno
import json
import math
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landscape.probing.plan import Probe, ProbeResult
from landscape.probing.store import Store
from landscape.session.opening import check_evaluation
from quant.errors import StoreError
from quant.nll import EVALUATION
from tests.landscape.stores import MODEL, SPACE, exit_codes, float_point, forked, quiet, result, shard_files, store


def bits(results: dict[Probe, ProbeResult]) -> dict[Probe, tuple[str, int]]:
    """NaN equals NaN, and −0.0 differs from 0.0."""
    return {probe: (r.total.hex(), r.tokens) for probe, r in results.items() if r.probe == probe}


# ---------------------------------------------------------------- probes

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
results = st.dictionaries(
    st.builds(Probe, names, names), st.tuples(st.floats(), st.integers(0, 2**62)), min_size=1, max_size=12
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(results, min_size=1, max_size=3))
def test_results_come_back_to_the_bit(tmp_path: Path, batches: list[dict[Probe, tuple[float, int]]]) -> None:
    root = tmp_path / str(time.monotonic_ns())
    expected = {}
    for batch in batches:
        new = {probe: value for probe, value in batch.items() if probe not in expected}
        expected.update(new)
        store(root).commit([ProbeResult(probe, *value) for probe, value in new.items()], {})
    want = {probe: (total.hex(), tokens) for probe, (total, tokens) in expected.items()}
    assert bits(store(root).probes()) == want
    store(root).compact()
    assert bits(store(root).probes()) == want


def test_the_layout_of_a_probe_shard(tmp_path: Path) -> None:
    rows = [result("w", math.nan), result("ray", -math.inf, "w1"), result("ray", 2.5)]
    store(tmp_path).commit(rows, {"device": "cpu", "threads": 2})
    (path,) = shard_files(tmp_path)
    with h5py.File(path) as file:
        assert file.attrs["schema_version"] == 1
        assert (file.attrs["kind"], file.attrs["model"], file.attrs["dtype"]) == (b"probes", MODEL.encode(), b"float32")
        assert json.loads(file.attrs["provenances"]) == [{"device": "cpu", "threads": 2}]
        positions, windows = (file[key].asstr()[:] for key in ("positions", "windows"))
        assert [positions[i] for i in file["position_index"][:]] == ["ray", "ray", "w"]
        assert [windows[i] for i in file["window_index"][:]] == ["w0", "w1", "w0"]
        np.testing.assert_array_equal(file["total"][:], [2.5, -math.inf, math.nan])
        assert file["tokens"][:].tolist() == [7, 7, 7]
        kinds = [file[key].dtype for key in ("position_index", "window_index", "total", "tokens")]
        assert kinds == ["<i4", "<i4", "<f8", "<i8"]


def test_an_absent_store_is_empty_and_stays_absent(tmp_path: Path) -> None:
    assert store(tmp_path / "new").probes() == {}
    assert store(tmp_path / "new").load_point("r", SPACE) is None
    store(tmp_path / "new").commit([], {})
    store(tmp_path / "new").compact()
    assert list(tmp_path.iterdir()) == []


def test_models_and_dtypes_do_not_mix(tmp_path: Path) -> None:
    Store(tmp_path, MODEL, "float32", warn=quiet).commit([result("a")], {})
    Store(tmp_path, MODEL, "bfloat16", warn=quiet).commit([result("b")], {})
    assert [p.position for p in Store(tmp_path, MODEL, "float32", warn=quiet).probes()] == ["a"]
    assert Store(tmp_path, "cd" * 32, "float32", warn=quiet).probes() == {}
    same_start = Store(tmp_path, MODEL[:16] + "0" * 48, "float32", warn=quiet)
    with pytest.raises(StoreError, match=f"expected model {MODEL[:16]}0*, found {MODEL}"):
        same_start.probes()


def test_compaction_keeps_every_row_and_provenance(tmp_path: Path) -> None:
    for i in range(5):
        store(tmp_path).commit([result(f"p{i}", i), result("shared")], {"run": i % 3})
    before = store(tmp_path).probes()
    store(tmp_path).compact()
    assert len(shard_files(tmp_path)) == 1
    assert store(tmp_path).probes() == before
    assert len(before) == 6
    assert store(tmp_path).provenances() == [{"run": 0}, {"run": 1}, {"run": 2}]
    (path,) = shard_files(tmp_path)
    store(tmp_path).compact()
    assert shard_files(tmp_path) == [path]


def test_of_differing_results_every_reader_takes_the_same(tmp_path: Path) -> None:
    """Whatever was committed first, and whatever was merged before the rest came."""
    rows = [ProbeResult(Probe("a", "w0"), total, tokens) for total in (1.0, -1.0, math.nan) for tokens in (7, 8, 9)]
    chance, found = random.Random(0), []
    for name in "abcdefgh":
        for row in chance.sample(rows, len(rows)):
            store(tmp_path / name).commit([row], {})
            if chance.random() < 0.3:
                store(tmp_path / name).compact()
        found += [bits(store(tmp_path / name).probes())]
    assert found == found[:1] * 8


def test_a_provenance_counts_once_whatever_the_order_of_its_keys(tmp_path: Path) -> None:
    store(tmp_path).commit([result("a")], {"device": "cpu", "threads": 2})
    store(tmp_path).commit([result("b")], {"threads": 2, "device": "cpu"})
    assert store(tmp_path).provenances() == [{"device": "cpu", "threads": 2}]


def test_compaction_removes_what_killed_writers_left_everywhere(tmp_path: Path) -> None:
    store(tmp_path).settings({})
    store(tmp_path).commit([result("a")], {})
    store(tmp_path).save_point("r", SPACE, float_point())
    folders = {path.parent for path in tmp_path.rglob("*") if path.parent != tmp_path}
    assert len(folders) == 4
    old, young = f"{'0' * 32}.tmp", f"{'1' * 32}.tmp"
    yesterday = time.time() - 25 * 3600
    for folder in folders:
        for name in (old, young):
            (folder / name).write_text("")
        os.utime(folder / old, (yesterday, yesterday))
    store(tmp_path).compact()
    assert {path.parent for path in tmp_path.rglob(young)} == folders
    assert not list(tmp_path.rglob(old))


def test_a_damaged_shard_costs_only_its_own_rows(tmp_path: Path) -> None:
    lines: list[str] = []
    store(tmp_path).commit([result("a")], {})
    (kept,) = shard_files(tmp_path)
    store(tmp_path).commit([result("b")], {})
    (broken,) = set(shard_files(tmp_path)) - {kept}
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    assert list(store(tmp_path, lines.append).probes()) == [Probe("a", "w0")]
    assert len(lines) == 1
    store(tmp_path).commit([result("b")], {})
    store(tmp_path).compact()
    assert {p.position for p in store(tmp_path).probes()} == {"a", "b"}


def test_a_hundred_thousand_rows_in_about_a_second(tmp_path: Path) -> None:
    rows = [
        result(f"ray/sphere/seed=0/index={i % 500}/lam=0x1.8p+3", i / 3, f"{i // 500:064d}") for i in range(100_000)
    ]
    store(tmp_path).commit(rows, {})
    start = time.process_time()  # the machine may be shared
    found = store(tmp_path).probes()
    assert time.process_time() - start < 3
    assert len(found) == len(rows)
    assert found[rows[-1].probe] == rows[-1]


# ---------------------------------------------------------------- several processes, and their death


def batch(name: str, i: int) -> list[ProbeResult]:
    return [ProbeResult(Probe(f"{name}/{i}", f"w{k}"), float(i), k) for k in range(20)]


def write(path: Path, name: str, count: int, compact: int, done: int | None = None) -> None:
    """Commit ``count`` batches, compact after every few, and tell a pipe the number of each that is committed."""
    for i in range(count):
        store(path).commit(batch(name, i), {"writer": name})
        if done is not None:
            os.write(done, f"{i} ".encode())
        if i % compact == compact - 1:
            store(path).compact()


def test_a_kill_at_any_moment_loses_nothing_committed(tmp_path: Path) -> None:
    chance, committed = random.Random(0), []
    for kill in range(12):
        reader, pipe = os.pipe()
        child = forked(lambda kill=kill, pipe=pipe: write(tmp_path, str(kill), 10_000, 5, pipe))
        os.close(pipe)
        told = os.read(reader, 8)  # it is at work
        time.sleep(chance.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert exit_codes([child]) == [-signal.SIGKILL]
        while more := os.read(reader, 65536):
            told += more
        os.close(reader)
        committed += [row for i in told.split() for row in batch(str(kill), int(i))]
    found = store(tmp_path).probes()
    assert len(committed) >= 12 * 20
    assert all(found[row.probe] == row for row in committed)
    store(tmp_path).compact()
    assert store(tmp_path).probes() == found


def test_two_processes_that_write_and_compact_lose_nothing(tmp_path: Path) -> None:
    children = [
        forked(lambda name=name, every=every: write(tmp_path, name, 25, every)) for name, every in (("a", 3), ("b", 4))
    ]
    sizes = [len(store(tmp_path).probes()) for _ in range(20)]  # and a third one reads
    assert exit_codes(children) == [0, 0]
    assert sizes == sorted(sizes)
    assert set(store(tmp_path).probes().values()) == {row for name in "ab" for i in range(25) for row in batch(name, i)}
    assert store(tmp_path).provenances() == [{"writer": "a"}, {"writer": "b"}]


def test_settings_are_frozen_by_whoever_comes_first(tmp_path: Path) -> None:
    assert store(tmp_path).settings({"threads": 2, "batch": (1, 2)}) == {"threads": 2, "batch": [1, 2]}
    assert store(tmp_path).settings({"threads": 8}) == {"threads": 2, "batch": [1, 2]}


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_settings_are_frozen_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(os, "link", refuse)
    assert store(tmp_path).settings({"threads": 2}) == {"threads": 2}
    assert store(tmp_path).settings({"threads": 8}) == {"threads": 2}
    assert [path.name for path in tmp_path.glob("*/*")] == ["settings.json"]


def test_settings_that_another_process_is_just_writing_are_waited_for(tmp_path: Path) -> None:
    store(tmp_path).settings({"threads": 2})
    path = next(tmp_path.glob("*/settings.json"))
    whole = path.read_bytes()
    path.write_bytes(b"")
    late = threading.Timer(0.2, path.write_bytes, [whole])
    late.start()
    assert store(tmp_path).settings({"threads": 8}) == {"threads": 2}
    late.join()


@pytest.mark.parametrize("frozen", [{"threads": 1}, {"threads": 1, "evaluation": EVALUATION + 1}])
def test_a_store_whose_losses_were_summed_in_another_way_is_refused(tmp_path: Path, frozen: dict[str, int]) -> None:
    store(tmp_path).settings(frozen)
    message = "expected losses summed by version .*use another --store"
    with pytest.raises(StoreError, match=message):
        check_evaluation(store(tmp_path))


def test_two_processes_agree_on_the_settings(tmp_path: Path) -> None:
    start = time.monotonic() + 0.2

    def race(name: str) -> None:
        chosen = []
        for i in range(30):
            while time.monotonic() < start + i * 0.02:  # both at once
                pass
            chosen.append(store(tmp_path / str(i)).settings({"by": name})["by"])
        (tmp_path / name).write_text("".join(chosen))

    assert exit_codes([forked(lambda name=name: race(name)) for name in "ab"]) == [0, 0]
    assert len((tmp_path / "a").read_text()) == 30
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


def test_a_file_in_the_place_of_the_store_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = store(tmp_path / "file")
    for action in (
        broken.probes,
        lambda: broken.commit([result("a")], {}),
        lambda: broken.save_point("r", SPACE, float_point()),
        lambda: broken.settings({}),
    ):
        with pytest.raises(StoreError, match=r"cannot .*file.*: Not a directory; .*--store"):
            action()


def test_a_full_disk_is_one_line_and_harms_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the system refuses a write in its middle."""
    point, rows = float_point(), [result(f"{i}") for i in range(1000)]

    def refused(action: Callable[[], object], limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            with pytest.raises(StoreError, match=r"cannot write to .*: File too large; free space"):
                action()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def work() -> None:
        here = store(tmp_path)
        here.commit([result("w")], {})
        for limit in (0, 100, 2000):
            refused(lambda: here.commit(rows, {}), limit)
            refused(lambda: here.save_point("r", SPACE, point), limit)
        assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".h5"]
        assert list(here.probes()) == [Probe("w", "w0")]
        assert here.load_point("r", SPACE) is None
        here.commit(rows, {})
        assert len(here.probes()) == 1001
        assert here.save_point("r", SPACE, point).fingerprint(SPACE) == point.fingerprint(SPACE)

    assert exit_codes([forked(work)]) == [0]


@pytest.mark.parametrize(
    "odd",
    [
        {"position_index": np.array([1], np.int32)},
        {"window_index": np.array([-1], np.int32)},
        {"window_index": np.array([0.0])},
        {"total": np.array([1.0, 2.0])},
        {"fidelity_index": np.array([7]), "kl": np.zeros(1), "agreeing": np.zeros(1, int), "entropy": np.zeros(1)},
    ],
    ids=["beyond", "before", "floats", "another length", "fidelity beyond"],
)
def test_a_shard_with_its_hash_and_another_content_is_refused(tmp_path: Path, odd: dict[str, np.ndarray]) -> None:
    store = Store(tmp_path, "a" * 64, "float32")
    arrays = {
        "positions": ["p"], "windows": ["w"], "position_index": np.array([0]), "window_index": np.array([0]),
        "total": np.array([1.0]), "tokens": np.array([1]),
    }  # fmt: skip
    store._probes.add(arrays | odd, {"provenances": "[]"})
    with pytest.raises(StoreError, match=r"expected .*, found .*; move the file away"):
        store.probes()
