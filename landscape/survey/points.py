"""The points of a survey as far as they are made: named by their weights, measured, and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.session.expert_tokens import ExpertTokens
from landscape.session.point_maker import point_label
from landscape.session.point_specs import AnySpec, PointSpec
from landscape.survey.analysis import Geometry, geometry
from landscape.survey.plane import PlaneBasis, PlaneLattice
from landscape.survey.plans import plane_points, segment_labels
from quant.center import Center
from quant.point import WeightPoint
from quant.space import WeightSpace, distance


class SurveyPoints:
    """Points around w, of those that were asked for; whatever was made first, they are in the order asked for."""

    def __init__(self, wanted: Sequence[AnySpec], space: WeightSpace, center: Center) -> None:
        """Bind to all that is asked for, and to w."""
        self.wanted, self.space, self.center = tuple(wanted), space, center
        self.points: dict[AnySpec, WeightPoint] = {}
        self.labels: dict[AnySpec, str] = {}
        self._measured: Geometry | None = None

    def place(self, wanted: AnySpec, point: WeightPoint) -> None:
        """Add a point, named by its weights."""
        self.points[wanted] = point
        self.labels[wanted] = point_label(point, self.space)
        self._measured = None

    @property
    def there(self) -> list[AnySpec]:
        """The points made so far."""
        return [wanted for wanted in self.wanted if wanted in self.points]

    @property
    def missing(self) -> list[PointSpec]:
        """The points that are still to be made."""
        return [wanted for wanted in self.wanted if wanted not in self.points and isinstance(wanted, PointSpec)]

    @property
    def vectors(self) -> dict[str, WeightPoint]:
        """The points made so far, by label."""
        return {label: self.points[wanted] for wanted, label in self.labels.items()}

    @property
    def experts(self) -> dict[AnySpec, ExpertTokens | None]:
        """The calibration tokens of the experts of each point made so far."""
        return {wanted: ExpertTokens.of(point.provenance) for wanted, point in self.points.items()}

    @property
    def shape(self) -> Geometry:
        """Distances and angles of the points made so far, measured again only when there are more."""
        if self._measured is None:
            points = {wanted: self.points[wanted] for wanted in self.there}  # pairs in the order of the segments
            self._measured = geometry(self.space, self.center, points)
        return self._measured

    @property
    def farthest(self) -> float:
        """The greatest ‖Δw‖ so far; 0 if there is no point."""
        return max((distance(self.space, self.center, point) for point in self.points.values()), default=0.0)

    @property
    def segments(self) -> tuple[tuple[str, str], ...]:
        """The labels of the ends of every segment between them."""
        return segment_labels(self.there, self.labels)

    @property
    def lattices(self) -> dict[tuple[PointSpec, PointSpec], PlaneLattice]:
        """The planes through w and two of them; none through points on one line with w."""
        bases = {
            (a, b): PlaneBasis.of(*(self.shape.gram[p] for p in ((a, a), (a, b), (b, b))))
            for a, b in plane_points(self.there)
        }
        return {pair: PlaneLattice.around(basis) for pair, basis in bases.items() if basis}
