"""Draw misalignment M against ρ and ρ_Δ, with the rank correlation: does the radius predict where GPTQ fails?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from landscape.estimators.intervals import Estimate
from landscape.estimators.rank_correlation import LEAST, RankCorrelation, matched_rank_correlation, rank_correlation
from landscape.formatting import number, plural, rise_text
from landscape.report.chart import Axis, Chart, Level, Look, Mark, Missing, Panel, Series, spanning
from landscape.report.palette import INK
from landscape.report.study.cells import bit_look, cells, p_text, surveys
from landscape.report.study.ratios import rho, rho_along
from landscape.session.request import TEST_SPLIT
from landscape.study.result import StudyResult
from landscape.survey.result import Misalignment, PointResult, SurveyResult
from quant.scheme import grid_label, width_label

NAME, TITLE = "misalignment", "Misalignment against the distance of RTN"
CAPTION = (
    "M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)] on test: the loss that GPTQ leaves and training removes, net of plain "
    "fine-tuning; each mark is one grid, bars are 95 % intervals over paired windows. Left against ρ, right against "
    "ρ_Δ of RTN on the same grid. r_s is Spearman’s rank correlation over all grids, which the bit width alone can "
    "bring about: fewer bits raise both. p is therefore that of models on the same grid, each dealt as a whole; it "
    "needs four models, and a ratio of every grid."
)


@dataclass(frozen=True)
class Place:
    """M of one grid beside ρ and ρ_Δ of its RTN."""

    model: str
    grid: str
    bits: int
    m: Estimate
    rho: float | None
    rho_along: float | None
    """None without R along Δw, or if it is censored: a bound has no rank."""

    @property
    def short(self) -> str:
        """``int4``, or the name of a float format."""
        return width_label(self.bits, self.grid)


def places(study: StudyResult) -> list[Place]:
    """Return M of all grids of all models whose value on test is finite."""
    return [place for survey in surveys(study) for place in _of_model(survey)]


def misalignment(study: StudyResult) -> Chart | Missing:
    """Describe M against ρ and against ρ_Δ."""
    found = places(study)
    if not found:
        return Missing(
            NAME,
            TITLE,
            "M needs GPTQ, QAFT and the control w_FT on one grid with finite test losses; no grid has them.",
        )
    drawn = [symbol for symbol in ("ρ", "ρ_Δ") if _with(found, symbol)]
    if not drawn:
        return Missing(NAME, TITLE, "No grid with M has a radius to divide by.")
    panels = tuple(_panel(symbol, found) for symbol in drawn)
    notes = list(_notes(study, found))
    return Chart(NAME, _title(found, drawn[0]), CAPTION, (panels,), tuple(notes))


@dataclass(frozen=True)
class Relation:
    """The rank correlation of M with a ratio over all grids, and its test."""

    value: float
    """Spearman's r_s over all grids that have both."""
    pairs: int
    """Number of grids."""
    tested: RankCorrelation | None
    """Correlation of whole models within the grids that all of them have; None if it cannot be tested."""
    untested: str
    """Why it was not tested; empty if it was."""

    @property
    def words(self) -> str:
        """The numbers in words."""
        said = f"r_s = {number(self.value, 2)}, n = {self.pairs}"
        if self.tested is None:
            return f"{said}, not tested"
        return f"{said}; within bit widths r_s = {number(self.tested.value, 2)}, {p_text(self.tested.p)}"


def correlation(found: Sequence[Place], symbol: str) -> Relation | None:
    """Return the rank correlation of M with ρ or ρ_Δ; None with fewer than four grids that have both."""
    kept = _with(found, symbol)
    every = rank_correlation([x for x, _ in kept], [place.m.value for _, place in kept])
    if every is None:
        return None
    if len(kept) < len(found):
        why = f"{symbol} is missing or only bounded at {plural(len(found) - len(kept), 'grid')}"
        return Relation(every.value, every.pairs, None, why)
    tested = _between_models(kept)
    why = "" if tested else f"the bit width orders both, and a test needs the same grids of {LEAST} models"
    return Relation(every.value, every.pairs, tested, why)


def _between_models(kept: Sequence[tuple[float, Place]]) -> RankCorrelation | None:
    """Test whole models against each other on the grids that all of them have."""
    table = {(place.model, place.grid): (x, place.m.value) for x, place in kept}
    models, grids = ({*names} for names in zip(*table, strict=True))
    shared = [grid for grid in sorted(grids) if all((model, grid) in table for model in models)]
    if not shared:
        return None
    x, m = ([[table[model, grid][i] for grid in shared] for model in sorted(models)] for i in (0, 1))
    return matched_rank_correlation(x, m)


