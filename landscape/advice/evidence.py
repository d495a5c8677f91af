"""Collect the evidence for advice in the order of its price: RTN on every grid, small trials where they can decide.

RTN         on every grid, on 4, 8, 16, … validation windows, until ΔL lies on one side of the limit, and of the
            largest ΔL at which GPTQ may still bring it within (``landscape.estimators.looks``)
GPTQ        foretold; where RTN leaves it open, tried on little data, grid by grid in the order of their bits per weight
            until one keeps the limit
w_FT        32 steps, once, where neither RTN nor GPTQ keeps the limit: QAFT is foretold less this control
R           along uniform directions, once for all grids: it places each grid in the basin, and decides nothing

What is measured for a grid does not depend on the grids beside it, except that trials stop where one keeps the limit.
The test split is left for the point that comes of the advice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from landscape.advice.choice import Choice, keeps
from landscape.advice.foretell import GPTQ_LEAST, foretell_gptq, foretell_qaft, raw_qaft
from landscape.advice.grids import Candidates
from landscape.advice.request import AdviceRequest
from landscape.advice.trials import Trials
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.looks import FIRST, Look, look
from landscape.estimators.radius_search import RadiusSearch, StoppingRule, search
from landscape.positions.directions import Sphere
from landscape.positions.position import CENTER
from landscape.probing.losses import Probes
from landscape.probing.plan import point_plan
from landscape.session.point_specs import PointSpec
from landscape.session.session import Session
from quant.errors import UsageError
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.size import model_size
from quant.space import distance

PRECISION = 0.1
"""Half width of R's interval over R: each grid is placed no more exactly."""


@dataclass(frozen=True)
class GridEvidence:
    """The measurements on one grid."""

    scheme: QuantScheme
    bits_per_weight: float
    """With scales and zero points."""
    distance: float
    """‖Δw‖ of RTN."""
    rtn: Look
    """ΔL of RTN."""
    left: Mapping[QuantScheme, float]
    """ΔL on the first windows of the grids that were left for this one, which differ in their scale."""


