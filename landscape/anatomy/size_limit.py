"""Read how large a plan of bits may be: ``4.25bpw``, 4.25 bits per weight of the weight space."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from quant.errors import UsageError

LARGEST = 64
"""Most bits per weight: those of float64."""
_SYNTAX = re.compile(r"(?P<bits>\d+(\.\d+)?|\.\d+)bpw")


@dataclass(frozen=True)
class SizeLimit:
    """The largest size of the matrices of the weight space that a user accepts, as ``quant.size`` counts it."""

    text: str
    """As the user wrote it."""
    bits_per_weight: float
    """Codes, scales and zero points, in bits per weight of the space."""

    @classmethod
    def parse(cls, text: str) -> SizeLimit:
        """Read a size.

        Raises:
            UsageError: if it cannot be read, or is no size at all.
        """
        found = _SYNTAX.fullmatch(text.strip().lower())
        if found is None or not 0 < float(found["bits"]) <= LARGEST:
            raise UsageError(
                f"expected a size like 4.25bpw (bits per weight of the matrices, with scales), above 0 and at "
                f"most {LARGEST}, got {text[:80]!r}"
            )
        return cls(text.strip(), float(found["bits"]))

    def most_bytes(self, weights: int) -> int:
        """Return the bytes that so many weights may take.

        The number counts as the decimal that the user wrote: 4.1 bits for ten weights are 41 bits, whatever the nearest
        float is.
        """
        return int(Fraction(repr(self.bits_per_weight)) * weights / 8)
