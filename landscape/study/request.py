"""Define the request of a study: the models, and a survey that all of them get."""

from __future__ import annotations

from dataclasses import dataclass, fields

from landscape.session.request import FIRST, LAST, option
from landscape.survey.request import SurveyRequest
from quant.checkpoints.embedded import EMBEDDED
from quant.errors import UsageError
from quant.scheme import Width


@dataclass(frozen=True, kw_only=True)
class StudyRequest(SurveyRequest):
    """Models × grids × methods, with the directions and numbers of a survey."""

    model: str = option(default="", hidden=True)
    """Name of a model; empty, since a study has several: see ``surveys``."""
    data: str | None = option(default=None, hidden=True)
    """Name of a text; None, since each model can have its own: see ``texts``."""
    external: tuple = option(default=(), hidden=True)
    """Points of other tools; none, since such a point belongs to one model."""
    lambdas: tuple[float, ...] | None = option(default=None, hidden=True)
    """ℓ2 distances from w; found for each model, whose ‖w‖ is its own."""
    models: tuple[str, ...] = option("--models", "-m", default=(EMBEDDED,), rank=FIRST - 1)
    """Models, as --model of probe takes them, comma-separated."""
    texts: tuple[str, ...] = option("--data", default=(), rank=LAST, unset="tales for opt-nano, else wikitext2")
    """Text for all models, or one for each, comma-separated: as --data of probe takes it."""
    bits: tuple[Width, ...] = option("--bits", "-b", default=(8, 6, 4, 3, 2))
    """Bit widths, 2 to 8, and float formats (nvfp4, mxfp4, fp8), comma-separated."""
    layers: bool = option(default=True)
    """Measure each matrix too: distances, clipping, dampings, and the layer-wise error on train and test."""
    name: str | None = option(default=None, rank=FIRST - 1, unset="that of its file, else its models")
    """Name of the study, for its page and its record."""
    dry_run: bool = False
    """Show the cells of the study with their time, memory and disk, and evaluate nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models:
            raise UsageError("expected at least one model in --models, got none")
        for model in self.models:
            if self.models.count(model) > 1:
                raise UsageError(f"expected each model once in --models, got {model!r} more than once")
        if self.revision is not None and len(self.models) > 1:
            raise UsageError(
                f"expected one model with --revision, got {len(self.models)}: a revision belongs to one model; run a "
                "study for each"
            )
        if len(self.texts) > 1 and len(self.texts) != len(self.models):
            raise UsageError(
                f"expected one text in --data, or one for each of {len(self.models)} models, got {len(self.texts)}"
            )

    @property
    def title(self) -> str:
        """Name of the study."""
        return self.name or ", ".join(self.models)

    @property
    def surveys(self) -> tuple[SurveyRequest, ...]:
        """The survey of each model."""
        own = {field.name: getattr(self, field.name) for field in fields(SurveyRequest)}
        texts = self.texts if len(self.texts) > 1 else (self.texts or (None,)) * len(self.models)
        return tuple(
            SurveyRequest(**own | {"model": model, "data": text})
            for model, text in zip(self.models, texts, strict=True)
        )
