"""Measure the points of a survey, as far as they are made, and find what lies between them."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.session.expert_tokens import ExpertTokens
from landscape.session.point_specs import AnySpec, ExternalSpec, MadeSpec, PointSpec, plane_pairs
from landscape.session.session import Session
from landscape.survey.analysis import Geometry, geometry
from landscape.survey.plane import PlaneBasis, PlaneLattice
from landscape.survey.plans import segment_labels
from quant.space import distance


class SurveyPoints:
    """Points around w, of those that were asked for; whatever was made first, they are in the order asked for."""

    def __init__(self, specs: Sequence[AnySpec], session: Session) -> None:
        """Bind to all that is asked for, and to the session that finds or makes it."""
        self.specs, self._session = tuple(specs), session
        self._measured: tuple[int, Geometry] | None = None

    @property
    def there(self) -> list[AnySpec]:
        """The points made so far."""
        return [spec for spec in self.specs if spec in self._session.points]

    @property
    def missing(self) -> list[MadeSpec]:
        """The points that are still to be made."""
        made = self._session.points
        return [spec for spec in self.specs if spec not in made and not isinstance(spec, ExternalSpec)]

    @property
    def experts(self) -> dict[AnySpec, ExpertTokens | None]:
        """The calibration tokens of the experts of each point made so far."""
        return {spec: ExpertTokens.of(self._session.points[spec].provenance) for spec in self.there}

    @property
    def shape(self) -> Geometry:
        """Distances and angles of the points made so far, measured again only when there are more."""
        there = self.there
        if self._measured is None or self._measured[0] != len(there):
            subject = self._session.subject
            points = {spec: self._session.points[spec] for spec in there}  # pairs in the order of the segments
            self._measured = len(there), geometry(subject.space, subject.center, points)
        return self._measured[1]

    @property
    def farthest(self) -> float:
        """The greatest ‖Δw‖ so far; 0 if there is no point."""
        subject, points = self._session.subject, self._session.points
        return max((distance(subject.space, subject.center, points[spec]) for spec in self.there), default=0.0)

    @property
    def segments(self) -> tuple[tuple[str, str], ...]:
        """The labels of the ends of every segment between them."""
        return segment_labels(self.there, self._session.labels)

    @property
    def lattices(self) -> dict[tuple[PointSpec, PointSpec], PlaneLattice]:
        """The planes through w and two of them; none through points on one line with w."""
        bases = {
            (a, b): PlaneBasis.of(*(self.shape.gram[p] for p in ((a, a), (a, b), (b, b))))
            for a, b in plane_pairs(self.there)
        }
        return {pair: PlaneLattice.around(basis) for pair, basis in bases.items() if basis}
