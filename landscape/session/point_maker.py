"""Make each point of a run once: the store keeps it under the recipe that made it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
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

RECIPE_VERSION = 3
"""Version in every recipe; raise it when the code makes another point from the same options.

3   Losses and gradients are summed in chunks of rows, which changes the last digits of trained points. Directions drawn
    in another way came with it, but are in no point: their names have a version of their own (``DRAW`` in
    ``landscape.positions.directions``).
2   GPTQ's dampings are multiples of the mean over live inputs; version 1 counted dead ones too.
"""


def point_label(point: WeightPoint, space: WeightSpace) -> str:
    """Return the label that a point's probes are stored under: a hash of its weights, however they were made."""
    return f"point/{point.fingerprint(space)[:32]}"


class PointMaker:
    """Maker of points, which first looks for them in the store."""

    def __init__(
        self, subject: Subject, store: Store, preset: Preset, seed: int, gptq_options: GPTQOptions = PAPER_GPTQ
    ) -> None:
        """Bind the maker to a model at its pretrained weights, its data, and the store."""
        self.subject, self.store, self.preset, self.seed = subject, store, preset, seed
        self.gptq_options = gptq_options

    def find(self, spec: AnySpec) -> WeightPoint | None:
        """Return the point of another tool, or the stored point; None if it must be made.

        Raises:
            PointError: if another tool's point does not belong to this model.
        """
        if isinstance(spec, ExternalSpec):
            return load_external(
                spec.path, self.subject.checkpoint, spec.name, spec.gauge, cache=self.store.folder.parent
            )
        return self.store.load_point(self.recipe(spec), self.subject.space)

    def searched(self, new: Iterable[MadeSpec]) -> tuple[QuantScheme, ...]:
        """Return the grids whose scales must be searched for to make new points: those without a stored RTN point."""
        schemes = dict.fromkeys(spec.scheme for spec in new if spec.scheme and searches_scales(spec.method))
        return tuple(scheme for scheme in schemes if self.find(PointSpec("rtn", scheme)) is None)

    def make(self, spec: MadeSpec, advance: Callable[[float], None] = lambda share: None) -> WeightPoint:
        """Make the point and store it.

        Args:
            spec: The point to make.
            advance: Called with each share of the work, from 0 to 1, when it is done.

        Raises:
            StoreError: if the point cannot be kept, before it is made.
        """
        self.store.check_writable()
        row = find_method(spec.method)
        start_spec = _start(spec)
        start = None if start_spec is None else self.find(start_spec) or self.make(start_spec)
        bench = Workbench(
            self.subject, spec.scheme, self._settings(spec), start, self.work_folder, _increments(advance)
        )
        return self.store.save_point(self.recipe(spec), self.subject.space, row.make(bench))

    def recipe(self, spec: MadeSpec) -> str:
        """Return the JSON that determines a point, given the model: method, grid, options, hashes of the data."""
        return json.dumps(dict(self._ingredients(spec)), sort_keys=True)

    @property
    def work_folder(self) -> Path:
        """Folder in which training keeps its epochs while it runs."""
        return self.store.folder / "unfinished"

    def _ingredients(self, spec: MadeSpec) -> Iterator[tuple[str, object]]:
        row, data = find_method(spec.method), self.subject.calibration
        yield from (("version", RECIPE_VERSION), ("method", row.name))
        if spec.scheme:
            yield "scheme", spec.scheme.record
        yield from recipe_options(row, self._settings(spec))
        if row.calibrates:
            yield "train", token_hash(data.windows)
        if row.trains:
            yield from (("train", token_hash(data.training)), ("validation", token_hash(data.validation)))
        if (start := _start(spec)) and start.method != "rtn":  # RTN follows from the grid
            yield "start", self.recipe(start)

    def _settings(self, spec: MadeSpec) -> Settings:
        return Settings(self.preset, spec.width, self.seed, self.gptq_options)


def _start(spec: MadeSpec) -> PointSpec | None:
    """Return the point on the same grid that a method starts from: RTN, whose scales all methods share, or GPTQ."""
    start = find_method(spec.method).start
    return None if start is None or spec.scheme is None else PointSpec(start, spec.scheme)


def _increments(advance: Callable[[float], None]) -> Callable[[int, int], None]:
    """Turn reports of (done, total) into increments of the share that is done."""
    reached = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal reached
        advance(done / total - reached)
        reached = done / total

    return progress
