"""Check that layer-wise errors come back from the store to the bit, whoever wrote and merged them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.probing.layer_rows import LayerKey, LayerRow
from quant.errors import StoreError
from tests.landscape.stores import MODEL, exit_codes, forked, result, store


def row(point: str, matrix: str, error: float, tokens: int = 24, windows: str = "h0") -> LayerRow:
    return LayerRow(LayerKey(point, matrix, windows), error, tokens)


def bits(rows: dict[LayerKey, LayerRow]) -> dict[LayerKey, tuple[str, int]]:
    return {key: (each.error.hex(), each.tokens) for key, each in rows.items() if each.key == key}


def files(root: Path) -> list[Path]:
    return sorted((root / f"{MODEL[:16]}-float32" / "layers").glob("*.h5"))


def test_the_layout_of_a_shard(tmp_path: Path) -> None:
    rows = [row("point/b", "q", 2.5), row("point/a", "v", math.nan, 0, "h1"), row("point/a", "q", math.inf, 24, "h1")]
    store(tmp_path).layers.commit(rows, {"device": "cpu"})
    (path,) = files(tmp_path)
    with h5py.File(path) as file:
        kind = [file.attrs[key] for key in ("schema_version", "kind", "model", "dtype")]
        assert kind == [1, b"layers", MODEL.encode(), b"float32"]
        assert json.loads(file.attrs["provenances"]) == [{"device": "cpu"}]
        named = [
            [table[i] for i in file[index][:]]
            for table, index in (
                (file["points"].asstr()[:], "point_index"),
                (file["windows"].asstr()[:], "window_index"),
                (file["matrices"].asstr()[:], "matrix_index"),
            )
        ]
        assert list(zip(*named, strict=True)) == [
            ("point/a", "h1", "q"),
            ("point/a", "h1", "v"),
            ("point/b", "h0", "q"),
        ]
        np.testing.assert_array_equal(file["error"][:], [math.inf, math.nan, 2.5])
        assert (file["tokens"][:].tolist(), file["tokens"].dtype, file["error"].dtype) == ([24, 0, 24], "<i8", "<f8")
    assert bits(store(tmp_path).layers.read()) == {each.key: (each.error.hex(), each.tokens) for each in rows}


def test_merging_keeps_all_rows_and_leaves_probes_alone(tmp_path: Path) -> None:
    store(tmp_path).commit([result("w")], {})
    for i in range(4):
        store(tmp_path).layers.commit([row(f"p{i}", "q", float(i)), row("shared", "q", 1.0)], {"run": i % 2})
    before = store(tmp_path).layers.read()
    store(tmp_path).compact()
    (path,) = files(tmp_path)
    assert store(tmp_path).layers.read() == before
    assert len(before) == 5
    with h5py.File(path) as file:
        assert json.loads(file.attrs["provenances"]) == [{"run": 0}, {"run": 1}]
    assert len(store(tmp_path).probes()) == 1
    store(tmp_path).compact()
    assert files(tmp_path) == [path]


def test_nothing_is_made_on_disk_without_rows(tmp_path: Path) -> None:
    store(tmp_path).layers.commit([], {})
    store(tmp_path).compact()
    assert store(tmp_path).layers.read() == {}
    assert list(tmp_path.iterdir()) == []


def test_of_differing_rows_every_reader_takes_the_same(tmp_path: Path) -> None:
    rows = [row("p", "q", error, tokens) for error in (1.0, 2.0, math.nan) for tokens in (7, 8)]
    chance, found = random.Random(0), []
    for name in "abcdef":
        for each in chance.sample(rows, len(rows)):
            store(tmp_path / name).layers.commit([each], {})
            if chance.random() < 0.3:
                store(tmp_path / name).compact()
        found += [bits(store(tmp_path / name).layers.read())]
    assert found == found[:1] * 6


def test_writers_that_merge_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    def work(worker: int) -> None:
        for i in range(10):
            store(tmp_path).layers.commit([row(f"p{worker}", f"m{i}", float(i))], {})
            store(tmp_path).compact()

    children = [forked(lambda worker=worker: work(worker)) for worker in range(3)]
    assert exit_codes(children) == [0, 0, 0]
    assert len(store(tmp_path).layers.read()) == 30


def test_shards_of_another_kind_are_refused(tmp_path: Path) -> None:
    store(tmp_path).commit([result("w")], {})
    folder = tmp_path / f"{MODEL[:16]}-float32"
    (folder / "probes").rename(folder / "layers")
    with pytest.raises(StoreError, match="expected kind layers, found probes"):
        store(tmp_path).layers.read()
