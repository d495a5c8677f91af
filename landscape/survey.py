"""The main job: from a model's name to the landscape around it.

    checkpoint → weight space → points → plan → engine → store → analysis → Landscape

Everything that was made or evaluated is in the store when this returns, and nearly all of it when it does not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from landscape import analysis
from landscape.directions import family_of
from landscape.engines.inline import InlineEngine
from landscape.examine import Examined, examine, slope_at_w, slope_plan
from landscape.forecast import Forecast, disk_growth, forward_seconds, peak_memory, point_work
from landscape.health import Check, failed
from landscape.layout import nominal_probes, point_plan, ray_plan, segment_alphas, segment_labels, segment_plan
from landscape.opened import opened, run_record
from landscape.paths import CENTER, Atlas, OnRay
from landscape.plan import ProbePlan
from landscape.points import PointMaker, point_label
from landscape.presets import PRESETS, Preset
from landscape.progress import Progress, Silent
from landscape.result import Landscape, ProbeCount, SubjectInfo
from landscape.run import Runner
from landscape.store import Store
from landscape.subject import Subject, check_center, default_corpus, prepare
from landscape.sweep import PILOT_PROBES, pilot_radius, sweep_grid
from landscape.wanted import PAPER, TRAINED, External, Made, Wanted, check_names, wanted_points
from quant.cache import cache_folder
from quant.errors import UsageError
from quant.gptq import PAPER as GPTQ_OF_THE_PAPER
from quant.gptq import GPTQOptions
from quant.point import WeightPoint
from quant.space import distance
from quant.texts import SELF

PILOT_WINDOWS = 4
"""Validation windows of the pilot at most: few enough to be cheap, and the same when more windows are asked for."""


@dataclass(frozen=True)
class Survey:
    """What a user asks for."""

    model: str = "opt-nano"
    """Name, alias, folder or file: see ``quant.checkpoint``."""
    bits: tuple[int, ...] = (8, 4, 2)
    """Bit widths to quantize to."""
    methods: tuple[str, ...] = PAPER
    """Which of ``landscape.wanted.METHODS``."""
    scales: tuple[str, ...] = ("exact",)
    """How the grids' scales are found: see ``quant.scale``."""
    granularities: tuple[str, ...] = ("tensor",)
    """What shares a scale: see ``quant.grid.QuantScheme``."""
    symmetric: bool = True
    """Whether zero is in the middle of the grids."""
    gptq: GPTQOptions = GPTQ_OF_THE_PAPER
    """How GPTQ is run."""
    external: tuple[External, ...] = ()
    """Points that other tools made."""
    data: str | None = None
    """Corpus; by default ``tales`` for the embedded model and ``wikitext2`` for all others."""
    directions: int = 8
    """Random directions."""
    family: str = "sphere"
    """What kind of directions: see ``landscape.directions.family_of``."""
    pairs: bool = False
    """Whether every direction is followed both ways, ±ê, and counts with their mean: what is odd in λ cancels."""
    preset: Preset = field(default_factory=lambda: PRESETS["quick"])
    """Windows, lengths, steps."""
    lambdas: tuple[float, ...] | None = None
    """Distances to sweep; None to find them."""
    seed: int = 0
    """Of directions, windows and the order of QAFT's examples."""
    dtype: str = "float32"
    device: str = "cpu"
    store: Path | None = None
    """Cache folder; None for the user's."""

    def __post_init__(self) -> None:
        if self.directions < 1:
            raise UsageError(f"expected at least one direction, got {self.directions}")
        if self.lambdas is not None and (not self.lambdas or min(self.lambdas) <= 0):
            raise UsageError(f"expected distances above 0 as lambdas, got {self.lambdas}; w itself is always probed")
        check_names(self.wanted)

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """All points: those to be made, then those of other tools."""
        made = wanted_points(self.methods, self.bits, self.scales, self.granularities, self.symmetric)
        return (*made, *self.external)

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.data or default_corpus(self.model)

    @property
    def root(self) -> Path:
        """The cache folder."""
        return self.store or cache_folder()


def probe(request: Survey, progress: Progress | None = None) -> Landscape:
    """Probe the landscape around a model.

    Args:
        request: What to probe.
        progress: Hears what is going on.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model cannot be had, or is no better than chance on the data.
        CorpusError: if the text cannot be had, or is too short.
        StoreError: if the cache cannot be written; what was committed stays.
    """
    started = time.monotonic()
    progress = progress or Silent()
    with opened(request.model, request.dtype, request.device, request.root, progress) as (checkpoint, store):
        progress.stage("reading the text")
        subject = prepare(checkpoint, request.corpus, request.preset, request.methods, request.seed, request.root)
        return _Surveyor(request, subject, store, progress).work(started)


