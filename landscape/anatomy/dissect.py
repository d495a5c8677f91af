"""Dissect one point: from a model's name to the parts of its Δw, and the cost of each.

    checkpoint → weight space → point → waterfall → parts, groups → clipping of each tensor → R_l → bits → result

The forecast rehearses each stage on the known results: a stage for which they are enough costs nothing.
"""

from __future__ import annotations

from landscape.anatomy.bit_plan import check_size, check_windows
from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from landscape.anatomy.stages import Cost, Stages
from landscape.anatomy.waterfall import Waterfall
from landscape.estimators.intervals import article_count
from landscape.health.self_checks import FinishedRun, examine
from landscape.positions.directions import Sphere
from landscape.probing.plan import blocks_of
from landscape.session.forecast import Forecast, forecast_of, search_seconds
from landscape.session.point_specs import PointSpec
from landscape.session.progress import Progress
from landscape.session.run_record import Check
from landscape.session.session import Session
from landscape.session.subject import JUDGED_SPLIT, TEST_SPLIT

_AT_ONCE = 5.0  # seconds that making a point may take before the forecast


def dissect(request: AnatomyRequest, progress: Progress | None = None) -> AnatomyResult:
    """Dissect a point: measure which part of its Δw, in which tensors, costs the loss.

    Args:
        request: Which point, and how closely to look.
        progress: Receives the forecast, stages and warnings.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model is not available, or no better than chance on the data.
        CorpusError: if the text is not available, or too short.
        StoreError: if the cache cannot be written; what was committed stays.

    Example:
        >>> from dataclasses import replace
        >>> from landscape import PRESETS, AnatomyRequest, dissect
        >>> small = replace(PRESETS["quick"], validation_windows=2, test_windows=2, seq_len=32)
        >>> few = {"directions": 2, "groups": ("type",), "layer_radii": False}
        >>> request = AnatomyRequest("opt-nano", bits=2, preset=small, **few)
        >>> dissect(request).rise.value > 0.5
        True
    """
    with Session.open(request, progress) as session:
        if request.offered:
            check_windows(session.windows)
        if request.size is not None:
            check_size(session.subject.space, [spec.scheme for spec in request.offered], request.size)
        return _Anatomy(request, session).run()


class _Anatomy:
    """One anatomy under way."""

    def __init__(self, request: AnatomyRequest, session: Session) -> None:
        self.request, self.session, self.stages = request, session, Stages(request, session)

    def run(self) -> AnatomyResult:
        """Do all the work, in the order the data flows."""
        for spec in self._specs:
            self._find(spec)
        self.session.progress.forecast(self._forecast())
        center_nll = self.session.check_center(self.session.windows)
        for spec in self._specs:
            self.session.point(spec)
        return self._result(center_nll)

    @property
    def _specs(self) -> tuple[PointSpec, ...]:
        """The point, then the points that a plan may choose from; each once."""
        return tuple(dict.fromkeys((self.request.spec, *self.request.offered)))

    def _find(self, spec: PointSpec) -> None:
        """Find a point; if making it is quick and takes no forward pass, make it now, for a better forecast."""
        if self.session.find(spec) is not None or self.session.point_work(spec):
            return
        if search_seconds(self.session.subject.space, [spec.scheme]) < _AT_ONCE:
            self.session.point(spec)

    def _forecast(self) -> Forecast:
        """Forecast the work and its cost; one forward pass is measured if there is work to do."""
        runner, nothing = self.session.runner, Cost(0, 0.0)
        cost = sum((nothing if runner.knows(stage.measure) else stage.cost() for stage in self.stages.all), nothing)
        missing = tuple(spec for spec in self._specs if spec not in self.session.points)
        return forecast_of(
            self.session.subject,
            self.request.preset,
            missing,
            self.session.maker.searched(missing),
            probes=cost.probes,
            passes=cost.passes,
            batch=self.session.batch,
            needed=runner.asked,  # by the rehearsed stages
            known=runner.known,
        )

    def _result(self, center_nll: float) -> AnatomyResult:
        stages, session = self.stages, self.session
        falls, parts = stages.waterfall(), stages.anatomy()
        ranking, restored, held_out = stages.clipping()
        layers, plan = stages.layers(), stages.plan()
        health = self._health(falls)
        splits = (JUDGED_SPLIT, TEST_SPLIT)
        record = session.record(self._settings(), health)
        return AnatomyResult(
            subject=session.info(splits),
            point=self.request.spec.name,
            split=session.split,
            articles={split: article_count(blocks_of(session.subject.windows[split])) for split in splits},
            center_nll=center_nll,
            limit=self.request.limit,
            waterfall=falls,
            anatomy=parts,
            clipping=ranking,
            restored=restored,
            held_out=held_out,
            layers=layers,
            plan=plan,
            run=record,
        )

    def _health(self, falls: Waterfall) -> tuple[Check, ...]:
        """Check that the run was sound, and warn of each check that failed."""
        family = Sphere(self.session.subject.space, self.request.seed)
        lam, slope = min(falls.distance, falls.steps[0].radius.bracket[0]), self.stages.slope()
        done = FinishedRun.of(self.session, family, self.request.directions, lam, slope)
        return examine(done, self.session.progress)

    def _settings(self) -> dict[str, object]:
        request = self.request
        return {
            "directions of each family": request.directions,
            "preset": request.preset.name,
            "groups": ", ".join(self.stages.groupings),
            "limit": request.limit.text,
            **({"size of the plan": request.size.text} if request.size else {}),
        }
