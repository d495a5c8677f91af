"""Store the probes, points and evaluation settings of one model at one dtype.

    <root>/<first 16 hex digits of the model's fingerprint>-<dtype>/
        probes/<sha256>.h5                           results, any number of shards; readers take their union
        layers/<sha256>.h5                           layer-wise errors of points, in shards as well
        points/<sha256 of the recipe>/<sha256>.h5    one weight point
        settings.json                                how to evaluate, frozen on first use (``frozen_settings``)

Every HDF5 file has the attributes ``schema_version`` (1), ``kind``, ``model`` (the whole fingerprint) and ``dtype``,
and is named by the sha256 of its bytes (``landscape.probing.shards``).

A probe shard (kind ``probes``) holds one row per probe, in four arrays of equal length, sorted by position and window:

    positions, windows              tables of distinct strings (UTF-8)
    position_index, window_index    int32, the row's place in them
    total                           float64, sum of the NLL in nats; NaN and infinity are results
    tokens                          int64

Where predictions were compared with those at w on some of its rows, four more arrays of equal length hold that; a
shard without such rows lacks them:

    fidelity_index                  int32, the row
    kl, entropy                     float64, sums in nats of KL(w ‖ position) and of the entropy of the predictions
    agreeing                        int64, number of tokens whose most probable id is the same as at w

and the attribute ``provenances``: a JSON list of the distinct records that came with its rows. A probe that was not
evaluated has no row.

A shard of layer-wise errors (kind ``layers``) is described in ``landscape.probing.layer_rows``, a point file (kind
``point``, and its ``recipe``) in ``landscape.probing.point_file``.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.probing.atomic_files import sweep
from landscape.probing.frozen_settings import Whole, frozen_settings
from landscape.probing.layer_rows import LayerRows, string_table
from landscape.probing.plan import Fidelity, Probe, ProbeResult
from landscape.probing.point_file import point_arrays, point_attributes, read_point
from landscape.probing.shard_file import Array, Attribute, Shard
from landscape.probing.shard_records import records_of
from landscape.probing.shards import ShardFolder
from quant.errors import StoreError
from quant.files.cache import note_use
from quant.point import WeightPoint
from quant.space import WeightSpace

STORE_VERSION = 1


class Store:
    """The known results of one model at one dtype; any number of processes may use them at once."""

    def __init__(self, root: Path, model: str, dtype: str, *, warn: Callable[[str], None] = warnings.warn) -> None:
        """Bind to the folder of a model, and make nothing on disk.

        Args:
            root: Cache folder of all models.
            model: Fingerprint of the model, in hex.
            dtype: dtype of the model's evaluation, such as ``float32``.
            warn: Takes one line about a damaged file.
        """
        self.folder = root / f"{model[:16]}-{dtype}"
        self._identity: dict[str, Attribute] = {"schema_version": STORE_VERSION, "model": model, "dtype": dtype}
        self._warn = warn
        self._writable = False
        self._probes = ShardFolder(self.folder / "probes", self._identity | {"kind": "probes"}, warn)
        self.layers = LayerRows(ShardFolder(self.folder / "layers", self._identity | {"kind": "layers"}, warn))
        """Layer-wise errors of points."""

    def probes(self) -> dict[Probe, ProbeResult]:
        """Read all results.

        Raises:
            StoreError: The store cannot be read.
        """
        return _merge(result for shard in self._probes.read_all(_read_probes).values() for result in shard.results)

    def provenances(self) -> list[Mapping[str, Any]]:
        """Read the distinct records that came with the results."""
        shards = self._probes.read_all(_read_probes).values()
        return [json.loads(record) for record in sorted({r for shard in shards for r in shard.provenances})]

    def commit(self, results: Sequence[ProbeResult], provenance: Mapping[str, Any]) -> None:
        """Keep results, so that they survive a kill once this returns.

        Args:
            results: The results; a probe that is stored already may come again.
            provenance: JSON-able record of how they were computed: device, threads, versions.

        Raises:
            StoreError: The results cannot be written.
        """
        if results:
            self._write_probes(results, {_json(provenance)})

    def check_writable(self) -> None:
        """Check, once, that results and points can be kept, before the first work whose outcome they are.

        Raises:
            StoreError: They cannot: the store is another user's, or on a disk that may only be read.
        """
        if not self._writable:
            for folder in (self._probes, ShardFolder(self.folder / "points", {}, self._warn)):
                folder.check_writable()
            self._writable = True

    def compact(self) -> None:
        """Merge all shards of a kind into one, and remove the files that killed writers left.

        The merged shard is committed before the shards whose rows it holds are removed, and no others are: processes
        that write, read or compact at the same time lose nothing. In the store of another user all stays as it is,
        except what this user may change.

        Raises:
            StoreError: The store cannot be written.
        """
        shards = self._probes.read_all(_read_probes)
        if len(shards) > 1 and self._probes.may_merge():
            results = (result for shard in shards.values() for result in shard.results)
            provenances = {record for shard in shards.values() for record in shard.provenances}
            merged = self._write_probes(results, provenances)
            self._probes.remove(shards.keys() - {merged})
        self.layers.compact()
        points = self.folder / "points"
        for folder in (self.folder, self._probes.path, self.folder / "layers", points, *points.glob("*")):
            sweep(folder)

    def save_point(self, recipe: str, space: WeightSpace, point: WeightPoint) -> WeightPoint:
        """Keep a point, one tensor at a time, unless one of this recipe is stored already.

        Args:
            recipe: Canonical JSON of how the point is made.
            space: The weight space.
            point: A point with all its parts on a grid, or all in float32.

        Returns:
            The stored point, whose parts are read from disk one by one, when they are needed.

        Raises:
            PointError: The point does not fit the space, or only some of its parts are on a grid.
            StoreError: The point cannot be written.
        """
        stored = self.load_point(recipe, space)
        if stored is None:
            folder = self._point_folder(recipe)
            folder.add(point_arrays(space, point), point_attributes(space, point))
            stored = self.load_point(recipe, space)
        if stored is None:
            raise StoreError(f"point {point.name} was written to {folder.path} and cannot be read back; check the disk")
        return stored

    def load_point(self, recipe: str, space: WeightSpace) -> WeightPoint | None:
        """Load the point of a recipe, verified once and then read from disk tensor by tensor; None if there is none.

        The point stays readable if its file is removed meanwhile.

        Raises:
            PointError: The point is of another weight space.
            StoreError: The point cannot be read.
        """
        folder = self._point_folder(recipe)
        for name in sorted(folder.names()):  # two, if two processes made it at once: all take the same one
            shard = folder.open(name)
            if shard is not None:
                note_use(shard.path)
                return read_point(shard, space)
        return None

    @property
    def begun(self) -> bool:
        """Whether the settings are frozen: results were committed, or are about to be."""
        return os.path.exists(self.folder / "settings.json")  # ``Path.exists`` raises in a folder that is not ours

    def settings(
        self,
        propose: Mapping[str, Any],
        name: str = "settings",
        bounds: Mapping[str, Whole] | None = None,
    ) -> Mapping[str, Any]:
        """Return evaluation settings, frozen to the first proposal of any process; see ``frozen_settings``.

        Args:
            propose: JSON-able settings, stored if none are; a function in place of a value is called only where that
                entry is missing.
            name: Name of these settings; the default ones begin a store.
            bounds: Bounds of those that are whole numbers; a file with others is set aside.

        Raises:
            StoreError: The settings cannot be written, read or set aside.
        """
        return frozen_settings(self.folder / f"{name}.json", STORE_VERSION, propose, bounds or {}, self._warn)

    def _point_folder(self, recipe: str) -> ShardFolder:
        path = self.folder / "points" / hashlib.sha256(recipe.encode()).hexdigest()
        return ShardFolder(path, self._identity | {"kind": "point", "recipe": recipe}, self._warn)

    def _write_probes(self, results: Iterable[ProbeResult], provenances: set[str]) -> str:
        rows = sorted(_merge(results).values(), key=lambda r: (r.probe.position, r.probe.window))
        positions, position_index = string_table([row.probe.position for row in rows])
        windows, window_index = string_table([row.probe.window for row in rows])
        arrays: dict[str, Array] = {
            "positions": positions,
            "windows": windows,
            "position_index": position_index,
            "window_index": window_index,
            "total": np.array([row.total for row in rows], np.float64),
            "tokens": np.array([row.tokens for row in rows], np.int64),
        }
        arrays |= _fidelity_arrays(rows)
        return self._probes.add(arrays, {"provenances": f"[{', '.join(sorted(provenances))}]"})


@dataclass(frozen=True)
class _ProbeShard:
    """The content of one probe shard."""

    results: list[ProbeResult]
    """Its rows."""
    provenances: list[str]
    """The JSON records that came with them."""


def _read_probes(shard: Shard) -> _ProbeShard:
    names = shard.column("positions", "position_index"), shard.column("windows", "window_index")
    numbers = (shard.numbers(key).tolist() for key in ("total", "tokens"))
    results = [ProbeResult(Probe(p, w), total, n) for p, w, total, n in zip(*names, *numbers, strict=True)]
    if "fidelity_index" in shard:
        rows = shard.places("fidelity_index", len(results))
        compared = (shard.numbers(key).tolist() for key in ("kl", "agreeing", "entropy"))
        for row, kl, agreeing, entropy in zip(rows, *compared, strict=True):
            results[row] = replace(results[row], fidelity=Fidelity(kl, agreeing, entropy))
    return _ProbeShard(results, [_json(record) for record in records_of(shard)])


def _merge(results: Iterable[ProbeResult]) -> dict[Probe, ProbeResult]:
    """Keep one result per probe.

    One with its fidelity is kept in place of one without. If two results differ otherwise (two devices, say), the
    choice depends on their values alone, so that it is the same in any order of reading and merging.
    """
    merged: dict[Probe, ProbeResult] = {}
    for result in results:
        known = merged.setdefault(result.probe, result)
        if known is not result:
            merged[result.probe] = min(known, result, key=_rank)
    return merged


def _rank(result: ProbeResult) -> tuple[bool, str, int, str, int, str]:
    """Order the results of one probe by their values; NaN has a place in hex digits."""
    found = result.fidelity or Fidelity(0.0, 0, 0.0)
    numbers = (result.total.hex(), result.tokens, found.kl.hex(), found.agreeing, found.entropy.hex())
    return result.fidelity is None, *numbers


def _fidelity_arrays(rows: Sequence[ProbeResult]) -> dict[str, Array]:
    """Return the arrays of the rows that were compared with w; none without such rows."""
    found = [(place, row.fidelity) for place, row in enumerate(rows) if row.fidelity is not None]
    if not found:
        return {}
    return {
        "fidelity_index": np.array([place for place, _ in found], np.int32),
        "kl": np.array([fidelity.kl for _, fidelity in found], np.float64),
        "agreeing": np.array([fidelity.agreeing for _, fidelity in found], np.int64),
        "entropy": np.array([fidelity.entropy for _, fidelity in found], np.float64),
    }


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)
