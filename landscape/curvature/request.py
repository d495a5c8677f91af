"""Request the curvature of the basin's floor."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.session.bounds import DIRECTIONS, WINDOWS
from landscape.session.request import PANEL_RUN, SplitRequest, option
from quant.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CurvatureRequest(SplitRequest):
    """The precision of R, and the numbers of the second derivatives at w."""

    matmul_precision: str = option(default="highest", panel=PANEL_RUN)
    """highest alone: TF32 rounds second derivatives away."""
    dtype: str = option(default="float32", panel=PANEL_RUN)
    """float32, or auto where that is the checkpoint's own."""
    directions: int = option("--directions", "-d", default=8, least=2, most=DIRECTIONS)
    """Random directions that Tr H is averaged over."""
    windows: int = option(default=4, least=2, most=WINDOWS)
    """Windows of text that Tr H is averaged over."""
    top: bool = True
    """Find the top eigenvalue too, by Lanczos: some 20 products."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.directions, self.windows) < 2:
            raise UsageError(
                f"expected at least 2 directions and 2 windows, got {self.directions} and {self.windows}: fewer show "
                "no standard error"
            )
        if self.dtype not in ("float32", "auto"):  # the meaning of auto is known once the model is loaded
            raise UsageError(
                f"expected float32 for second derivatives, got {self.dtype}, which rounds them away; leave --dtype out"
            )
        if self.matmul_precision != "highest":
            raise UsageError(
                f"expected --matmul-precision highest for second derivatives, got {self.matmul_precision}, which "
                "rounds them away; leave --matmul-precision out"
            )
