"""Measure the evidence for advice in a session: RTN on each grid, small trials, and R. Every loss goes to the store.

The test split is left for the point that comes of the advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from landscape.advice.request import AdviceRequest
from landscape.advice.trials import Trials
from landscape.estimators.intervals import Estimate, paired_difference
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


class MeasuredEvidence:
    """Evidence on one model that is measured when it is asked for: a ``landscape.advice.adviser.Source``."""

    def __init__(self, request: AdviceRequest, session: Session) -> None:
        """Bind to a session of the request."""
        self.session, self.subject = session, session.subject
        self.trials = Trials(request, session)
        self.sphere = Sphere(session.subject.space, request.seed)

    @cached_property
    def found(self) -> RadiusSearch:
        """R along uniform directions, and the search for it."""
        self.session.stage("searching for R")
        rule = StoppingRule(PRECISION, windows=self.windows)
        return search(self.session.radial(self.sphere), self.subject.norm, self.subject.chance, rule)

    @property
    def windows(self) -> int:
        """Number of validation windows there are."""
        return len(self.session.windows)

    @property
    def gptq_tokens(self) -> int:
        """Number of tokens that calibrate the small GPTQ."""
        return self.trials.gptq_tokens

    def rtn(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        """Measure ΔL of RTN; see ``Source``."""
        label = self.session.label(PointSpec("rtn", scheme))
        self.session.stage(f"measuring rtn-{scheme}")
        return self._rise(label, windows, level)

    def gptq(self, scheme: QuantScheme, windows: int, level: float) -> Estimate:
        """Measure ΔL of the small GPTQ; see ``Source``."""
        return self._rise(self.trials.gptq(scheme), windows, level)

    def untrainable(self) -> str | None:
        """Say why w_FT cannot be trained: it does not fit in memory; see ``Source``."""
        try:
            self.trials.finetuned()
        except UsageError as error:
            return str(error)
        return None

    def control(self, windows: int, level: float) -> Estimate:
        """Measure ΔL of w_FT; see ``Source``."""
        return self._rise(self.trials.finetuned(), windows, level)

    def distance(self, scheme: QuantScheme) -> float:
        """Return ‖Δw‖ of RTN."""
        return distance(self.subject.space, self.session.point(PointSpec("rtn", scheme)), self.subject.center)

    def bits_per_weight(self, scheme: QuantScheme) -> float:
        """Return the bits of a weight, with scales and zero points."""
        return model_size(self.subject.model, self.subject.space, scheme).space_bits

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
