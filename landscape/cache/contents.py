"""Read what the store of one model holds: probes by kind, points, layer rows, runs and their provenance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.cache.inventory import Unit, list_units, models_of
from landscape.cache.times import same_times
from landscape.probing.shard_file import Shard
from landscape.probing.shard_records import recipe_of, records_of, text_of
from landscape.probing.shards import open_intact
from landscape.records.record import RecordHead, read_head
from quant.errors import StoreError, UsageError
from quant.files.cache import STORE_NAME
from quant.files.json_text import read_object

CENTER = "w"
_SUMMED = ("scheme", "train", "validation", "curve", "chosen", "layers")
"""Entries of a point's provenance that are long, or that other columns show."""


@dataclass(frozen=True)
class StoredPoint:
    """One point in a store."""

    name: str
    """Beginning of the hash of its recipe."""
    method: str
    grid: str
    """Bit width, rule and granularity of its scales; ``none`` off the grid."""
    size: int
    """Bytes of its file."""
    written: float
    """Time of the last write, in seconds since 1970."""
    recipe: str
    """Options and data that it was made with, in short."""


@dataclass(frozen=True)
class StoredLayers:
    """Layer-wise errors of one point."""

    point: str
    """Label of the point."""
    matrices: int
    """Number of different matrices."""
    windows: int
    """Number of different sets of windows."""
    rows: int
    """Number of errors."""


@dataclass(frozen=True)
class StoredRun:
    """One run of a store; without a head if its file cannot be read, for the reason given."""

    name: str
    written: float
    head: RecordHead | None
    reason: str = ""


@dataclass(frozen=True)
class StoreContents:
    """Contents of the store of one model."""

    folder: Path
    model: str | None
    """Name that the user gave the model, from its runs; None if it has none."""
    fingerprint: str | None
    """The whole hash of the model; None without probes and points."""
    dtype: str
    probes: Mapping[str, int]
    """Number of probes by kind of position: ``w``, ``point``, ``ray``, ``segment``, …"""
    windows: int
    """Number of different windows of text that were probed."""
    points: tuple[StoredPoint, ...]
    layers: tuple[StoredLayers, ...]
    """By the label of their point."""
    runs: tuple[StoredRun, ...]
    settings: Mapping[str, Any]
    """Settings by the name of their file: threads, version of the evaluation, windows in a batch."""
    provenances: tuple[Mapping[str, Any], ...]
    """The distinct records of how probes were computed: versions, processor, device."""
    unread: tuple[str, ...]
    """Files that could not be read; ``landscape cache verify`` says more."""


def find_store(name: str, root: Path) -> Path:
    """Return the store of a name: that of its folder, its beginning, or the name of its model.

    Raises:
        UsageError: if there is none, or several.
    """
    units = list_units(root)
    models = models_of(units)
    stores = sorted({unit.store for unit in units if unit.store is not None and STORE_NAME.fullmatch(unit.store)})
    named = [store for store in stores if models.get(store) == name]
    found = [store for store in stores if store == name] or named or [each for each in stores if each.startswith(name)]
    if len(found) == 1:
        return root / found[0]
    if found:
        raise UsageError(f"expected one store, got {name!r}, which {len(found)} have: {', '.join(found)}; name one")
    known = ", ".join(f"{each} ({models[each]})" if each in models else each for each in stores) or "none"
    raise UsageError(f"expected a store in {root}, got {name!r}; stores there: {known}")


def read_store(folder: Path) -> StoreContents:
    """Read what a store holds, from the files that are intact; nothing is changed.

    Raises:
        StoreError: if a folder cannot be listed.
    """
    with same_times(folder):
        return _read(folder)


def _read(folder: Path) -> StoreContents:
    units = [unit for unit in list_units(folder.parent) if unit.store == folder.name]
    reading = _Reading()
    positions, windows, provenances = reading.probes(folder / "probes")
    layers = reading.layers(folder / "layers")
    points = [point for unit in units if unit.kind == "point" and (point := reading.point(unit))]
    runs = [_run(unit) for unit in units if unit.kind == "run"]
    settings = {unit.path.stem: reading.settings(unit.path) for unit in units if unit.kind == "settings"}
    return StoreContents(
        folder=folder,
        model=models_of(units).get(folder.name),
        fingerprint=reading.fingerprint,
        dtype=folder.name.partition("-")[2],
        probes=positions,
        windows=windows,
        points=tuple(points),
        layers=layers,
        runs=tuple(runs),
        settings=settings,
        provenances=provenances,
        unread=tuple(reading.unread),
    )


