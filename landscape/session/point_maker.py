"""Make the points of a run, each once: the store keeps them by the recipe they are made with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from landscape.probing.store import Store
from landscape.session.point_methods import (
    Settings,
    Workbench,
    find_method,
    recipe_options,
    searches_scales,
)
from landscape.session.point_specs import AnySpec, ExternalSpec, MadeSpec, PointSpec
from landscape.session.presets import Preset
from landscape.session.subject import Subject
from quant.external.load import load_external
from quant.hashing import token_hash
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace

RECIPE_VERSION = 2
"""Part of every recipe: raised when the code makes another point from the same options.

2   GPTQ's dampings are multiples of the mean over live inputs; 1 counted dead ones too.
"""


def point_label(point: WeightPoint, space: WeightSpace) -> str:
    """Return what the probes of a point are stored under: it follows from the weights, however they were made."""
    return f"point/{point.fingerprint(space)[:32]}"


class PointMaker:
    """Makes points, or finds them in the store."""

    def __init__(
        self, subject: Subject, store: Store, preset: Preset, seed: int, gptq_options: GPTQOptions = PAPER_GPTQ
    ) -> None:
        """Bind the maker to a model at its pretrained weights, the data for it, and the cache."""
        self.subject, self.store, self.preset, self.seed = subject, store, preset, seed
        self.gptq_options = gptq_options

    def find(self, spec: AnySpec) -> WeightPoint | None:
        """Return the point if another tool made it or the store has it, else None.

        Raises:
            PointError: if another tool's point is not one of this model.
        """
        if isinstance(spec, ExternalSpec):
            return load_external(spec.path, self.subject.checkpoint, spec.name, spec.gauge)
        return self.store.load_point(self.recipe(spec), self.subject.space)

    def searched(self, new: Iterable[MadeSpec]) -> tuple[QuantScheme, ...]:
        """Return the grids whose scales are found on the way to new points: RTN's, if the store lacks it."""
        schemes = dict.fromkeys(spec.scheme for spec in new if spec.scheme and searches_scales(spec.method))
        return tuple(scheme for scheme in schemes if self.find(PointSpec("rtn", scheme)) is None)

    def make(self, spec: MadeSpec, advance: Callable[[float], None] = lambda share: None) -> WeightPoint:
        """Make the point and store it.

        Args:
            spec: What to make.
            advance: Called with the share of the work just done.
        """
        row = find_method(spec.method)
        before = _start(spec)
        start = None if before is None else self.find(before) or self.make(before)
        bench = Workbench(
            self.subject, spec.scheme, self._settings(spec), start, self.work_folder, _increments(advance)
        )
        return self.store.save_point(self.recipe(spec), self.subject.space, row.make(bench))

    def recipe(self, spec: MadeSpec) -> str:
        """Return all that determines a point besides the model: method, grid, options, hashes of the data."""
        return json.dumps(dict(self._ingredients(spec)), sort_keys=True)

    @property
    def work_folder(self) -> Path:
        """Where training keeps its epochs while it runs."""
        return self.store.folder / "unfinished"

    def _ingredients(self, spec: MadeSpec) -> Iterator[tuple[str, object]]:
        row, data = find_method(spec.method), self.subject.calibration
        yield from (("version", RECIPE_VERSION), ("method", row.name))
        if spec.scheme:
            yield "scheme", asdict(spec.scheme)
        yield from recipe_options(row, self._settings(spec))
        if row.calibrates:
            yield "train", token_hash(data.gptq)
        if row.trains:
            yield from (("train", token_hash(data.qaft)), ("validation", token_hash(data.validation)))
        if (before := _start(spec)) and before.method != "rtn":  # which follows from the grid
            yield "start", self.recipe(before)

    def _settings(self, spec: MadeSpec) -> Settings:
        return Settings(self.preset, spec.width, self.seed, self.gptq_options)


def _start(spec: MadeSpec) -> PointSpec | None:
    """Return the point of the same grid that a point starts from: RTN, whose scales all methods share, or GPTQ."""
    start = find_method(spec.method).start
    return None if start is None or spec.scheme is None else PointSpec(start, spec.scheme)


def _increments(advance: Callable[[float], None]) -> Callable[[int, int], None]:
    """Turn reports of (done, total) into increments of a share."""
    reached = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal reached
        advance(done / total - reached)
        reached = done / total

    return progress
