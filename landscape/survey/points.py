"""Measure the points of a survey made so far, and list the segments and planes between them."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.session.expert_tokens import ExpertTokens
from landscape.session.point_specs import AnySpec, ExternalSpec, MadeSpec, PointSpec, plane_pairs
from landscape.session.session import Session
from landscape.session.training_record import TrainingRecord
from landscape.survey.analysis import Geometry, geometry
from landscape.survey.plane import PlaneBasis, PlaneLattice
from landscape.survey.plans import segment_labels
from landscape.survey.result import StoredPoint
from quant.hashing import token_record
from quant.size import ModelSize, model_size
from quant.space import distance


class SurveyPoints:
    """The points of a request, in its order whichever was made first, with their geometry."""

    def __init__(self, specs: Sequence[AnySpec], session: Session) -> None:
        """Bind the points of a request to the session that finds or makes them."""
        self.specs, self._session = tuple(specs), session
        self._measured: tuple[int, Geometry] | None = None

    @property
    def made(self) -> list[AnySpec]:
        """Points made so far."""
        return [spec for spec in self.specs if spec in self._session.points]

    @property
    def missing(self) -> list[MadeSpec]:
        """Points still to be made."""
        points = self._session.points
        return [spec for spec in self.specs if spec not in points and not isinstance(spec, ExternalSpec)]

    @property
    def experts(self) -> dict[AnySpec, ExpertTokens | None]:
        """Calibration tokens of the experts, for each point made so far."""
        return {spec: ExpertTokens.of(self._session.points[spec].provenance) for spec in self.made}

    @property
    def training(self) -> dict[AnySpec, TrainingRecord | None]:
        """Epochs of the training, for each point made so far, with the test losses of the windows at hand."""
        test = token_record(self._session.subject.calibration.test)
        return {spec: TrainingRecord.of(self._session.points[spec].provenance, test) for spec in self.made}

    @property
    def sizes(self) -> dict[AnySpec, ModelSize | None]:
        """Bits and bytes of each point; None for those of other tools, whose convention is their own."""
        subject = self._session.subject
        return {
            spec: None if isinstance(spec, ExternalSpec) else model_size(subject.model, subject.space, spec.scheme)
            for spec in self.specs
        }

    @property
    def stored(self) -> dict[AnySpec, StoredPoint | None]:
        """Place of each point in the store; None for those of other tools."""
        session = self._session
        return {
            spec: None
            if isinstance(spec, ExternalSpec)
            else StoredPoint(session.maker.recipe(spec), session.labels[spec])
            for spec in self.specs
        }

    @property
    def geometry(self) -> Geometry:
        """Distances and angles of the points made so far, measured again only when points were added."""
        made = self.made
        if self._measured is None or self._measured[0] != len(made):
            subject = self._session.subject
            points = {spec: self._session.points[spec] for spec in made}  # pairs in the order of the segments
            self._measured = len(made), geometry(subject.space, subject.center, points)
        return self._measured[1]

    @property
    def farthest(self) -> float:
        """Greatest ‖Δw‖ of the points made so far; 0 without any."""
        subject, points = self._session.subject, self._session.points
        return max((distance(subject.space, subject.center, points[spec]) for spec in self.made), default=0.0)

    @property
    def segments(self) -> tuple[tuple[str, str], ...]:
        """Labels of the ends of every segment between w and the points made so far."""
        return segment_labels(self.made, self._session.labels)

    @property
    def lattices(self) -> dict[tuple[PointSpec, PointSpec], PlaneLattice]:
        """Planes through w and two points made so far, except where the three lie on one line."""
        bases = {
            (a, b): PlaneBasis.of(*(self.geometry.gram[p] for p in ((a, a), (a, b), (b, b))))
            for a, b in plane_pairs(self.made)
        }
        return {pair: PlaneLattice.around(basis) for pair, basis in bases.items() if basis}
