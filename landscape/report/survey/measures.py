"""Set perplexity, size and fidelity of the points in a table: the numbers that people compare quantized models by."""

from __future__ import annotations

import math

from landscape.estimators.intervals import CONFIDENCE
from landscape.estimators.perplexity import perplexity, perplexity_change
from landscape.formatting import distance_text, height_text, nats, number, relative_change_text
from landscape.report.table import Table
from landscape.survey.result import FidelityResult, PointResult, SurveyResult
from quant.size import ModelSize

NONE = "–"


def measure_table(landscape: SurveyResult) -> Table:
    """Return one row for w, and one for each point."""
    splits = list(landscape.center)
    header = (
        "point", "bits per weight", "bits per parameter", "GB",
        *(f"perplexity {s}" for s in splits), *(f"change {s}" for s in splits),
        *(f"KL(w ‖ point) {s}" for s in splits), *(f"agreement {s}" for s in splits),
    )  # fmt: skip
    w = (
        "w", *_sizes(landscape.center_size), *(number(perplexity(landscape.center[s]), 4) for s in splits),
        *[NONE] * (3 * len(splits)),
    )  # fmt: skip

    def row(p: PointResult) -> tuple[str, ...]:
        found = [p.fidelity.get(s) for s in splits]
        return (
            p.name, *_sizes(p.size), *(number(perplexity(p.nll[s]), 4) for s in splits),
            *(relative_change_text(perplexity_change(p.rise[s])) for s in splits),
            *(NONE if f is None else height_text(f.kl) for f in found),
            *(NONE if f is None else agreement_text(f) for f in found),
        )  # fmt: skip

    rows = tuple(map(row, landscape.points))
    caption = (
        "Perplexity, size and fidelity. Perplexity is exp(NLL), of tokens; its change is against w. Bits per weight "
        "count codes, scales of 16 bits and zeros of the quantized matrices; bits per parameter and GB the whole "
        "model, whose other weights take 16. KL(w ‖ point) is the mean divergence of the predictions from those of w, "
        "in nats per token; agreement how often the most probable token is the same. Brackets are "
        f"{CONFIDENCE:.0%} intervals over paired windows, or the articles of these."
    )
    return Table(caption, header, (w, *rows) if rows else (), frozenset({0}), wide=True)


def kl_radius_table(landscape: SurveyResult) -> Table:
    """Return R_kl beside R, one row per split; none unless rays were probed by KL."""

    def row(split: str) -> tuple[str, ...]:
        found, basin = landscape.kl_radii[split], landscape.basins[split]
        return (split, distance_text(found.radius, basin), distance_text(basin.radius, basin), nats(found.reference))

    caption = (
        "The radius by KL. R_kl is where the mean KL(w ‖ position) over the random directions reaches half of "
        "C − H(w), the divergence of a uniform guess from w, with the mean entropy H of the predictions at w. The text "
        f"enters only as the tokens before each prediction. Brackets are {CONFIDENCE:.0%} intervals over directions "
        "and windows."
    )
    return Table(caption, ("split", "R_kl", "R", "C − H(w)"), tuple(map(row, landscape.kl_radii)), frozenset({0}))


def agreement_text(found: FidelityResult) -> str:
    """Write a share of the tokens with its interval: ``97.1 % [96.8, 97.4]``."""
    share = found.agreement
    bounded = math.isfinite(share.high)
    ends = f"[{100 * share.low:.1f}, {100 * share.high:.1f}]" if bounded else "(not bounded by one window or article)"
    return f"{100 * share.value:.1f} % {ends}"


def _sizes(size: ModelSize | None) -> tuple[str, ...]:
    if size is None:
        return NONE, NONE, NONE
    return f"{size.space_bits:.3f}", f"{size.model_bits:.3f}", number(size.gigabytes, 4)
