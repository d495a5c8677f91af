"""Test the claims about losses along random directions and along Δw: 1, 2 and 4 (Xu et al. 2024, §4.3).

Statistics and thresholds were written down before any of them was measured; the reason stands beside each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from landscape.claims.claim import SOURCE, Claim, Observations, Threshold
from landscape.estimators.crossing import LOST, relative_radii
from landscape.estimators.direction_spread import direction_spread
from landscape.estimators.intervals import Estimate
from landscape.estimators.other_radii import curvature_cells
from landscape.estimators.radial_losses import RadialProbes, excess, saturation
from landscape.survey.result import PointResult
from quant.scheme import grid_label

Array = NDArray[np.float64]

ALIKE = Threshold(high=0.10)
QUADRATIC = Threshold(1.5, 2.5)
PARABOLA = Threshold(0.8, 1.25, inside=False)
PLATEAU = Threshold(high=0.5)
LESS_STEEP = Threshold(low=0.0)


def alike(observed: Observations) -> Iterator[Claim]:
    """Test claim 1: the profiles of single directions are rather similar.

    The statistic is the coefficient of variation over directions of the radius at which a direction crosses u = 0.1
    and u = ½, without the part that windows add (``direction_spread``). Threshold 10 %: 95 of 100 directions then cross
    within a fifth of the mean radius. One bit moves ‖Δw‖ by a factor of two, so that any direction shows the location
    of a point as well as another. The paper shows its bundle of lines and gives no number.
    """
    for level, case in ((0.1, "at r10"), (LOST, "at R")):
        cells = relative_radii(observed.radial, level)
        spread = None if cells is None else direction_spread(cells, observed.radial.tokens, observed.radial.blocks)
        yield Claim(
            number=1,
            case=case,
            text="loss profiles along random directions are rather similar to each other",
            source=f"{SOURCE} (second paragraph), Figure 3, gray lines",
            measure="standard deviation over directions of the radius / its mean",
            estimate=spread,
            threshold=str(ALIKE),
            verdict=ALIKE.verdict(spread),
            note=f"{len(observed.radial.totals)} directions" if spread else "never crossed, or a single direction",
        )


def quadratic(observed: Observations) -> Iterator[Claim]:
    """Test claim 2: quadratic near w; beyond, off the parabola, and a plateau at a high level.

    Near: the exponent p of ``ΔL ∝ λ^p``, the slope of the logarithms of the mean rise over the probes up to r10 (the
    first two at least). Threshold [1.5, 2.5]: the nearest integer is two. A quartic term of the size of a Gaussian
    well's lowers it by 0.1. No basin is exactly a parabola, so that "2 is in the interval" would fail with enough
    windows.

    Beyond: the mean rise over that of the parabola that fits near w (``landscape.estimators.other_radii``), at the
    probe nearest 1.5 R. Threshold: outside [0.8, 1.25]. An error of a quarter in the loss is one of an eighth in the
    radius, more than the directions of claim 1 may differ.

    Plateau: the exponent p between the probes nearest 2 R and 3 R. Threshold 0.5: nearest to a constant.
    """
    text = "near w the landscape looks quadratic; beyond, it quickly leaves the parabola and plateaus at a high level"
    for case, measure, threshold, (estimate, note) in (
        ("up to r10", "exponent p of ΔL ∝ λ^p", QUADRATIC, _near(observed)),
        ("at 1.5 R", "ΔL / that of the parabola fitted near w", PARABOLA, _beyond(observed)),
        ("2 R to 3 R", "exponent p of ΔL ∝ λ^p", PLATEAU, _plateau(observed)),
    ):
        source = f"{SOURCE} (second paragraph), Figure 3, gray lines"
        verdict = threshold.verdict(estimate)
        yield Claim(2, case, text, source, measure, estimate, str(threshold), verdict, note)


def less_steep(observed: Observations) -> Iterator[Claim]:
    """Test claim 4: the direction from w to w_GPTQ rises less steeply than typical ones.

    The statistic is the mean ΔL of random directions less that along Δw_GPTQ, on the same windows and at the same
    distances, averaged over the interior positions of the segment that lie within R. Random directions are a sample,
    Δw_GPTQ is one given direction. Threshold 0. Where random directions were not probed at just that distance, each
    direction's and window's own loss is interpolated there, monotonely in λ². Beyond R all are on the plateau, where
    according to the paper the initial rise "no longer mattered"; the point itself is reported aside, and so is how much
    farther out it lies than RTN.
    """
    for point in of_method(observed, "gptq"):
        if point.name not in observed.along:  # it is w itself, and no direction leads to it
            continue
        yield from _steepness(observed, point)
        yield _farther(observed, point)


def of_method(observed: Observations, method: str) -> list[PointResult]:
    """List the points of a method."""
    return [point for point in observed.landscape.points if point.method == method]


def case_of(point: PointResult) -> str:
    """Name the grid of a point: ``int4-exact``."""
    return grid_label(point.bits, point.grid)


def rtn_of(observed: Observations, point: PointResult) -> PointResult | None:
    """Find the RTN point of the same grid; None if there is none."""
    same = (rtn for rtn in of_method(observed, "rtn") if (rtn.bits, rtn.grid) == (point.bits, point.grid))
    return next(same, None)


def no_ratio(rtn: PointResult | None) -> str:
    """Say why there is no ratio to the distance of RTN."""
    return "no RTN point of this grid" if rtn is None else "RTN leaves w where it is: its distance is 0"


# ---- claim 2 ----------------------------------------------------------------------------------------------------


def _near(observed: Observations) -> tuple[Estimate | None, str]:
    radial, edge = observed.radial, observed.landscape.basin.r10.value
    count = len(radial.lambdas) if edge is None else int((radial.lambdas <= edge).sum())
    return _exponent(radial, np.arange(max(2, count)))


def _plateau(observed: Observations) -> tuple[Estimate | None, str]:
    radial, radius = observed.radial, observed.landscape.basin.radius.value
    if radius is None:
        return None, "R is censored"
    near, far = (_nearest(radial, multiple * radius) for multiple in (2, 3))
    if near == far or radial.lambdas[near] <= radius:
        return None, f"the probes end at {radial.lambdas[-1] / radius:.2g} R"
    estimate, note = _exponent(radial, np.array([near, far]))
    nll = radial.center_nll + float(excess(radial, radial.center)[:, 1 + far].mean())
    u = saturation(nll, radial.center_nll, radial.chance)
    return estimate, f"{note}; u = {u:.2f} at the outer one"


def _beyond(observed: Observations) -> tuple[Estimate | None, str]:
    radial, radius = observed.radial, observed.landscape.basin.radius.value
    curvature = curvature_cells(radial)
    if radius is None or curvature is None or curvature.mean() <= 0:
        return None, "R is censored, or no parabola fits near w"
    at = _nearest(radial, 1.5 * radius)
    rise = excess(radial, radial.center)[:, 1 + at]
    value = float(rise.mean() / (curvature.mean() * radial.lambdas[at] ** 2 / 2))
    error = radial.error(rise / rise.mean() - curvature / curvature.mean())  # of ln value, linearised
    return _on_log_scale(value, error.half_width()), f"at {radial.lambdas[at] / radius:.2f} R"


def _exponent(radial: RadialProbes, which: NDArray[np.int64]) -> tuple[Estimate | None, str]:
    """Estimate the slope of ln ΔL̄ on ln λ over some probes; linear in the cells to first order, hence its interval."""
    which = which[which < len(radial.lambdas)]
    rise = excess(radial, radial.center)[:, 1 + which]  # (n_d, k, n_w)
    mean = rise.mean((0, 2))
    if len(which) < 2 or not (mean > 0).all():
        return None, "fewer than two probes there, or the loss does not rise"
    x = np.log(radial.lambdas[which])
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    value = float(weights @ np.log(mean))
    estimate = radial.error(np.einsum("k,dkw->dw", weights / mean, rise)).interval(value)
    return estimate, f"{len(which)} probes"


def _nearest(radial: RadialProbes, distance: float) -> int:
    return int(np.abs(np.log(radial.lambdas / distance)).argmin())


def _on_log_scale(value: float, half: float) -> Estimate | None:
    if not value > 0:
        return None
    with np.errstate(over="ignore"):
        stretch = float(np.exp(half))
    return Estimate(value, value / stretch, value * stretch)


# ---- claim 4 ----------------------------------------------------------------------------------------------------


def _steepness(observed: Observations, point: PointResult) -> Iterator[Claim]:
    along, radius = observed.along[point.name], observed.landscape.basin.radius.value
    positions = np.arange(len(along.lambdas))
    interior = positions[:-1][along.lambdas[:-1] <= (np.inf if radius is None else radius)]
    for which, case, aside in ((interior, "on the way", False), (positions[-1:], "at the point", True)):
        estimate, note = _below_random(observed.radial, along, which)
        yield Claim(
            number=4,
            case=f"{case_of(point)}, {case}",
            text="the direction from w to w_GPTQ is much less steep than any typical direction",
            source=f"{SOURCE} (second item), Figure 3, red segments",
            measure="mean ΔL of random directions − ΔL along Δw_GPTQ, same distances, nats per token",
            estimate=estimate,
            threshold=str(LESS_STEEP),
            verdict=LESS_STEEP.verdict(estimate),
            note=note,
            aside=aside,
        )


def _below_random(radial: RadialProbes, along: RadialProbes, which: NDArray[np.int64]) -> tuple[Estimate | None, str]:
    """Estimate how far the loss along one direction is below random ones, on average over some of its positions."""
    if not len(which):
        return None, "no position of the segment before the point lies within R"
    square = np.concatenate([[0.0], radial.lambdas]) ** 2
    curve = PchipInterpolator(square, excess(radial, radial.center), axis=1)
    random = np.asarray(curve(along.lambdas[which] ** 2)).mean(1)  # (n_d, n_w)
    own = excess(along, along.center)[0, 1 + which].mean(0)  # (n_w,)
    value = float(random.mean() - own.mean())
    steeper = int((random.mean(1) > own.mean()).sum())
    note = (
        f"ΔL {own.mean():.3g} against {random.mean():.3g}; steeper than GPTQ's: {steeper} of {len(random)} directions; "
        f"{len(which)} position{'s' if len(which) > 1 else ''}"
    )
    return radial.error(random - own).interval(value), note


def _farther(observed: Observations, point: PointResult) -> Claim:
    rtn = rtn_of(observed, point)
    ratio = None if rtn is None or not rtn.distance else point.distance / rtn.distance
    estimate = None if ratio is None else Estimate(ratio, ratio, ratio)
    threshold = Threshold(low=1.01)
    return Claim(
        number=4,
        case=f"{case_of(point)}, distance",
        text="w_GPTQ is significantly more distant from w than w_RTN",
        source=f"{SOURCE} (second item), Figure 3, red circles",
        measure="‖Δw_GPTQ‖ / ‖Δw_RTN‖; no sampling error",
        estimate=estimate,
        threshold=str(threshold),
        verdict=threshold.verdict(estimate),
        note="" if estimate else no_ratio(rtn),
        aside=True,
    )
