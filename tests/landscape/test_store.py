from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import time
import traceback
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landscape.plan import Probe, ProbeResult
from landscape.shards import Shard
from landscape.store import Store
from quant.errors import PointError, StoreError
from quant.grid import GridTensor, QuantScheme
from quant.point import WeightPoint
from quant.space import Slot, WeightSpace

MODEL = "ab" * 32
SPACE = WeightSpace(
    (
        Slot("0.q.weight", (3, 4), False, 0, 0),
        Slot("0.fc.weight", (5, 3), True, 0, 12),
        Slot("1.q.weight", (2, 4), False, 1, 27),
    )
)


def quiet(line: str) -> None:
    raise AssertionError(f"unexpected warning: {line}")


def store(path: Path, warn: Callable[[str], None] = quiet) -> Store:
    return Store(path, MODEL, "float32", warn=warn)


def result(position: str, total: float = 1.5, window: str = "w0") -> ProbeResult:
    return ProbeResult(Probe(position, window), total, 7)


def bits(results: dict[Probe, ProbeResult]) -> dict[Probe, tuple[str, int]]:
    """NaN equals NaN, and −0.0 differs from 0.0."""
    return {probe: (r.total.hex(), r.tokens) for probe, r in results.items() if r.probe == probe}


def shard_files(path: Path) -> list[Path]:
    return sorted((path / f"{MODEL[:16]}-float32" / "probes").glob("*.h5"))


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
        assert (file.attrs["kind"], file.attrs["model"], file.attrs["dtype"]) == ("probes", MODEL, "float32")
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


def test_of_two_differing_results_every_reader_takes_the_same(tmp_path: Path) -> None:
    first, second = result("a", 1.0), result("a", math.nextafter(1.0, 2))
    found = []
    for name, order in (("x", (first, second)), ("y", (second, first))):
        for row in order:
            store(tmp_path / name).commit([row], {"row": row.total})
        found.append(store(tmp_path / name).probes())
        store(tmp_path / name).compact()
        found.append(store(tmp_path / name).probes())
    assert found[1:] == found[:1] * 3


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


