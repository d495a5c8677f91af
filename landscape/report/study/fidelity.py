"""Draw KL(w ‖ point) against the rise of the NLL: where predictions change though the loss does not."""

from __future__ import annotations

import math
from collections.abc import Iterator

from landscape.formatting import nats, number, rise_text
from landscape.report import palette
from landscape.report.chart import Axis, Chart, Look, Mark, Missing, Panel, Series, rows_of, spanning
from landscape.report.study.cells import grids, method_label, method_look, quantized, surveys
from landscape.session.request import TEST_SPLIT
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult, RayProfile, SurveyResult
from quant.scheme import width_label

NAME, TITLE = "fidelity", "KL against the rise of the NLL"
CAPTION = (
    "Mean KL(w ‖ point) against ΔL = L(point) − L(w), both in nats per token on test. On the dashed diagonal they are "
    "equal, as they are in expectation if the text was sampled from w itself; above it the predictions have changed "
    "more than the loss shows. Grey lines are random directions, where they were probed by KL. Bars are 95 % intervals."
)


def fidelity(study: StudyResult) -> Chart | Missing:
    """Describe KL against ΔL: a panel for each model."""
    measured = [survey for survey in surveys(study) if any(TEST_SPLIT in p.fidelity for p in survey.points)]
    if not measured:
        return Missing(NAME, TITLE, f"KL was not measured on {TEST_SPLIT} at any point.")
    drawn = [survey for survey in measured if any(_shown(point) for point in survey.points)]
    notes = tuple(note for survey in measured for note in _notes(survey))
    if not drawn:
        return Missing(NAME, TITLE, "No point has a rise of the NLL and a KL that are both above 0 and finite.", notes)
    panels = rows_of(map(_panel, drawn), 2 if len(drawn) > 1 else 1)
    return Chart(NAME, _title(drawn), CAPTION, panels, notes)


def kl_and_rise(point: PointResult) -> tuple[float, float] | None:
    """Return ΔL and KL on test; None if KL was not measured there."""
    found = point.fidelity.get(TEST_SPLIT)
    return None if found is None or TEST_SPLIT not in point.rise else (point.rise[TEST_SPLIT].value, found.kl.value)


def _shown(point: PointResult) -> bool:
    both = kl_and_rise(point)
    return both is not None and all(0 < v < math.inf for v in both)


def _panel(survey: SurveyResult) -> Panel:
    points = [point for point in survey.points if _shown(point)]
    values = [v for point in points for v in kl_and_rise(point) or ()]
    bars = [end for point in points for kl in [point.fidelity[TEST_SPLIT].kl] for end in (kl.low, kl.high)]
    least = min(values) / 2  # an interval that reaches towards 0 has no end on a logarithmic axis
    ends = spanning([*values, *(end for end in bars if end > least)], log=True)
    rays = [line for ray in survey.rays if (line := _ray(ray, survey)) is not None]
    marks: list[Mark] = [*rays, Series("KL = ΔL", ends, ends, Look("#888888", None, "dash", width=1.2))]
    marks += [_point(point, survey) for point in points]
    axes = (
        Axis("ΔL on test (nats per token)", log=True, range=ends),
        Axis("KL(w ‖ point) (nats per token)", log=True, range=ends),
    )
    return Panel(survey.subject.model, *axes, tuple(marks), square=True)


def _point(point: PointResult, survey: SurveyResult) -> Series:
    both, found = kl_and_rise(point), point.fidelity[TEST_SPLIT]
    assert both is not None  # it is shown
    several = f" {point.grid}" if point.grid and len(grids(survey)) > 1 else ""
    variant = grids(survey).index(point.grid) if point.grid is not None else 0
    hover = (
        f"{survey.subject.model}: {point.name}\nKL {nats(both[1])} [{nats(found.kl.low)}, {nats(found.kl.high)}]\n"
        f"ΔL {rise_text(point.rise[TEST_SPLIT])}\nsame first choice: {found.agreement.value:.1%} of the tokens"
    )
    low = found.kl.low if found.kl.low > 0 else math.nan
    look = method_look(point.method, variant, dash=None, size=10.0)
    label = () if point.bits is None else (width_label(point.bits, point.grid),)
    return Series(
        method_label(point.method) + several, (both[0],), (both[1],), look, (hover,), (low,), (found.kl.high,), label,
        palette.mark(point.method).text,  # type: ignore[arg-type]
    )  # fmt: skip


def _ray(ray: RayProfile, survey: SurveyResult) -> Series | None:
    """Return the values along a ray with both above 0, on the split that has both."""
    split = next((name for name in (TEST_SPLIT, survey.split) if name in ray.kl and name in ray.nll), None)
    if split is None:
        return None
    rises = [float(nll) - survey.center[split] for nll in ray.nll[split]]
    kept = [(r, float(k)) for r, k in zip(rises, ray.kl[split], strict=True) if 0 < r < math.inf and 0 < k < math.inf]
    if not kept:
        return None
    x, y = zip(*kept, strict=True)
    hover = tuple(f"direction {ray.index} on {split}\nKL {nats(k)}, ΔL {nats(r, True)}" for r, k in kept)
    return Series("random directions", x, y, Look(palette.RAY, None, "solid", width=0.9), hover)


def _title(drawn: list[SurveyResult]) -> str:
    """Count the quantized points whose loss rose and whose KL lies above the rise, interval above interval."""
    risen = [(s, p, both) for s in drawn for p in quantized(s) if (both := kl_and_rise(p)) is not None and both[0] > 0]
    if not risen:
        return "KL of the predictions where the loss did not rise"
    above = [each for each in risen if _surely_above(each[1])]
    said = f"Predictions change more than the loss at {len(above)} of {len(risen)} quantized points whose loss rose"
    if not above:
        return f"{said}, by intervals that do not overlap"
    survey, point, (rise, kl) = max(above, key=lambda each: each[2][1] / each[2][0])
    return f"{said}, most at {point.name} of {survey.subject.model}: KL is {number(kl / rise, 2)} times ΔL"


def _surely_above(point: PointResult) -> bool:
    """Return whether the interval of KL lies above that of ΔL."""
    return point.fidelity[TEST_SPLIT].kl.low > point.rise[TEST_SPLIT].high


def _notes(survey: SurveyResult) -> Iterator[str]:
    """Name the points that a logarithmic axis has no place for, with their KL."""
    hidden = [
        (point, both) for point in survey.points if (both := kl_and_rise(point)) is not None and not _shown(point)
    ]
    if hidden:
        each = ", ".join(f"{point.name} (ΔL {nats(rise, True)}, KL {nats(kl)})" for point, (rise, kl) in hidden)
        why = "since ΔL or KL is not above 0 or not finite"
        yield f"Not on the logarithmic axes of {survey.subject.model}, {why}: {each}."
    if any(ray.kl for ray in survey.rays) and not any(TEST_SPLIT in ray.kl for ray in survey.rays):
        yield f"The random directions of {survey.subject.model} are those of the {survey.split} split."
