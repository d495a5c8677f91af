"""Store the layer-wise errors of points: one row for each point, matrix and set of windows.

A shard (kind ``layers``) holds its rows in arrays of equal length, sorted by point, windows and matrix:

    points, matrices, windows                    tables of distinct strings (UTF-8): labels of points, names of slots,
                                                 hashes of the token ids of all windows together
    point_index, matrix_index, window_index      int32, the row's place in them
    error                                        float64, ‖ΔW x‖²/n, squared output error per token; NaN and infinity
                                                 are results
    tokens                                       int64, n: 0 for an expert to which no token was routed, whose error is
                                                 NaN

and the attribute ``provenances``, as in probe shards. An error that was not computed has no row. Shards are written,
merged and removed like those of probes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.probing.shard_file import Array, Shard
from landscape.probing.shard_records import records_of
from landscape.probing.shards import ShardFolder
from quant.interruption import shielded


@dataclass(frozen=True)
class LayerKey:
    """One matrix of one point, on one set of windows."""

    point: str
    """Label of the point."""
    matrix: str
    """Name of the slot."""
    windows: str
    """``quant.hashing.token_hash`` of the windows, (n, L)."""


@dataclass(frozen=True)
class LayerRow:
    """The layer-wise error of one matrix."""

    key: LayerKey
    error: float
    """‖ΔW x‖²/n, squared output error per token; NaN without tokens."""
    tokens: int
    """n: the tokens that the matrix reads; 0 for an expert to which none was routed."""


class LayerRows:
    """The layer-wise errors in one folder; any number of processes may use them at once."""

    def __init__(self, folder: ShardFolder) -> None:
        """Bind to a folder of shards, and make nothing on disk."""
        self._folder = folder

    def read(self) -> dict[LayerKey, LayerRow]:
        """Read all rows.

        Raises:
            StoreError: The store cannot be read.
        """
        return _merge(row for rows, _ in self._folder.read_all(_read).values() for row in rows)

    def commit(self, rows: Sequence[LayerRow], provenance: Mapping[str, Any]) -> None:
        """Keep rows, so that they survive a kill once this returns.

        Raises:
            StoreError: The rows cannot be written.
        """
        if rows:
            with shielded():
                self._write(rows, {json.dumps(provenance, sort_keys=True)})

    def check_writable(self) -> None:
        """Check that rows can be kept, before the walk that measures them.

        Raises:
            StoreError: They cannot.
        """
        self._folder.check_writable()

    def compact(self) -> None:
        """Merge all shards into one, which is committed before the others are removed, where this user may do so.

        Raises:
            StoreError: The store cannot be written.
        """
        shards = self._folder.read_all(_read)
        if len(shards) > 1 and self._folder.may_merge():
            rows = (row for rows, _ in shards.values() for row in rows)
            merged = self._write(rows, {record for _, records in shards.values() for record in records})
            self._folder.remove(shards.keys() - {merged})

    def _write(self, rows: Iterable[LayerRow], provenances: set[str]) -> str:
        ordered = sorted(_merge(rows).values(), key=lambda row: (row.key.point, row.key.windows, row.key.matrix))
        points, point_index = string_table([row.key.point for row in ordered])
        matrices, matrix_index = string_table([row.key.matrix for row in ordered])
        windows, window_index = string_table([row.key.windows for row in ordered])
        arrays: dict[str, Array] = {
            "points": points,
            "matrices": matrices,
            "windows": windows,
            "point_index": point_index,
            "matrix_index": matrix_index,
            "window_index": window_index,
            "error": np.array([row.error for row in ordered], np.float64),
            "tokens": np.array([row.tokens for row in ordered], np.int64),
        }
        return self._folder.add(arrays, {"provenances": f"[{', '.join(sorted(provenances))}]"})


def string_table(values: Sequence[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the distinct strings, sorted, and the index of each value among them."""
    distinct = sorted(set(values))
    places = {value: place for place, value in enumerate(distinct)}
    return distinct, np.array([places[value] for value in values], np.int32)


def _read(shard: Shard) -> tuple[list[LayerRow], list[str]]:
    """Return the rows of a shard, and the JSON records that came with them."""
    tables = (("points", "point_index"), ("matrices", "matrix_index"), ("windows", "window_index"))
    names = (shard.column(table, index) for table, index in tables)
    numbers = (shard.numbers(name).tolist() for name in ("error", "tokens"))
    rows = [
        LayerRow(LayerKey(point, matrix, window), error, tokens)
        for point, matrix, window, error, tokens in zip(*names, *numbers, strict=True)
    ]
    return rows, [json.dumps(record, sort_keys=True) for record in records_of(shard)]


def _merge(rows: Iterable[LayerRow]) -> dict[LayerKey, LayerRow]:
    """Keep one row per key; of rows that differ (two devices, say), the same one in any order of reading."""
    merged: dict[LayerKey, LayerRow] = {}
    for row in rows:
        known = merged.setdefault(row.key, row)
        if known is not row:
            merged[row.key] = min(known, row, key=lambda each: (each.error.hex(), each.tokens))
    return merged
