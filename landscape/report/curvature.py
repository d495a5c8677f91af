"""Report the curvature at w: as lines for the terminal and as JSON."""

from __future__ import annotations

from typing import Any

from landscape.curvature.anharmonicity import CurvatureResult, Quadratic
from landscape.estimators.intervals import Estimate
from landscape.formatting import crossing_text, duration, windows_text
from landscape.report.radius import radius_json, search_line
from landscape.report.values import JSON_VERSION, estimate_json, finite_or_none


def curvature_json(curved: CurvatureResult) -> dict[str, Any]:
    """Return the JSON object of ``landscape curvature``.

    ``{schema_version, radius: the object of landscape radius, products, pairs, lambdas, center, top: {value, residual,
    products}, seconds}``. Each of ``products`` and ``pairs`` is ``{trace: {value, low, high, standard_error, df,
    directions, windows, articles}, quadratic_radius: {value, low, high}, index: {value, low, high}}``, the last two
    null if the trace is not positive; articles as in ``landscape probe``. ``top`` is null if it was not asked for.
    ``evaluated``, ``cached``, ``tokens`` and ``health`` of the radius count all the work.
    """
    top = curved.top
    return {
        "schema_version": JSON_VERSION,
        "radius": radius_json(curved.radius),
        "products": _quadratic(curved.products),
        "pairs": _quadratic(curved.pairs),
        "lambdas": list(curved.lambdas),
        "center": curved.center_nll,
        "top": None if top is None else {"value": top.value, "residual": top.residual, "products": top.products},
        "seconds": round(curved.radius.run.seconds, 3),
    }


def _quadratic(way: Quadratic) -> dict[str, Any]:
    trace = way.trace
    error = {"standard_error": finite_or_none(trace.error.value), "df": trace.error.df}
    design = {"directions": trace.directions, "windows": trace.windows, "articles": trace.articles}
    return {
        "trace": estimate_json(trace.estimate) | error | design,
        "quadratic_radius": estimate_json(way.radius),
        "index": estimate_json(way.index),
    }


def curvature_lines(curved: CurvatureResult) -> list[str]:
    """Report Tr H by both methods, the quadratic radius, the index and the top eigenvalue."""
    measured, lambdas = curved.radius, " and ".join(f"{lam:.3g}" for lam in curved.lambdas)
    last = measured.search.rounds[-1]
    trace = curved.products.trace
    lines = [
        search_line(measured),
        f"R = {crossing_text(measured.search.radius, last.directions, last.windows, articles=last.articles)}",
        f"curvature on {trace.directions} directions × {windows_text(trace.windows, trace.articles)}, "
        f"L(w) = {curved.center_nll:.4f} there",
        *_quadratic_lines("by Hessian products", curved.products),
        *_quadratic_lines(f"by losses at ±λ, λ = {lambdas}", curved.pairs),
    ]
    if curved.top is not None:
        top, mean = curved.top, trace.estimate.value / measured.subject.dimension
        lines.append(
            f"λ_max = {top.value:.4g} (residual {top.residual:.1g}, {top.products} products), "
            f"{top.value / mean:,.0f} times the mean eigenvalue Tr H/D = {mean:.3g}"
        )
    lines.append(
        f"{measured.run.probes.evaluated} windows evaluated, {curved.products_taken} products of a window's Hessian, "
        f"in {duration(measured.run.seconds)}"
    )
    lines.append(f"cache  {measured.run.store}")
    return lines


def _quadratic_lines(name: str, way: Quadratic) -> list[str]:
    trace = way.trace
    line = f"{name}: Tr H = {trace.estimate.value:.4g} ± {trace.error.value:.2g} (standard error)"
    if way.radius is None or way.index is None:
        return [f"{line}: not positive, so no quadratic radius"]
    return [line, f"  R_quadratic = {_interval(way.radius)}, R/R_quadratic = {_interval(way.index)}"]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
