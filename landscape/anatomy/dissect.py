"""The anatomy as a job: from a model's name to what Δw of one point is made of, and what each piece of it costs.

    checkpoint → weight space → point → waterfall → parts, groups → clipping of each tensor → R_l → bits → Dissected

The forecast tries each stage on what is known alone: where that is enough, nothing of it is to be done.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from landscape.anatomy.bit_choice import options_plan
from landscape.anatomy.bit_plan import CHECKED_ON, CHOSEN_ON, check_windows
from landscape.anatomy.effects import anatomy_plan, clipping_plan, groups
from landscape.anatomy.request import AnatomyRequest, AnatomyResult
from landscape.anatomy.stages import Stages
from landscape.anatomy.waterfall import KINDS, Waterfall
from landscape.estimators.intervals import article_count
from landscape.health.checks import Check
from landscape.health.self_checks import SLOPE_DIRECTIONS, SLOPE_WINDOWS, Examined, examine
from landscape.positions.directions import Sphere
from landscape.positions.parts import PartStatistics
from landscape.positions.position import CENTER, common_blocks
from landscape.probing.plan import ProbePlan, blocks_of
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.session.forecast import Forecast, forecast_of, point_work, search_seconds
from landscape.session.point_maker import PointMaker
from landscape.session.point_specs import PointSpec
from landscape.session.progress import Progress, Silent
from landscape.session.session import opened, run_record
from landscape.session.subject import Subject, check_center
from landscape.survey.analysis import VERDICT_SPLIT
from landscape.survey.result import ProbeCount

_SEARCH = 6  # distances that a search for R takes before the two around it, about
_AT_ONCE = 5.0  # seconds that a point may take before there is a forecast
_ONE_CLIPPED = PartStatistics(1, 1, 0, 0, 0, 0, 0)  # of a point that is not made yet every tensor may clip


def dissect(request: AnatomyRequest, progress: Progress | None = None) -> AnatomyResult:
    """Take a point apart.

    Args:
        request: Which point, and how closely to look.
        progress: Hears what is going on.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model cannot be had, or is no better than chance on the data.
        CorpusError: if the text cannot be had, or is too short.
        StoreError: if the cache cannot be written; what was committed stays.
    """
    started = time.monotonic()
    progress = progress or Silent()
    with opened(request, progress) as (checkpoint, store):
        progress.stage("reading the text")
        methods = (request.wanted.method,)
        subject = request.subject(checkpoint, request.preset, methods, progress)
        if request.offered:
            check_windows(subject.windows[CHOSEN_ON])
        return _Dissector(request, subject, store, progress).work(started)


class _Dissector:
    """One anatomy under way."""

    def __init__(self, request: AnatomyRequest, subject: Subject, store: Store, progress: Progress) -> None:
        self.request, self.subject, self.store, self.progress = request, subject, store, progress
        self.runner = Runner(store, run_record(self.subject.checkpoint.device), progress.advance)
        self.maker = PointMaker(subject, store, request.preset, request.seed, request.gptq)
        self.stages = Stages(request, subject, self.runner, progress)

    def work(self, started: float) -> AnatomyResult:
        """Do all the work, in the order the data flows."""
        for wanted in self._wanted:
            self._find(wanted)
        self.progress.forecast(self._forecast())
        self.stages.probe_center()
        nll = self.runner.nll(CENTER, self.subject.windows[VERDICT_SPLIT])
        check_center(nll, self.subject.chance, self.request.corpus, self.subject.checkpoint.dtype)
        for wanted in self._missing():
            self._make(wanted)
        found = self._dissected(nll, started)
        self.store.compact()
        return found

    # ---- the points -------------------------------------------------------------------------------------------------

    @property
    def _wanted(self) -> tuple[PointSpec, ...]:
        """The point, then those that a plan may choose from; each once."""
        return tuple(dict.fromkeys((self.request.wanted, *self.request.offered)))

    def _missing(self) -> tuple[PointSpec, ...]:
        return tuple(wanted for wanted in self._wanted if wanted not in self.stages.points)

    def _find(self, wanted: PointSpec) -> None:
        point = self.maker.find(wanted)
        if point is not None:
            self.stages.place(wanted, point)
        elif not self._point_work(wanted) and search_seconds(self.subject.space, [wanted.scheme]) < _AT_ONCE:
            self._make(wanted)  # takes no forward pass, and the forecast is the better for it

    def _make(self, wanted: PointSpec) -> None:
        self.progress.stage(f"making {wanted.name}")
        work = self._point_work(wanted)
        self.stages.place(wanted, self.maker.make(wanted, lambda share: self.progress.advance(share * work)))

    def _point_work(self, wanted: PointSpec) -> float:
        validation = len(self.subject.windows["validation"])
        return point_work(wanted.method, wanted.scheme.bits, self.request.preset, validation)

    # ---- forecast ---------------------------------------------------------------------------------------------------

    def _forecast(self) -> Forecast:
        """What will be done and what it will cost; one forward pass is measured if there is work to do."""
        counts = self._counts()
        return forecast_of(
            self.subject,
            self.request.preset,
            self._missing(),
            self.maker.searched(self._missing()),
            probes=sum(count for count, _ in counts),
            passes=sum(share for _, share in counts),
            needed=self.runner.asked,  # by the stages as they were tried
            known=self.runner.known,
        )

    def _counts(self) -> list[tuple[int, float]]:
        """Of each stage, how many probes it will evaluate, about, and how many whole forward passes these are."""
        stages, space, directions = self.stages, self.subject.space, self.request.directions
        windows, tests = (self.subject.windows[split] for split in (VERDICT_SPLIT, CHECKED_ON))
        label, search = stages.labels.get(self.request.wanted, "new"), _SEARCH + 2 * directions
        made = self.request.wanted in stages.points
        clips = stages.statistics if made else {slot.name: _ONE_CLIPPED for slot in space}
        along = (len(KINDS) - 1) * (search + directions) + _SEARCH + 3  # Δw itself is one direction
        layers = search * sum(len(groups(space, by)) for by in stages.layer_groupings)
        offered = [stages.labels.get(wanted, wanted.name) for wanted in self.request.offered]
        parts = anatomy_plan(space, label, windows, stages.groupings)
        checks = len(space.slots) * len(tests) if offered else 0
        slope = 2 * SLOPE_DIRECTIONS * min(len(windows), SLOPE_WINDOWS)
        undone = (2 + len(space.slots).bit_length()) * (len(windows) + len(tests))
        return [
            self._count(stages.waterfall, _whole(along * len(windows))),
            self._count(stages.anatomy, self._shared(parts)),
            self._count(stages.clipping, self._shared(clipping_plan(space, clips, label, windows)), _whole(undone)),
            self._count(stages.layers, _whole(layers * len(windows))),
            self._count(stages.plan, self._shared(options_plan(space, offered, windows)), _whole(checks)),
            self._count(stages.slope, _whole(slope)),
        ]

    def _count(self, stage: Callable[[], object], *otherwise: tuple[int, float]) -> tuple[int, float]:
        """Nothing if all that a stage needs is known; else what it needs, about."""
        if self.runner.knows(stage):
            return 0, 0.0
        return sum(count for count, _ in otherwise), sum(share for _, share in otherwise)

    def _shared(self, plan: ProbePlan) -> tuple[int, float]:
        """What is missing of a plan in block order, in which first blocks run once."""
        space = self.subject.space
        blocks = 1 + max(slot.block for slot in space)
        missing = plan.missing(self.runner.known)
        shares = (len(s.windows) * (1 - common_blocks(space, s.position)[1] / blocks) for s in missing.steps)
        return len(missing), sum(shares)

    # ---- the result -------------------------------------------------------------------------------------------------

    def _dissected(self, center_nll: float, started: float) -> AnatomyResult:
        stages = self.stages
        falls, parts = stages.waterfall(), stages.anatomy()
        ranking, restored, held_out = stages.clipping()
        layers, plan = stages.layers(), stages.plan()
        health = self._health(falls)
        total = len(self.runner.asked)
        return AnatomyResult(
            subject=self.request.info(self.subject, (CHOSEN_ON, CHECKED_ON)),
            point=self.request.wanted.name,
            split=VERDICT_SPLIT,
            articles={
                split: article_count(blocks_of(self.subject.windows[split])) for split in (CHOSEN_ON, CHECKED_ON)
            },
            center_nll=center_nll,
            limit=self.request.limit,
            waterfall=falls,
            anatomy=parts,
            clipping=ranking,
            restored=restored,
            held_out=held_out,
            layers=layers,
            plan=plan,
            probes=ProbeCount(total, total - self.runner.evaluated, self.runner.evaluated),
            seconds=time.monotonic() - started,
            store=str(self.store.folder),
            settings=self._settings(),
            health=health,
        )

    def _health(self, falls: Waterfall) -> tuple[Check, ...]:
        """Whether the run was sound; what was not is told at once."""
        family = Sphere(self.subject.space, self.request.seed)
        lam, slope = min(falls.distance, falls.steps[0].radius.bracket[0]), self.stages.slope()
        done = Examined.of(self.subject, self.runner, family, self.request.directions, lam, slope)
        return examine(done, self.progress)

    def _settings(self) -> dict[str, object]:
        request = self.request
        return {
            "directions of each family": request.directions,
            "preset": request.preset.name,
            "groups": ", ".join(self.stages.groupings),
            "limit": request.limit.text,
            "seed": request.seed,
            "corpus fingerprint": self.subject.corpus.fingerprint,
            **request.text_settings,
            **self.runner.provenance,
        }


def _whole(count: int) -> tuple[int, float]:
    """Probes at which every block runs."""
    return count, float(count)
