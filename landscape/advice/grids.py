"""Resolve the grids to advise on: as they are shipped, for the matrices of a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quant.errors import UsageError
from quant.scheme import QuantScheme, Scale, Width

if TYPE_CHECKING:
    from quant.space import WeightSpace

GROUP = 128
"""Group size of most published models."""
LEAST_GROUP = 16
"""Smallest group that is worth its scales: at 16 bits each, one more bit per weight."""
WIDTHS: tuple[Width, ...] = (8, 4, 3, 2, "fp8", "nvfp4", "mxfp4")
"""The widths to look at by default."""
SHIPPED = ("tensor", "channel", "group")
"""The granularities of integer grids to look at by default: the paper's, and those that people ship."""
SEARCHED_BITS = 4
"""Up to this bit width a scale that clips can pay; a finer grid hardly loses by one that does not."""
MEASURED = "the one of two that loses less"
"""Default of the scales, for readers: see ``Candidates``."""


@dataclass(frozen=True)
class Candidates:
    """One bit width and granularity, and the grids among which the one that loses less is taken."""

    bits: int
    granularity: str
    schemes: tuple[QuantScheme, ...]
    """The grids, which differ in their scale alone."""


def candidates(
    widths: Sequence[Width], granularities: Sequence[str], scales: Sequence[Scale], space: WeightSpace
) -> Iterator[Candidates]:
    """Yield the grids of a request, each granularity once; float formats that do not fit the matrices are left out.

    Args:
        widths: Bit widths, and names of float formats, to which the rest does not apply.
        granularities: ``tensor``, ``channel``, ``group:N`` or ``group``; the last is left out where no group fits.
        scales: Rules for the scale, each a grid of its own; if there are none, two are compared by the loss.
        space: The matrices.
    """
    resolved = (_resolved(granularity, space) for granularity in granularities)
    for granularity in dict.fromkeys(each for each in resolved if each is not None):
        for width in (each for each in widths if isinstance(each, int)):
            if scales:
                for scale in scales:
                    yield Candidates(width, granularity, (QuantScheme(width, scale, granularity),))
            else:
                tried = _tried(width, granularity)
                yield Candidates(width, granularity, tuple(QuantScheme(width, s, granularity) for s in tried))
    for scheme in (QuantScheme.of_format(each) for each in widths if isinstance(each, str)):
        if _misfit(scheme, space) is None:
            yield Candidates(scheme.bits, scheme.granularity, (scheme,))


def left_out(widths: Sequence[Width], granularities: Sequence[str], space: WeightSpace) -> Iterator[str]:
    """Yield a sentence for each grid of a request that does not fit the matrices; see ``candidates``."""
    if "group" in granularities and common_group(space) is None and any(isinstance(each, int) for each in widths):
        yield "groups are left out: no group of 16 or more divides the inputs of all matrices"
    for scheme in (QuantScheme.of_format(each) for each in widths if isinstance(each, str)):
        if words := _misfit(scheme, space):
            yield f"{scheme} is left out: {words}"


def _misfit(scheme: QuantScheme, space: WeightSpace) -> str | None:
    """Say why a float format does not fit the matrices; None if it does."""
    try:
        scheme.check_fits(space)
    except UsageError as error:
        return str(error)
    return None


def common_group(space: WeightSpace) -> int | None:
    """Return the largest group up to 128 that divides the inputs of every matrix; None if it is below 16."""
    size = math.gcd(GROUP, *(slot.inputs for slot in space))
    return size if size >= LEAST_GROUP else None


def ragged(granularity: str, space: WeightSpace) -> str | None:
    """Say which matrix groups of a granularity do not divide; None if they divide all.

    Args:
        granularity: ``group:N``, or another, which divides every matrix.
        space: The matrices.
    """
    _, _, size = granularity.partition(":")
    if not size:
        return None
    found = next((slot for slot in space if slot.inputs % int(size)), None)
    if found is None:
        return None
    fits = common_group(space)
    remedy = "no group of 16 or more divides all matrices" if fits is None else f"groups of {fits} divide all matrices"
    return (
        f"groups of {size} do not divide the {found.inputs} inputs of {found.name}: its last group is shorter, which "
        f"most kernels refuse; {remedy}"
    )


def _resolved(granularity: str, space: WeightSpace) -> str | None:
    """Return the granularity with the size of its groups; None where no group fits."""
    if granularity != "group":
        return granularity
    size = common_group(space)
    return None if size is None else f"group:{size}"


def _tried(bits: int, granularity: str) -> tuple[Scale, ...]:
    """Return the scales to compare: one that clips nothing, and up to 4 bits and for tensors one of least error."""
    if granularity == "tensor":
        return ("exact", "absmax")
    return ("absmax", "mse") if bits <= SEARCHED_BITS else ("absmax",)
