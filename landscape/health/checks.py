"""Judge the checks that follow every run, and put them in plain words.

A wrong number looks like any other. The checks look for errors that would pass unseen: the model was not put back at w,
its output is random or overflows, its text is not the one assumed, directions are not independent, or steps are too
small for the precision of the weights. ``landscape.health.self_checks`` takes the measurements.
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
"""Largest cosine of two directions in standard deviations; random signs exceed it with p ≤ 2·exp(−5²/2), 7e-6."""
RESOLVED = 1e-4
"""Largest accepted deviation of ‖fl(w + λê) − w‖ from λ, relative to λ."""
FALSE_ALARM = 0.01
"""Probability that chance alone fails the check of the slope."""
CACHED = "Nothing was evaluated in this run, so there was nothing to check: every loss came from the cache."
"""Reason why a check that calls the model was not made."""
_KINDS = {
    "w": "at w",
    "ray": "along random directions",
    "segment": "on segments",
    "plane": "on planes",
    "point": "at points",
    "parts": "with parts of a Δw",
}


def unchecked(name: str, why: str) -> Check:
    """Return a check that was not made, with the reason."""
    return Check(name, None, why)


def reproduced(first: float, again: float, others: Sequence[str] = ()) -> Check:
    """Compare L(w) at the end of a run with L(w) at its beginning, on one window.

    Args:
        first: The NLL sum that the run used.
        again: The NLL sum of the model after all work.
        others: If the first came from the cache, the provenances in it that differ from that of this run.
    """
    measured = f"an NLL sum of {again!r} on one window, at first {first!r}"
    if again.hex() == first.hex():
        words = "After all work the model gives the same L(w) to the bit: the weights were restored exactly."
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
    """Compare the NLL sums of one window, evaluated twice in a row."""
    measured = f"NLL sums of {one!r} and {two!r} on the same window"
    words = "The same window twice in a row gives the same loss to the bit."
    if one.hex() != two.hex():
        words = (
            f"The same window twice in a row gives {measured}: the model draws random numbers (a dropout that eval() "
            "does not turn off?), or sums in a varying order. No difference as small as this one means anything; "
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
    """Check that w is a minimum along some directions: ``(L(λ) − L(−λ))/2λ`` is zero within its interval.

    On text that the model wrote itself the expected slope is zero along *every* direction, so each is judged alone, and
    the windows are the only source of uncertainty. The mean over random directions would show nothing: it is zero on
    any text, since −ê is as likely as ê.

    Args:
        plus: (n_d, n_w) NLL sums at w + λê.
        minus: (n_d, n_w) NLL sums at w − λê.
        tokens: (n_w,) scored tokens.
        lam: λ.
        own_text: Whether the model wrote the windows; on other text the slope is reported and not judged.
        blocks: (n_w,) labels; windows that share one, such as those of one article, are not independent. None if all
            are independent.
    """
    if not (np.isfinite(plus).all() and np.isfinite(minus).all()):
        words = f"The model's output overflowed at λ = {lam:.3g}, so there is no slope at w; use a wider --dtype."
        return Check(SLOPE, False if own_text else None, words)
    values = (plus - minus).sum(1) / tokens.sum() / (2 * lam)
    errors = [paired_error(p, m, tokens, blocks) for p, m in zip(plus, minus, strict=True)]
    halves = np.array([error.half_width(1 - FALSE_ALARM / len(plus)) for error in errors]) / (2 * lam)
    if not np.isfinite(halves).all():
        return Check(SLOPE, None, "A single window, or article, does not show how uncertain the slope at w is.")
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
            f"On the model's own text the loss must be flat at w, and its slope is {measured}. This "
            f"happens by chance in 1 of {1 / FALSE_ALARM:.0f} runs; else the text was written by other weights, or in "
            "another --dtype. Use another --store, in which it is written again."
        )
    return Check(SLOPE, flat, words)


def orthogonal(cosine: float, chance: float) -> Check:
    """Compare the cosine of two directions with its standard deviation for independent noise."""
    measured, expected = f"|cos| up to {abs(cosine):.2g}", f"{SIGMAS:g} × {chance:.2g} at most"
    passed = abs(cosine) <= SIGMAS * chance
    words = f"The directions are as orthogonal as independent noise: {measured}, {expected}."
    if not passed:
        words = (
            f"The directions are not independent of each other: {measured}, where independent noise gives {expected}. "
            "Means and intervals over directions treat them as independent and are wrong: do not use R."
        )
    return Check(ORTHOGONAL, passed, words)


def resolution(length: float, lost: float, lam: float, dtype: str) -> Check:
    """Check that the dtype of the weights resolves the smallest step.

    The length alone can be right by chance: at small λ steps are lost, at larger λ they are rounded to whole spacings
    and so too long. The part rounded off must therefore be small too; if independent of the step, it makes the step
    longer by half its square.

    Args:
        length: ‖fl(w + λê) − w‖/λ.
        lost: ‖fl(w + λê) − (w + λê)‖/λ.
        lam: λ.
        dtype: Dtype of the weights.
    """
    measured = f"a step of {length:.6g} λ, {lost:.1%} of λ rounded off, at λ = {lam:.3g}"
    passed = abs(length - 1) <= RESOLVED and lost <= math.sqrt(2 * RESOLVED)
    words = f"Weights in {dtype} hold the smallest step along the directions: {measured}."
    if not passed:
        # A coarser dtype also loses the step of the slope at w, which --lambdas does not set.
        remedy = "larger --lambdas" if dtype == "float32" else "--dtype float32"
        words = (
            f"Weights in {dtype} are too coarse for the smallest step along the directions: {measured}. The losses "
            f"nearest to w, and the slope there, belong to other weights than stated; use {remedy}."
        )
    return Check(RESOLUTION, passed, words)


def finite_losses(kinds: Mapping[str, int], lost: Mapping[str, int]) -> Check:
    """Check that the losses of all evaluations are finite.

    Args:
        kinds: Number of evaluations for each kind of position, ``ray``, ``point`` …
        lost: Number of these that are NaN or infinite.
    """
    total, bad = sum(kinds.values()), sum(lost.values())
    words = f"All {total} losses are finite."
    if bad:
        counts = Counter(lost).most_common()
        where = ", ".join(f"{count} {_KINDS.get(kind, f'at {kind}')}" for kind, count in counts if count)
        words = (
            f"{bad} of {total} evaluations ({bad / total:.1%}) gave no finite loss: {where}. The model's output "
            "overflowed there. Along directions such a window counts as lost, a point or a segment has no loss at all; "
            "use --dtype float32, or another model if it is that already."
        )
    return Check(FINITE, bad == 0, words)


def failed(checks: Sequence[Check]) -> list[Check]:
    """Return the checks that failed."""
    return [check for check in checks if check.passed is False]
