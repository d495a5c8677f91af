"""Making the quantized points of a landscape, each once: the store keeps them by the recipe they are made with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from landscape.presets import Preset
from landscape.store import Store
from landscape.subject import Subject
from landscape.wanted import Wanted
from quant.gptq import GPTQOptions, gptq
from quant.grid import QuantScheme
from quant.hashing import token_hash
from quant.point import WeightPoint
from quant.qaft import qaft
from quant.rtn import rtn
from quant.training import TrainingOptions

RECIPE_VERSION = 1
"""Part of every recipe: raised when the code makes another point from the same options."""


class PointMaker:
    """Makes points, or finds them in the store."""

    def __init__(self, subject: Subject, store: Store, preset: Preset, seed: int) -> None:
        """Bind the maker to a model at its pretrained weights, the data for it, and the cache."""
        self.subject, self.store, self.preset, self.seed = subject, store, preset, seed
        self.space, self.center, self.calibration = subject.space, subject.center, subject.calibration

    def find(self, wanted: Wanted) -> WeightPoint | None:
        """The point, if the store has it."""
        return self.store.load_point(self.recipe(wanted), self.space)

    def make(self, wanted: Wanted, advance: Callable[[float], None]) -> WeightPoint:
        """Make the point and store it.

        Args:
            wanted: What to make.
            advance: Called with the fraction of the work just done.
        """
        make = {"rtn": self._rtn, "gptq": self._gptq, "qaft": self._qaft}[wanted.method]
        point = make(wanted.scheme, _fractions(advance))
        return self.store.save_point(self.recipe(wanted), self.space, point)

    def recipe(self, wanted: Wanted) -> str:
        """All that determines a point besides the model: method, scheme, options, hashes of the data."""
        return json.dumps(dict(self._ingredients(wanted)), sort_keys=True)

    def _ingredients(self, wanted: Wanted) -> Iterator[tuple[str, object]]:
        yield from (("version", RECIPE_VERSION), ("method", wanted.method), ("scheme", asdict(wanted.scheme)))
        if wanted.method == "gptq":
            yield from (("options", asdict(GPTQOptions())), ("train", token_hash(self.calibration.gptq)))
        if wanted.method == "qaft":
            yield "options", asdict(self._qaft_options(wanted.scheme))
            yield "train", token_hash(self.calibration.qaft)
            yield "validation", token_hash(self.calibration.validation)

    def _qaft_options(self, scheme: QuantScheme) -> TrainingOptions:
        return TrainingOptions(rates=self.preset.rates_for(scheme.bits), epochs=self.preset.qaft_epochs, seed=self.seed)

    def _rtn(self, scheme: QuantScheme, progress: Callable[[int, int], None]) -> WeightPoint:
        return rtn(self.space, self.center, scheme)

    def _gptq(self, scheme: QuantScheme, progress: Callable[[int, int], None]) -> WeightPoint:
        return gptq(
            self.subject.model,
            self.space,
            self._start(scheme),
            self.calibration.gptq,
            center=self.center,
            progress=progress,
        )

    def _qaft(self, scheme: QuantScheme, progress: Callable[[int, int], None]) -> WeightPoint:
        return qaft(
            self.subject.model,
            self.space,
            self._start(scheme),
            self.calibration.qaft,
            self.calibration.validation,
            self._qaft_options(scheme),
            center=self.center,
            folder=self.work_folder,
            progress=progress,
        )

    def _start(self, scheme: QuantScheme) -> WeightPoint:
        """RTN of the same scheme, whose scales all methods share."""
        wanted = Wanted("rtn", scheme)
        return self.find(wanted) or self.make(wanted, lambda fraction: None)

    @property
    def work_folder(self) -> Path:
        """Where QAFT keeps its epochs while it runs."""
        return self.store.folder / "unfinished"


def _fractions(advance: Callable[[float], None]) -> Callable[[int, int], None]:
    """Turn (done, total) reports into increments of a fraction."""
    reached = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal reached
        advance(done / total - reached)
        reached = done / total

    return progress
