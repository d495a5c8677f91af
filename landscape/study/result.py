"""Hold the outcome of a study: a survey per model with the claims on it, and the cells that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from landscape.claims.claim import Claim
from landscape.survey.result import SurveyResult


@dataclass(frozen=True)
class FailedCell:
    """A cell of the study that could not be measured."""

    model: str
    """Name that the user gave."""
    cell: str
    """Name of the point, such as ``gptq-int3-exact``; ``all`` if the model itself failed."""
    reason: str
    """The error, in one line."""


@dataclass(frozen=True, eq=False)
class ModelStudy:
    """One model of a study: all its points in one landscape, and what the paper claims of it."""

    survey: SurveyResult
    claims: tuple[Claim, ...]
    """The paper's claims, judged on this landscape."""
    command: str
    """Command line that measures this model alone."""

    @property
    def name(self) -> str:
        """Name of the model that the user gave."""
        return self.survey.subject.model


@dataclass(frozen=True, eq=False)
class StudyResult:
    """Outcome of a study."""

    name: str
    """Name of the study: that of its TOML file, else its models."""
    models: tuple[ModelStudy, ...]
    """The models that were measured, in the order of the request."""
    failures: tuple[FailedCell, ...]
    """Cells without a result, with the reasons."""
    command: str
    """Command line that runs the whole study."""
    seconds: float
    """Wall time of the last run."""
    settings: Mapping[str, object]
    """Settings that the models share: preset, bits, methods, scales, granularities."""
