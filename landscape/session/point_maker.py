"""Making the quantized points of a landscape, each once: the store keeps them by the recipe they are made with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from landscape.probing.store import Store
from landscape.session.point_specs import CALIBRATED, TRAINED, AnySpec, ExternalSpec, PointSpec
from landscape.session.presets import Preset
from landscape.session.subject import Subject
from quant.external.load import load_external
from quant.hashing import token_hash
from quant.methods.awq import awq
from quant.methods.gptq import gptq
from quant.methods.options import PAPER_GPTQ, AWQOptions, GPTQOptions, SignRoundOptions, TrainingOptions
from quant.methods.qaft import qaft
from quant.methods.rtn import rtn
from quant.methods.signround import signround
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace

RECIPE_VERSION = 2
"""Part of every recipe: raised when the code makes another point from the same options.

2   GPTQ's dampings are multiples of the mean over live inputs; 1 counted dead ones too.
"""


def point_label(point: WeightPoint, space: WeightSpace) -> str:
    """What the probes of a point are stored under: it follows from the weights, however they were made."""
    return f"point/{point.fingerprint(space)[:32]}"


class PointMaker:
    """Makes points, or finds them in the store."""

    def __init__(
        self, subject: Subject, store: Store, preset: Preset, seed: int, gptq_options: GPTQOptions = PAPER_GPTQ
    ) -> None:
        """Bind the maker to a model at its pretrained weights, the data for it, and the cache."""
        self.subject, self.store, self.preset, self.seed = subject, store, preset, seed
        self.gptq_options = gptq_options
        self.space, self.center, self.calibration = subject.space, subject.center, subject.calibration

    def find(self, wanted: AnySpec) -> WeightPoint | None:
        """The point, if another tool made it or the store has it.

        Raises:
            PointError: if another tool's point is not one of this model.
        """
        if isinstance(wanted, ExternalSpec):
            return load_external(wanted.path, self.subject.checkpoint, wanted.name, wanted.gauge)
        return self.store.load_point(self.recipe(wanted), self.space)

    def searched(self, new: Iterable[PointSpec]) -> tuple[QuantScheme, ...]:
        """The grids whose scales are found on the way to new points: those of RTN, where the store does not have it.

        AWQ's own searches, on scaled channels, are in its work.
        """
        schemes = dict.fromkeys(made.scheme for made in new if made.method != "awq")
        return tuple(scheme for scheme in schemes if self.find(PointSpec("rtn", scheme)) is None)

    def make(self, wanted: PointSpec, advance: Callable[[float], None]) -> WeightPoint:
        """Make the point and store it.

        Args:
            wanted: What to make.
            advance: Called with the fraction of the work just done.
        """
        point = self._make(wanted, _fractions(advance))
        return self.store.save_point(self.recipe(wanted), self.space, point)

    def recipe(self, wanted: PointSpec) -> str:
        """All that determines a point besides the model: method, scheme, options, hashes of the data."""
        return json.dumps(dict(self._ingredients(wanted)), sort_keys=True)

    def _ingredients(self, wanted: PointSpec) -> Iterator[tuple[str, object]]:
        yield from (("version", RECIPE_VERSION), ("method", wanted.method), ("scheme", asdict(wanted.scheme)))
        if wanted.method in TRAINED:
            yield "options", asdict(self._training(wanted))
            yield "train", token_hash(self.calibration.qaft)
            yield "validation", token_hash(self.calibration.validation)
        if wanted.method == "qaft-from-gptq":
            yield "start", self.recipe(PointSpec("gptq", wanted.scheme))
        elif wanted.method in CALIBRATED:
            options = {"gptq": asdict(self.gptq_options), "awq": asdict(AWQOptions())}
            yield "options", (options | {"signround": asdict(self._signround)})[wanted.method]
            yield "train", token_hash(self.calibration.gptq)

    @property
    def _signround(self) -> SignRoundOptions:
        return SignRoundOptions(seed=self.seed)

    def _training(self, wanted: PointSpec) -> TrainingOptions:
        return TrainingOptions(
            rates=self.preset.rates_for(wanted.scheme.bits),
            epochs=self.preset.qaft_epochs,
            learn_scale=wanted.method == "qaft-lsq",
            seed=self.seed,
        )

    def _make(self, wanted: PointSpec, progress: Callable[[int, int], None]) -> WeightPoint:
        model, space, center, data = self.subject.model, self.space, self.center, self.calibration
        match wanted.method:
            case "rtn":
                return rtn(space, center, wanted.scheme)
            case "awq":
                return awq(model, space, center, wanted.scheme, data.gptq, progress=progress)
            case "gptq":
                start = self._start("rtn", wanted.scheme)
                return gptq(model, space, start, data.gptq, self.gptq_options, center=center, progress=progress)
            case "signround":
                start = self._start("rtn", wanted.scheme)
                return signround(model, space, start, data.gptq, self._signround, center=center, progress=progress)
            case "qaft" | "qaft-lsq" | "qaft-from-gptq":
                start = self._start("gptq" if wanted.method == "qaft-from-gptq" else "rtn", wanted.scheme)
                return qaft(
                    model, space, start, data.qaft, data.validation, self._training(wanted), center=center,
                    folder=self.work_folder, progress=progress,
                )  # fmt: skip

    def _start(self, method: Literal["rtn", "gptq"], scheme: QuantScheme) -> WeightPoint:
        """The point that a method starts from: RTN of the same scheme, whose scales all share, or GPTQ."""
        wanted = PointSpec(method, scheme)
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
