"""What is asked of a survey: which points, along how many directions, with which numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from landscape.session.point_specs import PAPER_METHODS, AnySpec, ExternalSpec, check_names, wanted_points
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import Request
from landscape.survey.plans import plane_points
from quant.errors import UsageError
from quant.methods.options import PAPER_GPTQ, GPTQOptions


@dataclass(frozen=True, kw_only=True)
class SurveyRequest(Request):
    """What a user asks of a survey."""

    bits: tuple[int, ...] = (8, 4, 2)
    """Bit widths to quantize to."""
    methods: tuple[str, ...] = PAPER_METHODS
    """Which of ``landscape.session.point_specs.METHODS``."""
    scales: tuple[str, ...] = ("exact",)
    """How the grids' scales are found: see ``quant.scale``."""
    granularities: tuple[str, ...] = ("tensor",)
    """What shares a scale: see ``quant.scheme.QuantScheme``."""
    symmetric: bool = True
    """Whether zero is in the middle of the grids."""
    gptq: GPTQOptions = PAPER_GPTQ
    """How GPTQ is run."""
    external: tuple[ExternalSpec, ...] = ()
    """Points that other tools made."""
    directions: int = 8
    """Random directions."""
    family: str = "sphere"
    """What kind of directions: see ``landscape.positions.directions.family_of``."""
    pairs: bool = False
    """Whether every direction is followed both ways, ±ê, and counts with their mean: what is odd in λ cancels."""
    preset: Preset = field(default_factory=lambda: PRESETS["quick"])
    """Windows, lengths, steps."""
    lambdas: tuple[float, ...] | None = None
    """Distances to sweep; None to find them."""
    plane: bool = False
    """Whether the plane through w, GPTQ and QAFT is probed too, for each grid: ``landscape.survey.plane.SIDE`` squared
    positions on up to ``landscape.survey.plane.PLANE_WINDOWS`` validation windows."""

    def __post_init__(self) -> None:
        if self.directions < 1:
            raise UsageError(f"expected at least one direction, got {self.directions}")
        if self.lambdas is not None and (not self.lambdas or min(self.lambdas) <= 0):
            raise UsageError(f"expected distances above 0 as lambdas, got {self.lambdas}; w itself is always probed")
        check_names(self.wanted)
        if self.plane and not plane_points(self.wanted):
            raise UsageError(
                f"expected gptq and qaft among --methods with --plane, which lies through both, got "
                f"{', '.join(self.methods)}; add them, or leave --plane out"
            )

    @property
    def wanted(self) -> tuple[AnySpec, ...]:
        """All points: those to be made, then those of other tools."""
        made = wanted_points(self.methods, self.bits, self.scales, self.granularities, self.symmetric)
        return (*made, *self.external)