def forked(work: Callable[[], object]) -> int:
    """A child process at work; forked, because importing torch in a new one takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python ≥ 3.12 on torch's threads: the child uses none
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def exit_codes(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected JSON settings in .*settings.json"),
        (b"\xff", "expected JSON settings in .*settings.json"),
        (b'{"schema_version": 2, "settings": {}}', "expected schema_version 1, found 2"),
    ],
)
def test_settings_that_cannot_be_read_are_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    store(tmp_path).settings({})
    (tmp_path / f"{MODEL[:16]}-float32" / "settings.json").write_bytes(content)
    with pytest.raises(StoreError, match=message):
        store(tmp_path).settings({})


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


# ---------------------------------------------------------------- points


def grid_point(per_channel: bool) -> WeightPoint:
    generator = torch.Generator().manual_seed(0)
    parts = {}
    for slot in SPACE:
        shape = slot.channel_shape if per_channel else (1, 1)
        codes = torch.randint(-7, 8, slot.shape, generator=generator, dtype=torch.int8)
        parts[slot.name] = GridTensor(codes, torch.rand(shape, generator=generator))
    scheme = QuantScheme(4, "histogram", "channel" if per_channel else "tensor")
    return WeightPoint("gptq", scheme, parts, {"damping": 0.1, "data": "é"})


def float_point() -> WeightPoint:
    parts = {slot.name: torch.randn(slot.shape, generator=torch.Generator().manual_seed(1)) for slot in SPACE}
    parts["0.q.weight"][0, :3] = torch.tensor([math.nan, math.inf, -0.0])
    return WeightPoint("w_ft", None, parts, {"epochs": 1})


@pytest.mark.parametrize(
    "point", [grid_point(False), grid_point(True), float_point()], ids=["tensor", "channel", "float"]
)
def test_a_point_comes_back_to_the_bit(tmp_path: Path, point: WeightPoint) -> None:
    recipe = json.dumps({"method": point.method, "λ": 1})
    saved = store(tmp_path).save_point(recipe, SPACE, point)
    loaded = store(tmp_path).load_point(recipe, SPACE)
    assert loaded is not None
    for found in (saved, loaded):
        assert (found.method, found.scheme, found.provenance) == (point.method, point.scheme, point.provenance)
        assert list(found.parts) == [slot.name for slot in SPACE]
        assert found.fingerprint(SPACE) == point.fingerprint(SPACE)
        for slot in SPACE:
            part, original = found.parts[slot.name], point.parts[slot.name]
            assert type(part) is type(original)
            if isinstance(part, GridTensor) and isinstance(original, GridTensor):
                assert part.codes.dtype == torch.int8
                assert torch.equal(part.codes, original.codes)
                assert torch.equal(part.scale, original.scale)
    with pytest.raises(PointError, match="no weights for absent"):
        loaded.tensor(Slot("absent", (1, 1), False, 0, 0))
    assert store(tmp_path).load_point("other", SPACE) is None


def test_the_layout_of_a_point_file(tmp_path: Path) -> None:
    point = grid_point(True)
    store(tmp_path).save_point("how it is made", SPACE, point)
    (path,) = tmp_path.glob("*/points/*/*.h5")
    with h5py.File(path) as file:
        codes = [point.parts[slot.name].codes.numpy().ravel() for slot in SPACE]  # type: ignore[union-attr]
        scales = [point.parts[slot.name].scale.numpy().ravel() for slot in SPACE]  # type: ignore[union-attr]
        assert file["codes"].dtype == np.int8
        np.testing.assert_array_equal(file["codes"][:], np.concatenate(codes))
        np.testing.assert_array_equal(file["scales"][:], np.concatenate(scales))
        assert file["scale_shapes"][:].tolist() == [[3, 1], [1, 3], [2, 1]]
        assert file.attrs["recipe"] == "how it is made"
        assert json.loads(file.attrs["scheme"]) == {"bits": 4, "scale": "histogram", "granularity": "channel"}
        assert json.loads(file.attrs["provenance"]) == {"damping": 0.1, "data": "é"}


def test_the_point_that_is_there_stands(tmp_path: Path) -> None:
    first = store(tmp_path).save_point("r", SPACE, grid_point(False))
    second = store(tmp_path).save_point("r", SPACE, float_point())
    assert second.fingerprint(SPACE) == first.fingerprint(SPACE)
    assert len(list(tmp_path.glob("*/points/*/*.h5"))) == 1


def test_a_point_in_use_survives_compaction_and_removal(tmp_path: Path) -> None:
    original = grid_point(True)
    point = store(tmp_path).save_point("r", SPACE, original)
    store(tmp_path).commit([result("a")], {})
    store(tmp_path).commit([result("b")], {})
    store(tmp_path).compact()
    assert store(tmp_path).load_point("r", SPACE) is not None
    for path in tmp_path.glob("*/points/*/*.h5"):
        path.unlink()
    assert point.fingerprint(SPACE) == original.fingerprint(SPACE)
    assert store(tmp_path).load_point("r", SPACE) is None


def test_a_damaged_point_is_absent_and_made_again(tmp_path: Path) -> None:
    lines: list[str] = []
    store(tmp_path).save_point("r", SPACE, grid_point(False))
    (path,) = tmp_path.glob("*/points/*/*.h5")
    content = bytearray(path.read_bytes())
    content[-1] ^= 16
    path.write_bytes(content)
    assert store(tmp_path, lines.append).load_point("r", SPACE) is None
    assert len(lines) == 1
    made = store(tmp_path).save_point("r", SPACE, grid_point(False))
    assert made.fingerprint(SPACE) == grid_point(False).fingerprint(SPACE)


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("0.q.weight", torch.zeros(4, 3), r"expected torch.float32 of shape \(3, 4\) in 0.q.weight, .*\(4, 3\)"),
        ("0.q.weight", torch.zeros(3, 4, dtype=torch.bfloat16), "has torch.bfloat16"),
        ("1.q.weight", GridTensor(torch.zeros(2, 4, dtype=torch.int8), torch.ones(1, 1)), "found 1 of 3"),
        ("1.q.weight", GridTensor(torch.zeros(2, 4, dtype=torch.int8), torch.ones(1, 4)), "expected a scale of shape"),
        ("1.q.weight", None, "no weights for 1.q.weight"),
    ],
)
def test_a_point_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, part: torch.Tensor | GridTensor | None, message: str
) -> None:
    parts = {**float_point().parts, name: part}
    point = WeightPoint("w_ft", None, {key: value for key, value in parts.items() if value is not None})
    with pytest.raises(PointError, match=message):
        store(tmp_path).save_point("r", SPACE, point)
    assert list(tmp_path.iterdir()) == []


def test_a_point_of_another_space_is_refused(tmp_path: Path) -> None:
    store(tmp_path).save_point("r", SPACE, grid_point(False))
    renamed = WeightSpace(tuple(Slot(f"x{s.name}", s.shape, s.transposed, s.block, s.offset) for s in SPACE))
    with pytest.raises(PointError, match="expected the slots of this model"):
        store(tmp_path).load_point("r", renamed)


def test_a_point_is_written_and_read_one_slot_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side, count = 512, 12  # 3 MB in all, a quarter MB a slot
    space = WeightSpace(tuple(Slot(f"{i}.weight", (side, side), False, i, i * side * side) for i in range(count)))
    scale = torch.ones(1, 1)

    class Lazy(dict[str, GridTensor]):
        def __getitem__(self, name: str) -> GridTensor:
            return GridTensor(torch.full((side, side), int(name.split(".")[0]), dtype=torch.int8), scale)

    lazy = Lazy({slot.name: None for slot in space})
    read: list[int] = []
    numbers = Shard.numbers

    def counted(self: Shard, key: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        values = numbers(self, key, start, stop)
        read.append(values.nbytes)
        return values

    monkeypatch.setattr(Shard, "numbers", counted)
    tracemalloc.start()  # sees numpy's arrays
    try:
        point = store(tmp_path).save_point("r", space, WeightPoint("rtn", QuantScheme(4), lazy))
        assert sum(read) < side
        part = point.parts["7.weight"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(read) < side * side + side
    assert peak < count * side * side / 3
    assert isinstance(part, GridTensor)
    assert part.codes.unique().tolist() == [7]


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
