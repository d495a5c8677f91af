"""Draw landscapes on which each claim holds, or fails, by a known number."""

import numpy as np

from landscape.claims.claim import Observations
from landscape.estimators.basin import estimate_basin
from landscape.estimators.connectivity import connectivity
from landscape.estimators.intervals import paired_difference
from landscape.estimators.location import location, ratio
from landscape.estimators.other_radii import other_radii
from landscape.estimators.radial_losses import RadialProbes
from landscape.session.run_record import ProbeCount, RunRecord, SubjectInfo
from landscape.survey.result import PointResult, SegmentResult, SurveyResult
from quant.coverage import Coverage

BASE, CHANCE = 2.0, 6.0
GRID = np.array([*np.arange(1, 9) * 0.1875, 2.0, 3.0])  # of a quick survey, in units of R
ALPHAS = np.linspace(0, 1, 6)
WINDOWS = 8
TOKENS = np.full(WINDOWS, 100)


def well(x):
    """Return u of a Gaussian well of radius 1."""
    return 1 - np.exp2(-(np.asarray(x, float) ** 2))


def sums(u, rng, noise=0.0, tilt=0.0):
    """Draw NLL sums, (…, n_w): windows have levels of their own, and rise 1 % more or less steeply.

    ``noise`` is each position's own, ``tilt`` a slope of each window, both as a share of the way to chance.
    """
    u = np.asarray(u)[..., None]
    steep, level = np.linspace(0.99, 1.01, WINDOWS), np.linspace(-0.5, 0.5, WINDOWS)
    rough = noise * rng.standard_normal((*u.shape[:-1], WINDOWS)) * (u > 0)
    if tilt:
        rough += tilt * rng.standard_normal(WINDOWS) * np.linspace(0, 1, len(u))[:, None]
    return TOKENS * (BASE + level + (CHANCE - BASE) * (u * steep + rough))


def observed(profiles=(well,) * 4, points=(), noise=0.0, tilt=0.0, test=None, seed=0):
    """Make a landscape of these profiles; points are (method, bits, ‖Δw‖/R, u along Δw by distance)."""
    rng = np.random.default_rng(seed)
    center = sums(0.0, rng)
    radial = RadialProbes(GRID, np.array([sums(f(GRID), rng, noise) for f in profiles]), TOKENS, center, CHANCE)
    basin = estimate_basin(radial)
    found, segments, along = [], [], {}
    for method, bits, away, u in points:
        name = f"{method}-int{bits}-exact"
        totals = sums(u(ALPHAS * away), rng, noise, tilt)
        nll = totals[-1].sum() / TOKENS.sum()
        rise = paired_difference(totals[-1], center, TOKENS)
        place = location(away, basin)
        found.append(
            PointResult(name, method, bits, "exact", away, ratio(away, basin.radius), {"validation": nll},
                        {"validation": rise}, place, "lost")
        )  # fmt: skip
        segments.append(
            SegmentResult("w", name, bits, "validation", ALPHAS, ALPHAS * away, totals.sum(1) / TOKENS.sum(),
                          connectivity(ALPHAS, totals, TOKENS))
        )  # fmt: skip
        along[name] = RadialProbes(ALPHAS[1:] * away, totals[None, 1:], TOKENS, center, CHANCE, fixed=True)
    radii = {"validation": other_radii(radial, 4.0)}
    landscape = SurveyResult(
        SubjectInfo("m", "f", "float32", 10, Coverage(10, 10, ()), 5.0, CHANCE, "d", 101, {"validation": WINDOWS}),
        {"validation": BASE},
        {"validation": basin}, radii, "validation", (), tuple(found), tuple(segments),
        RunRecord(ProbeCount(0, 0, 0), 0.0, "", {}, ()),
    )  # fmt: skip
    at_end = {name: probes.totals[0, -1] for name, probes in along.items()}
    return Observations(landscape, radial, along, {**at_end, **(test or {})}, TOKENS)


def verdicts(found):
    return {claim.case: claim.verdict for claim in found}


def stretched(factor):
    """Return u of a Gaussian well of radius ``factor``, as a function of the distance."""
    return lambda x: well(np.asarray(x) / factor)