class _Surveyor:
    """One survey under way."""

    def __init__(self, request: Survey, subject: Subject, store: Store, progress: Progress) -> None:
        self.request, self.subject, self.store, self.progress = request, subject, store, progress
        self.family = family_of(request.family, subject.space, subject.center, request.seed)
        self.runner = Runner(store, run_record(request.device), progress.advance)
        self.wanted = request.wanted
        self.maker = PointMaker(subject, store, request.preset, request.seed, request.gptq)
        self.points: dict[Wanted, WeightPoint] = {}
        self.labels: dict[Wanted, str] = {}

    def work(self, started: float) -> Landscape:
        """Do all the work, in the order the data flows."""
        for wanted in self.wanted:
            self._place(wanted, self.maker.find(wanted))
        self.progress.forecast(self._forecast())
        self.progress.stage("finding the range of λ")
        self._run(point_plan([CENTER], self.subject.all_windows))
        self._check_center()
        radius = None if self.request.lambdas else pilot_radius(self._pilot_u, self.subject.norm)
        for wanted in self._to_make():
            self._make(wanted)
        lambdas = self._lambdas(radius)
        self.progress.stage("probing")
        self._run(self._plan(lambdas))
        self.store.compact()
        return self._landscape(lambdas, started)

    def _place(self, wanted: Wanted, point: WeightPoint | None) -> None:
        if point is not None:
            self.points[wanted] = point
            self.labels[wanted] = point_label(point, self.subject.space)

    def _to_make(self) -> list[Made]:
        return [wanted for wanted in self.wanted if wanted not in self.points and isinstance(wanted, Made)]

    def _make(self, wanted: Made) -> None:
        self.progress.stage(f"making {wanted.name}")
        work = self._point_work(wanted)
        self._place(wanted, self.maker.make(wanted, lambda share: self.progress.advance(share * work)))

    def _run(self, plan: ProbePlan) -> None:
        points = {label: self.points[wanted] for wanted, label in self.labels.items()}
        atlas = Atlas(self.subject.center, points, {self.family.name: self.family})
        self.runner.run(plan, InlineEngine(self.subject.model, self.subject.space, atlas))

    def _plan(self, lambdas: Sequence[float]) -> ProbePlan:
        """Everything there is to probe, given the points made so far."""
        subject, placed = self.subject, [wanted for wanted in self.wanted if wanted in self.points]
        labels = [self.labels[wanted] for wanted in placed]
        alphas = segment_alphas(self.request.preset.alphas)
        return (
            point_plan([CENTER, *labels], subject.all_windows)
            + slope_plan(self.family, self.request.directions, subject.norm, subject.windows[analysis.VERDICT_SPLIT])
            + ray_plan(self.family, self.request.directions, lambdas, subject.radial_windows, self.request.pairs)
            + segment_plan(segment_labels(placed, self.labels), alphas, subject.radial_windows)
        )

    # ---- the range of λ -----------------------------------------------------------------------------------------

    def _check_center(self) -> None:
        nll = self.runner.nll(CENTER, self.subject.windows[analysis.VERDICT_SPLIT])
        check_center(nll, self.subject.chance, self.request.corpus)

    def _known_u(self, lam: float) -> float:
        windows = self.subject.windows[analysis.VERDICT_SPLIT][:PILOT_WINDOWS]
        base = self.runner.nll(CENTER, windows)
        here = self.runner.nll(str(OnRay(self.family.name, 0, lam)), windows)
        return (here - base) / (self.subject.chance - base)

    def _pilot_u(self, lam: float) -> float:
        windows = self.subject.windows[analysis.VERDICT_SPLIT][:PILOT_WINDOWS]
        self._run(ray_plan(self.family, 1, [lam], windows))
        return self._known_u(lam)

    def _lambdas(self, radius: float | None) -> tuple[float, ...]:
        if self.request.lambdas:
            return tuple(sorted(set(self.request.lambdas)))
        if radius is None:
            self.progress.warn("the loss never rises halfway to chance along the first direction: R will be censored")
            radius = self.subject.norm
        space, center = self.subject.space, self.subject.center
        farthest = max((distance(space, center, point) for point in self.points.values()), default=0.0)
        return sweep_grid(radius, self.request.preset.lambdas, reach=1.05 * farthest)

    # ---- forecast -----------------------------------------------------------------------------------------------

    def _forecast(self) -> Forecast:
        """What will be done and what it will cost; one forward pass is measured if there is work to do."""
        subject, preset = self.subject, self.request.preset
        new = self._to_make()
        radial, every = len(subject.radial_windows), len(subject.all_windows)
        try:  # a pilot that is cached tells the grid, so that what is missing can be counted exactly
            plan, rays = self._plan(self._lambdas(pilot_radius(self._known_u, subject.norm))), 0
        except KeyError:
            plan, rays = self._plan([]), self.request.directions * (1 + self.request.pairs) * preset.lambdas
        probes = len(plan.missing(self.runner.known)) + nominal_probes(
            self.wanted, new, rays, preset.alphas, radial, every
        )
        pilot = PILOT_PROBES * min(PILOT_WINDOWS, len(subject.windows["validation"])) if rays else 0
        work = probes + pilot + sum(map(self._point_work, new))
        return Forecast(
            probes=probes,
            cached=len(plan) - len(plan.missing(self.runner.known)),
            points=tuple(wanted.name for wanted in new),
            work=work,
            seconds=work * forward_seconds(subject.model, subject.windows["validation"][0].tokens) if work else 0.0,
            memory=peak_memory(
                subject.space.dimension,
                logits=subject.seq_len * subject.vocabulary,
                trains=any(wanted.method in TRAINED for wanted in new),
            ),
            disk=disk_growth(subject.space.dimension, len(new), probes),
        )

    def _point_work(self, wanted: Made) -> float:
        validation = len(self.subject.windows["validation"])
        return point_work(wanted.method, wanted.scheme.bits, self.request.preset, validation)

    # ---- the result ---------------------------------------------------------------------------------------------

    def _landscape(self, lambdas: Sequence[float], started: float) -> Landscape:
        subject, request = self.subject, self.request
        probes = analysis.Probes(self.runner.known, subject.windows)
        basins, rays = analysis.basins_and_rays(
            probes, self.family.name, request.directions, lambdas, subject.chance, request.pairs
        )
        shape = analysis.geometry(subject.space, subject.center, self.points)
        labels = {wanted: self.labels[wanted] for wanted in self.wanted}
        total = len(self.runner.asked)
        return Landscape(
            subject=self._info(),
            center={split: probes.nll(CENTER, split) for split in subject.windows},
            basins=basins,
            verdict_split=analysis.VERDICT_SPLIT,
            rays=rays,
            points=analysis.point_results(probes, labels, shape, basins[analysis.VERDICT_SPLIT]),
            segments=analysis.segment_results(probes, labels, shape, segment_alphas(request.preset.alphas)),
            probes=ProbeCount(total, total - self.runner.evaluated, self.runner.evaluated),
            seconds=time.monotonic() - started,
            store=str(self.store.folder),
            settings=self._settings(),
            health=self._health(lambdas[0]),
        )

    def _health(self, lam: float) -> tuple[Check, ...]:
        """Whether the run was sound; what was not is warned of."""
        subject, runner, family, count = self.subject, self.runner, self.family, self.request.directions
        windows, own_text = subject.windows[analysis.VERDICT_SPLIT], self.request.corpus == SELF
        slope = slope_at_w(runner, family, count, subject.norm, windows, own_text)
        checks = examine(
            Examined(runner, subject.model, subject.space, subject.center, family, count, lam, windows[0], slope)
        )
        for check in failed(checks):
            self.progress.warn(check.words)
        return checks

    def _info(self) -> SubjectInfo:
        subject = self.subject
        return SubjectInfo(
            model=self.request.model,
            fingerprint=subject.checkpoint.fingerprint,
            dtype=self.request.dtype,
            dimension=subject.space.dimension,
            norm=subject.norm,
            chance=subject.chance,
            data=self.request.corpus,
            seq_len=subject.seq_len,
            windows={split: len(windows) for split, windows in subject.windows.items()},
        )

    def _settings(self) -> dict[str, object]:
        request = self.request
        return {
            "directions": request.directions,
            "family": self.family.name,
            "both ways, ±ê": request.pairs,
            "preset": request.preset.name,
            "methods": ", ".join(request.methods),
            "scales": ", ".join(request.scales),
            "granularities": ", ".join(request.granularities),
            **{f"GPTQ {name}": value for name, value in _differences(request.gptq).items()},
            **{f"point {e.name}": e.path.name for e in request.external},
            "seed": request.seed,
            "corpus fingerprint": self.subject.corpus.fingerprint,
            **self.runner.provenance,
        }


def _differences(options: GPTQOptions) -> dict[str, object]:
    """Options that are not the paper's."""
    paper = asdict(GPTQ_OF_THE_PAPER)
    return {name: value for name, value in asdict(options).items() if value != paper[name]}