def _of_model(survey: SurveyResult) -> Iterator[Place]:
    for each in survey.misalignments:
        m = each.net.get(TEST_SPLIT)
        rtn = _rtn(survey, each)
        if m is None or rtn is None or not math.isfinite(m.value):
            continue
        distance, along = rho(rtn), rho_along(rtn)
        yield Place(
            survey.subject.model, each.grid, rtn.bits or 0, m, distance.value if distance else None,
            along.value if along and not along.bound else None,
        )  # fmt: skip


def _rtn(survey: SurveyResult, each: Misalignment) -> PointResult | None:
    """Return the RTN point of a grid named like ``int2-exact``."""
    return next((c.get("rtn") for c in cells(survey) if grid_label(c.bits, c.grid) == each.grid), None)


def _with(found: Sequence[Place], symbol: str) -> list[tuple[float, Place]]:
    values = [(place.rho if symbol == "ρ" else place.rho_along, place) for place in found]
    return [(value, place) for value, place in values if value is not None and value > 0]


def _panel(symbol: str, found: Sequence[Place]) -> Panel:
    kept = _with(found, symbol)
    models = list(dict.fromkeys(place.model for _, place in kept))
    shapes = ("circle", "square", "diamond", "triangle-up", "pentagon", "hexagon", "star", "cross")
    marks: list[Mark] = [
        Level("y", 0.0, "", Look("#888888", None, "solid", width=0.8), legend=False),
        Level("x", 1.0, "‖Δw‖ = R", Look(INK, None, "dash", width=1.2)),
    ]
    for i, model in enumerate(models):
        own = sorted((each for each in kept if each[1].model == model), key=lambda each: each[0])
        for x, place in own:
            look = bit_look(place.bits, symbol=shapes[i % len(shapes)], size=11.0)
            hover = f"{model}, {place.grid}\n{symbol} = {number(x, 3)}\nM = {rise_text(place.m)}"
            low, high = (end if math.isfinite(end) else math.nan for end in (place.m.low, place.m.high))
            marks.append(
                Series("", (x,), (place.m.value,), look, (hover,), (low,), (high,), (place.short,), "top right",
                       legend=False)
            )  # fmt: skip
        key = Look(INK, shapes[i % len(shapes)], None, size=10)
        marks.append(Series(model, (math.nan,), (math.nan,), key))
    ends = spanning([*(x for x, _ in kept), 1.0], log=True, pad=0.12)
    x_axis = Axis(f"{symbol} of RTN (logarithmic)", log=True, range=ends)
    return Panel(_correlation_text(found, symbol), x_axis, Axis("M on test (nats per token)"), tuple(marks))


def _correlation_text(found: Sequence[Place], symbol: str) -> str:
    relation = correlation(found, symbol)
    if relation is None:
        return f"{symbol}: no r_s with {plural(len(_with(found, symbol)), 'grid')} ({LEAST} needed)"
    return f"{symbol}: {relation.words}"


def _title(found: Sequence[Place], symbol: str) -> str:
    kept, relation = _with(found, symbol), correlation(found, symbol)
    worst = max((place for _, place in kept), key=lambda place: place.m.value)
    most = f"M is largest with {worst.short} of {worst.model}, {rise_text(worst.m)} nats"
    if relation is None:
        return f"{most}, where {symbol} = {number(next(x for x, place in kept if place is worst), 2)}"
    if relation.tested is None:
        return f"{most}; over all grids r_s with {symbol} is {number(relation.value, 2)}, not tested"
    goes = "rises with" if relation.tested.value > 0 else "falls with"
    sure = goes if relation.tested.p < 0.05 else "is not clearly related to"
    return f"Misalignment {sure} {symbol} at the same bit width ({p_text(relation.tested.p)}); {most}"


def _notes(study: StudyResult, found: Sequence[Place]) -> Iterator[str]:
    for symbol in ("ρ", "ρ_Δ"):
        if (relation := correlation(found, symbol)) is not None and relation.untested:
            yield f"r_s with {symbol} was not tested: {relation.untested}."
    for survey in surveys(study):
        if not survey.misalignments:
            yield f"{survey.subject.model} has no M: it needs GPTQ, QAFT and w_FT."
    if lacking := [f"{p.model} {p.grid}" for p in found if p.rho_along is None]:
        yield f"Without a measured R along Δw of RTN, and so without ρ_Δ: {', '.join(lacking)}."
