"""Count the matrices of experts that saw enough calibration tokens, from the provenance of a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExpertTokens:
    """Matrices of the experts of a point, counted by the calibration tokens that were routed to them."""

    matrices: int
    """All matrices of experts in the point."""
    few: int
    """Those that saw fewer tokens than they have inputs: too few to determine their Hessian."""
    none: int
    """Those that saw no token, and keep RTN's codes."""

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> ExpertTokens | None:
        """Read the counts from a point's provenance; None if GPTQ did not calibrate it or the model has no experts."""
        record = provenance.get("experts")
        if not isinstance(record, Mapping) or not record.get("matrices"):
            return None
        return cls(record["matrices"], record["fewer tokens than inputs"], record["no tokens"])

    @property
    def sentence(self) -> str:
        """The counts in words, and how to raise them."""
        enough = self.matrices - self.few - self.none
        if enough == self.matrices:
            return f"All {enough} matrices of experts saw at least as many calibration tokens as they have inputs."
        counts = [f"{enough} saw at least as many calibration tokens as they have inputs"]
        counts += [f"{self.few} saw fewer"] if self.few else []
        counts += [f"{self.none} saw none and keep RTN's codes"] if self.none else []
        return (
            f"{self.matrices} matrices of experts: {', '.join(counts)}; more --calibration-windows reach more of them."
        )