class EvidenceCollector:
    """Collector of the evidence of one model; every loss goes to the store."""

    def __init__(self, request: AdviceRequest, session: Session) -> None:
        """Bind to a session of the request."""
        self.request, self.session, self.subject = request, session, session.subject
        self.trials = Trials(request, session)
        self.sphere = Sphere(session.subject.space, request.seed)
        self._grids: dict[Candidates, GridEvidence] = {}

    @cached_property
    def found(self) -> RadiusSearch:
        """R along uniform directions, and the search for it."""
        self.session.stage("searching for R")
        rule = StoppingRule(PRECISION, windows=len(self.session.windows))
        return search(self.session.radial(self.sphere), self.subject.norm, self.subject.chance, rule)

    @property
    def marks(self) -> tuple[float, float]:
        """ΔL from which RTN is told, nats per token: the limit, and the largest that GPTQ may bring within it."""
        return self.request.limit.nats, self.request.limit.nats / GPTQ_LEAST

    def grid(self, tried: Candidates) -> GridEvidence:
        """Measure RTN on a grid, with the scale that loses less.

        Raises:
            NotEvaluated: in a rehearsal, if some of it is not known.
        """
        if tried not in self._grids:
            self._grids[tried] = self._measured(tried)
        return self._grids[tried]

    def gptq(self, scheme: QuantScheme) -> Look:
        """Try GPTQ on a grid.

        Raises:
            NotEvaluated: in a rehearsal, if some of it is not known.
        """
        return self._look(self.trials.gptq(scheme), self.marks[:1])

    @cached_property
    def control(self) -> Estimate | None:
        """ΔL of w_FT after 32 steps; None where training does not fit in memory.

        Raises:
            NotEvaluated: in a rehearsal, if some of it is not known.
        """
        try:
            label = self.trials.finetuned()
        except UsageError as error:
            self.session.progress.warn(
                f"what plain fine-tuning gains is not known, and QAFT is foretold less it: {error}"
            )
            return None
        return self._look(label, (0.0,)).rise

    def choices(self, found: Sequence[GridEvidence]) -> list[Choice]:
        """Return the ways on the grids of one bit width, with what was measured and what is foretold of each.

        Raises:
            NotEvaluated: in a rehearsal, if some of it is not known.
        """
        decides = partial(keeps, limit=self.request.limit, net=self.request.net)
        rounded = [self._rounded(grid) for grid in found]
        foretold = {grid.scheme: self._foretold_gptq(grid) for grid in found}
        if any(map(decides, rounded)):
            return [*rounded, *foretold.values(), *(self._foretold_qaft(grid, None) for grid in found)]
        for grid in sorted(found, key=lambda grid: foretold[grid.scheme].price):
            if self._open(grid):
                foretold[grid.scheme] = self._tried_gptq(grid)
                if decides(foretold[grid.scheme]):
                    break
        control = None if any(map(decides, foretold.values())) else self.control
        return [*rounded, *foretold.values(), *(self._foretold_qaft(grid, control) for grid in found)]

    def _open(self, grid: GridEvidence) -> bool:
        """Return whether GPTQ may keep the limit on a grid where RTN does not."""
        return not grid.rtn.rise.low > self.marks[1]

    def _rounded(self, grid: GridEvidence) -> Choice:
        return Choice("rtn", grid.scheme, grid.bits_per_weight, grid.rtn.rise, "measured", windows=grid.rtn.windows)

    def _foretold_gptq(self, grid: GridEvidence) -> Choice:
        rise = foretell_gptq(grid.rtn.rise, self.request.confidence)
        return Choice("gptq", grid.scheme, grid.bits_per_weight, rise, "foretold")

    def _tried_gptq(self, grid: GridEvidence) -> Choice:
        found = self.gptq(grid.scheme)
        return Choice(
            "gptq", grid.scheme, grid.bits_per_weight, found.rise, "measured",
            windows=found.windows, tokens=self.trials.gptq_tokens,
        )  # fmt: skip

    def _foretold_qaft(self, grid: GridEvidence, control: Estimate | None) -> Choice:
        net = foretell_qaft(grid.rtn.rise, grid.distance / self.subject.norm, self.request.confidence)
        raw = raw_qaft(net, grid.rtn.rise, control or Estimate(0.0, 0.0, 0.0))
        return Choice("qaft", grid.scheme, grid.bits_per_weight, raw, "foretold", net)

    def _measured(self, tried: Candidates) -> GridEvidence:
        session, first = self.session, min(FIRST, len(self.session.windows))
        session.stage(f"rounding to {tried.name}")
        labels = {scheme: session.label(PointSpec("rtn", scheme)) for scheme in tried.schemes}
        rises = {scheme: self._rise(label, first, 0.5).value for scheme, label in labels.items()}
        best = min(rises, key=lambda scheme: rises[scheme])
        point = session.point(PointSpec("rtn", best))
        return GridEvidence(
            scheme=best,
            bits_per_weight=model_size(self.subject.model, self.subject.space, best).space_bits,
            distance=distance(self.subject.space, point, self.subject.center),
            rtn=self._look(labels[best], self.marks),
            left={scheme: rise for scheme, rise in rises.items() if scheme != best},
        )

    def _look(self, label: str, marks: Sequence[float]) -> Look:
        """Measure the rise at a point until it is told from the marks."""
        measure = partial(self._rise, label)
        return look(measure, len(self.session.windows), self.request.confidence, marks)

    def _rise(self, label: str, windows: int, level: float) -> Estimate:
        """Measure ΔL at a point on the first windows, with a two-sided interval of this level."""
        some = self.session.windows[:windows]
        self.session.evaluate(point_plan([CENTER, label], some), self._own(label))
        probes = Probes(self.session.runner.known, {"": some})
        totals, center = probes.totals(label, ""), probes.totals(CENTER, "")
        return paired_difference(totals, center, probes.tokens(""), level, probes.blocks(""))

    def _own(self, label: str) -> Mapping[str, WeightPoint]:
        """Return the point of a label if it is one of the trials, which the session does not hold."""
        return {label: self.trials.points[label]} if label in self.trials.points else {}