class _Reading:
    """Files of a store as they are read, with those that could not be."""

    def __init__(self) -> None:
        self.fingerprint: str | None = None
        self.unread: list[str] = []

    def probes(self, folder: Path) -> tuple[dict[str, int], int, tuple[Mapping[str, Any], ...]]:
        """Return the distinct probes by kind, the number of windows, and the distinct provenances."""
        known: set[tuple[str, ...]] = set()
        provenances: dict[str, Any] = {}
        for rows, records in self._shards(folder, {"positions": "position_index", "windows": "window_index"}):
            known |= rows
            provenances |= {json.dumps(record, sort_keys=True): record for record in records}
        kinds = Counter(position.partition("/")[0] for position, _ in known)
        return dict(sorted(kinds.items())), len({window for _, window in known}), tuple(provenances.values())

    def layers(self, folder: Path) -> tuple[StoredLayers, ...]:
        """Return the distinct layer rows by point."""
        keys = {"points": "point_index", "matrices": "matrix_index", "windows": "window_index"}
        known = {row for rows, _ in self._shards(folder, keys) for row in rows}
        by_point: dict[str, list[tuple[str, ...]]] = {}
        for point, *rest in sorted(known):
            by_point.setdefault(point, []).append(tuple(rest))
        return tuple(
            StoredLayers(point, len({matrix for matrix, _ in rows}), len({windows for _, windows in rows}), len(rows))
            for point, rows in by_point.items()
        )

    def _shards(self, folder: Path, keys: Mapping[str, str]) -> Iterator[tuple[set[tuple[str, ...]], list[Any]]]:
        """Yield for each shard that can be read its rows, each by its names, and its provenances.

        Args:
            folder: Folder of the shards.
            keys: The tables of strings, each with the array of the rows' places in it.
        """
        for path in sorted(folder.glob("*.h5")):
            if (shard := self._open(path)) is None:
                continue
            with shard:
                try:
                    columns = [shard.column(table, index) for table, index in keys.items()]
                    rows, records = set(zip(*columns, strict=True)), records_of(shard)
                except (StoreError, ValueError):
                    self.unread.append(str(path))
                    continue
            yield rows, records

    def point(self, unit: Unit) -> StoredPoint | None:
        """Return what the file of a point says of it; None if it cannot be read."""
        paths = sorted(unit.path.glob("*.h5"))
        if not paths or (shard := self._open(paths[0])) is None:
            return None
        with shard:
            try:
                scheme, provenance = recipe_of(shard)
                return StoredPoint(
                    unit.name, text_of(shard, "method"), _grid(scheme), unit.size, unit.written, _recipe(provenance)
                )
            except (StoreError, KeyError):
                self.unread.append(str(paths[0]))
                return None

    def settings(self, path: Path) -> Any:
        """Return the settings in a file; None if it cannot be read."""
        try:
            return read_object(path, StoreError)["settings"]
        except (StoreError, KeyError):
            self.unread.append(str(path))
            return None

    def _open(self, path: Path) -> Shard | None:
        try:
            shard = open_intact(path)
        except StoreError:
            shard = None
        if shard is None and path.exists():
            self.unread.append(str(path))
        elif shard is not None:
            self.fingerprint = self.fingerprint or shard.attributes.get("model")
        return shard


def _run(unit: Unit) -> StoredRun:
    try:
        return StoredRun(unit.name, unit.written, read_head(unit.path))
    except StoreError as error:
        return StoredRun(unit.name, unit.written, None, str(error))


def _grid(scheme: Mapping[str, Any] | None) -> str:
    if scheme is None:
        return "none"
    if scheme.get("format"):
        return str(scheme["format"])
    symmetric = "" if scheme.get("symmetric", True) else ", asymmetric"
    return f"int{scheme['bits']}, {scheme['scale']}, {scheme['granularity']}{symmetric}"


def _recipe(provenance: Mapping[str, Any]) -> str:
    """Return the short entries of a provenance: numbers, words, and the versions that matter."""
    versions = provenance.get("versions")
    short = {
        key: value
        for key, value in provenance.items()
        if key not in _SUMMED and isinstance(value, str | int | float) and len(str(value)) <= 24
    }
    parts = [f"{key} {value}" for key, value in short.items()]
    if isinstance(versions, dict) and versions.get("torch"):
        parts.append(f"torch {versions['torch']}")
    return ", ".join(parts)
