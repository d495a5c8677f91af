"""Read how much loss a user accepts: ``ppl+5%``, a perplexity 5 % higher, or ``nll+0.05``, in nats per token."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quant.errors import UsageError

if TYPE_CHECKING:  # requests hold a limit, and are built without numpy
    from landscape.estimators.intervals import Estimate

LARGEST = 10**9
"""Largest amount of a limit, in per cent or nats: a model that only guesses loses less than 13 nats."""
_SYNTAX = re.compile(r"(?P<kind>ppl|nll)\+(?P<amount>\d+(\.\d+)?|\.\d+)(?P<percent>%?)")


@dataclass(frozen=True)
class Limit:
    """The largest rise of the loss over that at w that a user accepts."""

    text: str
    """As the user wrote it."""
    nats: float
    """ΔL, in nats per token."""

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a limit: perplexity is ``exp(NLL)``, so ``ppl+5%`` is ΔL = ln 1.05.

        Raises:
            UsageError: if it cannot be read, allows no rise at all, or more than any model loses.
        """
        found = _SYNTAX.fullmatch(text.strip().lower())
        if found is None or (found["kind"] == "ppl") != bool(found["percent"]) or not float(found["amount"]) > 0:
            raise UsageError(
                f"expected a limit like ppl+5% (perplexity) or nll+0.05 (nats per token), above 0, got {text[:80]!r}"
            )
        amount = float(found["amount"])
        if amount > LARGEST:
            raise UsageError(
                f"expected at most {LARGEST} as the rise of a limit, beyond which every grid keeps it, got "
                f"{text[:40]!r}"
            )
        return cls(text.strip(), math.log1p(amount / 100) if found["kind"] == "ppl" else amount)

    def keeps(self, rise: Estimate) -> bool:
        """Return whether all of ΔL's interval is within the limit, as in ``estimators.location.limit_word``."""
        return rise.high <= self.nats
