from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from landscape.probing.shard_file import Shard
from landscape.probing.shards import ShardFolder
from quant.errors import PointError, StoreError
from quant.grid import Grid, GridTensor
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace
from tests.landscape.stores import SPACE, float_point, fp8_point, grid_point, off_grid_point, result, store


@pytest.mark.parametrize(
    "point",
    [
        *(
            grid_point(granularity, symmetric)
            for granularity in ("tensor", "channel", "group:2")
            for symmetric in (True, False)
        ),
        fp8_point(),
        float_point(),
        off_grid_point(),
    ],
    ids=lambda point: point.name,
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
                assert str(part.grid.zero) == str(original.grid.zero)
    with pytest.raises(PointError, match="no weights for absent"):
        loaded.tensor(Slot("absent", (1, 1), False, 0, 0))
    assert store(tmp_path).load_point("other", SPACE) is None


def test_the_layout_of_a_point_file(tmp_path: Path) -> None:
    point = grid_point("group:2", symmetric=False)
    store(tmp_path).save_point("how it is made", SPACE, point)
    (path,) = tmp_path.glob("*/points/*/*.h5")
    parts = [part for slot in SPACE if isinstance(part := point.parts[slot.name], GridTensor)]
    with h5py.File(path) as file:
        assert file["codes"].dtype == np.int8
        np.testing.assert_array_equal(file["codes"][:], np.concatenate([part.codes.numpy().ravel() for part in parts]))
        np.testing.assert_array_equal(file["scales"][:], np.concatenate([p.grid.scale.numpy().ravel() for p in parts]))
        zeros = [part.grid.zero.numpy().ravel() for part in parts if part.grid.zero is not None]
        np.testing.assert_array_equal(file["zeros"][:], np.concatenate(zeros))
        assert [part.grid.scale.shape for part in parts] == [(3, 2), (3, 3), (2, 2)]
        assert file.attrs["recipe"] == b"how it is made"
        assert json.loads(file.attrs["scheme"]) == {
            "bits": 4, "scale": "absmax", "granularity": "group:2", "symmetric": False,
        }  # fmt: skip
        assert json.loads(file.attrs["provenance"]) == {"damping": 0.1, "data": "é"}


def test_the_point_that_is_there_stands(tmp_path: Path) -> None:
    first = store(tmp_path).save_point("r", SPACE, grid_point("tensor"))
    second = store(tmp_path).save_point("r", SPACE, float_point())
    assert second.fingerprint(SPACE) == first.fingerprint(SPACE)
    assert len(list(tmp_path.glob("*/points/*/*.h5"))) == 1


def test_a_point_in_use_survives_compaction_and_removal(tmp_path: Path) -> None:
    original = grid_point("channel")
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
    store(tmp_path).save_point("r", SPACE, grid_point("tensor"))
    (path,) = tmp_path.glob("*/points/*/*.h5")
    content = bytearray(path.read_bytes())
    content[-1] ^= 16
    path.write_bytes(content)
    assert store(tmp_path, lines.append).load_point("r", SPACE) is None
    assert len(lines) == 1
    made = store(tmp_path).save_point("r", SPACE, grid_point("tensor"))
    assert made.fingerprint(SPACE) == grid_point("tensor").fingerprint(SPACE)


def on_grid(grid: Grid) -> GridTensor:
    return GridTensor(torch.zeros(2, 4, dtype=torch.int8), grid)


def test_codes_without_a_scheme_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PointError, match="expected a scheme with the codes of point rtn, found none"):
        store(tmp_path).save_point("r", SPACE, WeightPoint("rtn", None, grid_point("tensor").parts))


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("0.q.weight", torch.zeros(4, 3), r"expected torch.float32 of shape \(3, 4\) in 0.q.weight, .*\(4, 3\)"),
        ("0.q.weight", torch.zeros(3, 4, dtype=torch.bfloat16), "has torch.bfloat16"),
        ("1.q.weight", on_grid(Grid(torch.ones(1, 1), -7, 7)), "found 1 of 3"),
        ("1.q.weight", on_grid(Grid(torch.ones(1, 4), -7, 7)), r"expected the grid of int4-exact with \(1, 1\) scales"),
        ("1.q.weight", on_grid(Grid(torch.ones(1, 1), -3, 3)), "expected the grid of int4-exact"),
        ("1.q.weight", on_grid(Grid(torch.ones(1, 1), -7, 7, torch.ones(1, 1))), "expected the grid of int4-exact"),
        ("1.q.weight", None, "no weights for 1.q.weight"),
    ],
)
def test_a_point_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, part: torch.Tensor | GridTensor | None, message: str
) -> None:
    parts = {**float_point().parts, name: part}
    point = WeightPoint("w_ft", QuantScheme(4), {key: value for key, value in parts.items() if value is not None})
    with pytest.raises(PointError, match=message):
        store(tmp_path).save_point("r", SPACE, point)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["names", "shapes"])
def test_a_point_of_another_space_is_refused(tmp_path: Path, change: str) -> None:
    store(tmp_path).save_point("r", SPACE, grid_point("tensor"))
    other = WeightSpace(
        tuple(
            Slot(f"x{s.name}", s.shape, s.transposed, s.block, s.offset)
            if change == "names"
            else Slot(s.name, s.shape[::-1], s.transposed, s.block, s.offset)
            for s in SPACE
        )
    )
    with pytest.raises(PointError, match="expected the slots of this model"):
        store(tmp_path).load_point("r", other)


def test_a_point_that_cannot_be_read_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that takes the bytes and gives back others."""
    monkeypatch.setattr(ShardFolder, "open", lambda self, name: None)
    with pytest.raises(StoreError, match=r"point w_ft was written to .* and cannot be read back; check the disk"):
        store(tmp_path).save_point("r", SPACE, float_point())


def test_a_point_is_written_and_read_one_slot_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side, count = 512, 12  # 3 MB in all, a quarter MB a slot
    space = WeightSpace(tuple(Slot(f"{i}.weight", (side, side), False, i, i * side * side) for i in range(count)))
    grid = Grid(torch.ones(1, 1), -7, 7)

    class Lazy(dict[str, GridTensor]):
        def __getitem__(self, name: str) -> GridTensor:
            return GridTensor(torch.full((side, side), int(name.split(".")[0]), dtype=torch.int8), grid)

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
        assert point.parts is not lazy  # let go
        assert sum(read) < side
        part = point.parts["7.weight"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(read) < side * side + side
    assert peak < count * side * side / 3
    assert isinstance(part, GridTensor)
    assert part.codes.unique().tolist() == [7]
