"""Whether a run is sound: the checks made after every one, judged and put in plain words.

A number that is wrong looks like any other. These are the ways in which a run goes wrong unseen: the model was not put
back, it evaluates at random, its text is not what it is taken for, its directions are not independent, its steps are
too small for the precision of the weights, its output overflows. ``landscape.health.self_checks`` takes the
measurements.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.intervals import paired_error
from landscape.formatting import with_minus
from landscape.session.run_record import Check

L_AT_W, DETERMINISTIC, SLOPE = "L(w) reproduced", "deterministic evaluation", "± symmetry at w"
ORTHOGONAL, RESOLUTION, FINITE = "orthogonal directions", "float resolution", "finite losses"

SIGMAS = 5.0
"""Of a cosine of two directions; random signs exceed it 7 times in a million at most, 2·exp(−5²/2)."""
RESOLVED = 1e-4
"""Relative deviation of ‖fl(w + λê) − w‖ from λ that is accepted."""
FALSE_ALARM = 0.01
"""How often chance alone fails the check of the slope."""
CACHED = "Nothing was evaluated in this run, so there was nothing to check: every loss came from the cache."
"""Why a check that calls the model was not made."""
_KINDS = {
    "w": "at w",
    "ray": "along random directions",
    "segment": "on segments",
    "plane": "on planes",
    "point": "at points",
    "parts": "with parts of a Δw",
}


def unchecked(name: str, why: str) -> Check:
    """A check that was not made."""
    return Check(name, None, why)


def reproduced(first: float, again: float, others: Sequence[str] = ()) -> Check:
    """L(w) at the end of a run against L(w) at its beginning, on one window.

    Args:
        first: The NLL sum that the run used.
        again: The NLL sum of the model as it stands after all work.
        others: If the first came from the cache, how else numbers in it were made: what differs from this run.
    """
    measured = f"an NLL sum of {again!r} on one window, at first {first!r}"
    if again.hex() == first.hex():
        words = "After all work the model gives the same L(w) to the bit: it was put back whole."
    elif others:
        words = (
            f"L(w) is not what it was ({measured}). The first number came from the cache, where some were made with "
            f"{'; '.join(others)}, whose last digits may differ: use another --store, so that all are made alike."
        )
    else:
        words = (
            f"L(w) is not what it was ({measured}): the model was changed on the way, or does not evaluate alike "
            "twice. Do not trust the losses of this run; repeat it with another --store."
        )
    return Check(L_AT_W, again.hex() == first.hex(), words)


def deterministic(one: float, two: float) -> Check:
    """The NLL sums of the same window twice in a row."""
    measured = f"NLL sums of {one!r} and {two!r} on the same window"
    words = "The same window twice in a row gives the same loss to the bit."
    if one.hex() != two.hex():
        words = (
            f"The same window twice in a row gives {measured}: the model draws random numbers (a dropout that eval() "
            "does not turn off?), or adds up in changing order. No difference as small as this one means anything; "
            "make the model deterministic, or try --device cpu."
        )
    return Check(DETERMINISTIC, one.hex() == two.hex(), words)


def slope(
    plus: NDArray[np.float64],
    minus: NDArray[np.float64],
    tokens: NDArray[np.int64],
    lam: float,
    own_text: bool,
    blocks: NDArray | None = None,
) -> Check:
    """Whether w is a minimum along some directions: ``(L(λ) − L(−λ))/2λ`` is zero within its standard error.

    On text that the model wrote itself the expected slope is zero along *every* direction, so each is judged alone,
    with the windows as all that is uncertain. The mean over random directions would say nothing: −ê is as likely as ê,
    so that it is zero on any text.

    Args:
        plus: (n_d, n_w) NLL sums at w + λê.
        minus: (n_d, n_w) NLL sums at w − λê.
        tokens: (n_w,) scored tokens.
        lam: λ.
        own_text: Whether the model wrote the windows; of another text the slope is told and not judged.
        blocks: (n_w,) labels; windows with the same one, as those of one article, are not independent. None if all are.
    """
    if not (np.isfinite(plus).all() and np.isfinite(minus).all()):
        words = f"The model's output overflowed at λ = {lam:.3g}, so there is no slope at w; use a wider --dtype."
        return Check(SLOPE, False if own_text else None, words)
    values = (plus - minus).sum(1) / tokens.sum() / (2 * lam)
    errors = [paired_error(p, m, tokens, blocks) for p, m in zip(plus, minus, strict=True)]
    halves = np.array([error.half_width(1 - FALSE_ALARM / len(plus)) for error in errors]) / (2 * lam)
    if not np.isfinite(halves).all():
        return Check(SLOPE, None, "A single window, or article, does not tell how uncertain the slope at w is.")
    flat = bool((np.abs(values) <= halves).all())
    each = ", ".join(with_minus(f"{v:+.2g} ± {h:.2g}") for v, h in zip(values, halves, strict=True))
    measured = f"{each} nats per token and unit of λ, taken at ±{lam:.3g} along {len(plus)} of the directions"
    if not own_text:
        words = f"The slope of the loss at w is {measured}; on this text it need not be zero, and " + (
            "is zero within that uncertainty."
            if flat
            else "is not: w is no minimum of it. --pairs, of `landscape probe` and `radius`, cancels the slope."
        )
        return Check(SLOPE, None, words)
    words = f"On its own text the loss is flat at w: its slope is {measured}."
    if not flat:
        words = (
            f"On the model's own text the loss must be flat at w, and its slope is {measured}. Chance does that once "
            f"in {1 / FALSE_ALARM:.0f} runs; else the text was written by other weights, or in another --dtype. "
            "Use another --store, in which it is written anew."
        )
    return Check(SLOPE, flat, words)


def orthogonal(cosine: float, chance: float) -> Check:
    """The cosine of two directions against its standard deviation if their noise is independent."""
    measured, expected = f"|cos| up to {abs(cosine):.2g}", f"{SIGMAS:g} × {chance:.2g} at most"
    passed = abs(cosine) <= SIGMAS * chance
    words = f"The directions are as orthogonal as independent noise: {measured}, {expected}."
    if not passed:
        words = (
            f"The directions are not independent of each other: {measured}, where independent noise gives {expected}. "
            "Means and intervals over directions take them for independent and are wrong: do not use R."
        )
    return Check(ORTHOGONAL, passed, words)


def resolution(length: float, lost: float, lam: float, dtype: str) -> Check:
    """Whether the weights hold the smallest step.

    The length alone is right at some λ by chance: smaller steps are lost, larger ones rounded to whole spacings and
    so too long. What is rounded off must therefore be small too; independent of the step, it makes the step longer by
    half its square.

    Args:
        length: ‖fl(w + λê) − w‖/λ.
        lost: ‖fl(w + λê) − (w + λê)‖/λ.
        lam: λ.
        dtype: Of the weights.
    """
    measured = f"a step of {length:.6g} λ, {lost:.1%} of λ rounded off, at λ = {lam:.3g}"
    passed = abs(length - 1) <= RESOLVED and lost <= math.sqrt(2 * RESOLVED)
    words = f"Weights in {dtype} hold the smallest step along the directions: {measured}."
    if not passed:
        remedy = "larger --lambdas" if dtype == "float32" else "--dtype float32"  # the slope's step is always small
        words = (
            f"Weights in {dtype} are too coarse for the smallest step along the directions: {measured}. The losses "
            f"nearest to w, and the slope there, belong to other weights than they say; use {remedy}."
        )
    return Check(RESOLUTION, passed, words)


def finite_losses(kinds: Mapping[str, int], lost: Mapping[str, int]) -> Check:
    """The share of evaluations whose loss is finite.

    Args:
        kinds: How many evaluations there are of each kind of position, ``ray``, ``point`` …
        lost: How many of them are NaN or infinite.
    """
    every, bad = sum(kinds.values()), sum(lost.values())
    words = f"All {every} losses are finite."
    if bad:
        share = Counter(lost).most_common()
        where = ", ".join(f"{count} {_KINDS.get(kind, f'at {kind}')}" for kind, count in share if count)
        words = (
            f"{bad} of {every} evaluations ({bad / every:.1%}) gave no finite loss: {where}. The model's output "
            "overflowed there. Along directions such a window counts as lost, a point or a segment has no loss at all; "
            "use --dtype float32, or another model if it is that already."
        )
    return Check(FINITE, bad == 0, words)


def failed(checks: Sequence[Check]) -> list[Check]:
    """Those that failed."""
    return [check for check in checks if check.passed is False]
