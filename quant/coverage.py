"""Count how much of a model's decoder blocks the weight space holds, and what it leaves out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a page is drawn from a kept run without torch
    from torch import nn

    from quant.architecture import Outside
    from quant.space import WeightSpace

VECTORS = "norms and biases"
_LISTED = 4  # names of a kind; the JSON has all


@dataclass(frozen=True)
class Omission:
    """Parameters of one kind that the space does not hold."""

    kind: str
    """``router``, ``convolution``, ``state matrix``, ``excluded``, or norms and biases."""
    names: tuple[str, ...]
    """Their names within a block, each once."""
    weights: int
    """Total number of weights in them."""


@dataclass(frozen=True)
class Coverage:
    """The share of the blocks' weights that is in the weight space."""

    held: int
    """D."""
    total: int
    """Number of weights in the decoder blocks, norms and biases included."""
    outside: tuple[Omission, ...]
    """The other weights by kind, the largest kind first."""

    @property
    def share(self) -> float:
        """D over all weights of the blocks."""
        return self.held / self.total

    @property
    def sentence(self) -> str:
        """Summary in one sentence: ``w holds 42,752 of 43,264 weights of the blocks (98.8 %); outside: …``."""
        outside = "; ".join(_words(omission) for omission in self.outside)
        held = f"w holds {self.held:,} of {self.total:,} weights of the blocks ({_percent(self.share)})"
        return f"{held}; outside: {outside}" if outside else held


def coverage(model: nn.Module, space: WeightSpace) -> Coverage:
    """Count what the space holds of a model's decoder blocks.

    Args:
        model: The model.
        space: Its weight space.
    """
    from quant.architecture import decoder_blocks

    _, blocks = decoder_blocks(model)
    total = sum(parameter.numel() for parameter in blocks.parameters())
    known = [Omission(kind, _names(found), sum(o.size for o in found)) for kind, found in _by_kind(space.outside)]
    vectors = total - space.dimension - sum(omission.weights for omission in known)
    if vectors:
        known.append(Omission(VECTORS, (), vectors))
    return Coverage(space.dimension, total, tuple(sorted(known, key=lambda omission: -omission.weights)))


def _by_kind(outside: Iterable[Outside]) -> list[tuple[str, list[Outside]]]:
    kinds: dict[str, list[Outside]] = {}
    for found in outside:
        kinds.setdefault(found.kind, []).append(found)
    return list(kinds.items())


def _names(outside: Iterable[Outside]) -> tuple[str, ...]:
    """Return the names within a block, after its number, with ``*`` for the index of an expert."""
    inside = (re.sub(r"^.*?\.\d+\.", "", found.name, count=1) for found in outside)
    return tuple(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in inside))


def _words(omission: Omission) -> str:
    names = ", ".join(omission.names[:_LISTED]) + (", …" if len(omission.names) > _LISTED else "")
    return f"{omission.kind} ({names + ': ' if names else ''}{omission.weights:,})"


def _percent(share: float) -> str:
    """Format a share in percent, and 100 % only where it is all."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"
