"""Draw Figure 2 of Xu et al. 2024: test NLL against size, with the Pareto front and the gap between QAFT and GPTQ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from landscape.formatting import nats, number
from landscape.report.chart import Axis, Chart, Look, Mark, Missing, Panel, Series, spanning
from landscape.report.palette import INK
from landscape.report.study.cells import (
    SizeUnit,
    bit_color,
    cell_name,
    cells,
    grids,
    is_control,
    listed,
    method_label,
    method_look,
    size_unit,
    surveys,
    test_nll,
)
from landscape.session.request import TEST_SPLIT
from landscape.study.result import StudyResult
from landscape.survey.result import PointResult, SurveyResult
from quant.scheme import width_label

NAME, TITLE = "figure-2", "Test NLL against size"
CAPTION = (
    "Figure 2 of the paper: NLL on test against the size of the whole model. Black dots are the models at 16 bits, "
    "hollow marks RTN; grey lines join the points of a model by method. The vertical strips go from QAFT to GPTQ, "
    "coloured by bit width. The thick line is the Pareto front of the models at 16 bits and the quantized ones: no "
    "other point is at most as large and at most as lossy. w_FT, the control, is shown but not on the front."
)


@dataclass(frozen=True)
class Candidate:
    """A model at a size: a quantized point, or w at 16 bits."""

    model: str
    name: str
    method: str
    """Method of the point; ``w`` for the model itself."""
    gigabytes: float
    nll: float


def tradeoff(study: StudyResult) -> Chart | Missing:
    """Describe Figure 2: a panel for each group of models whose NLL per token can be compared."""
    groups = comparable(surveys(study))
    drawn = [(group, found) for group in groups if (found := candidates(group))]
    if not drawn:
        return Missing(NAME, TITLE, "No point has both a size and a finite NLL on test.")
    notes = list(_notes(study, len(drawn)))
    unit = size_unit(surveys(study))
    panels = tuple((_panel(group, found, unit),) for group, found in drawn)
    return Chart(NAME, _title([found for _, found in drawn]), CAPTION, panels, tuple(notes), wide=True)


def comparable(models: Iterable[SurveyResult]) -> list[list[SurveyResult]]:
    """Group models whose NLL per token can be compared: the same windows of the same token ids.

    NLL per token depends on the text and on how a tokenizer cuts it. The fingerprint of the corpus is over the ids of
    all its windows (over model and recipe where a model wrote the text itself); seed and number choose those of test.
    A model without a fingerprint in its record is compared with no other.
    """
    found: dict[tuple[object, ...], list[SurveyResult]] = {}
    for i, survey in enumerate(models):
        settings, subject = survey.run.settings, survey.subject
        text = settings.get("corpus fingerprint", i)
        key = (text, settings.get("seed"), subject.seq_len, subject.windows.get(TEST_SPLIT))
        found.setdefault(key, []).append(survey)
    return list(found.values())


def candidates(models: Iterable[SurveyResult]) -> list[Candidate]:
    """Return w and the quantized points that have a size and a finite NLL on test."""
    return [candidate for survey in models for candidate in _of_model(survey)]


def _of_model(survey: SurveyResult) -> Iterator[Candidate]:
    model = survey.subject.model
    if survey.center_size is not None and TEST_SPLIT in survey.center:
        yield Candidate(model, "w", "w", survey.center_size.gigabytes, survey.center[TEST_SPLIT])
    for point in survey.points:
        nll = test_nll(point)
        if point.size is not None and nll is not None and not is_control(point):
            yield Candidate(model, point.name, point.method, point.size.gigabytes, nll)


def pareto_front(found: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that no other one dominates, by size: none is as small and as good, and better in one."""
    front: list[Candidate] = []
    for each in sorted(found, key=lambda c: (c.gigabytes, c.nll)):
        tied = front and (front[-1].gigabytes, front[-1].nll) == (each.gigabytes, each.nll)
        if not front or each.nll < front[-1].nll or tied:
            front.append(each)
    return front


@dataclass(frozen=True)
class QuantizedPlace:
    """A size and a loss on the front that quantized points hold: one, or several that are the same."""

    held_by: tuple[Candidate, ...]

    @property
    def methods(self) -> set[str]:
        """Methods of its points."""
        return {each.method for each in self.held_by}

    @property
    def is_trained(self) -> bool:
        """Whether QAFT alone holds it: where QAFT kept RTN, training won nothing."""
        return all(method.startswith("qaft") for method in self.methods)

    @property
    def is_untrained(self) -> bool:
        """Whether QAFT has no part in it."""
        return not any(method.startswith("qaft") for method in self.methods)


def quantized_places(front: Iterable[Candidate]) -> list[QuantizedPlace]:
    """Return the places on a front that quantized points hold, each once, whichever points share it."""
    found: dict[tuple[str, float, float], list[Candidate]] = {}
    for each in front:
        if each.method != "w":
            found.setdefault((each.model, each.gigabytes, each.nll), []).append(each)
    return [QuantizedPlace(tuple(points)) for points in found.values()]


def _panel(models: Sequence[SurveyResult], found: Sequence[Candidate], unit: SizeUnit) -> Panel:
    wide = spanning((c.gigabytes * unit.per_gb for c in found), log=True)
    controls = [nll for s in models for p in s.points if is_control(p) and p.size and (nll := test_nll(p)) is not None]
    high = spanning([*(c.nll for c in found), *controls])
    marks: list[Mark] = [strip for survey in models for strip in _strips(survey, unit)]
    marks += [line for survey in models for line in _ways(survey, unit)]
    marks.append(_front_line(pareto_front(found), wide[1], unit))
    for survey in models:
        marks += _points(survey, unit)
    subject = models[0].subject
    title = f"{listed([survey.subject.model for survey in models])} on {_text_name(subject.data)}"
    x = Axis(f"size of the model ({unit.name}, logarithmic)", log=True, range=wide)
    return Panel(title, x, Axis("NLL on test (nats per token)", range=high), tuple(marks))


def _text_name(data: str) -> str:
    """Return the name of a text: the last one of a path on somebody's disk."""
    return data if data.startswith("hf:") else data.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]


def _front_line(front: Sequence[Candidate], right: float, unit: SizeUnit) -> Series:
    """Draw the front as steps: between two sizes the smaller model is the best that fits."""
    x, y = [], []
    sizes = [each.gigabytes * unit.per_gb for each in front]
    for each, size, after in zip(front, sizes, [*sizes[1:], right], strict=True):
        x += [size, after]
        y += [each.nll, each.nll]
    return Series("Pareto front", tuple(x), tuple(y), Look(INK, None, "solid", width=2.6, opacity=0.75))


def _strips(survey: SurveyResult, unit: SizeUnit) -> Iterator[Series]:
    """Yield a strip from QAFT to GPTQ for each cell that has both."""
    for cell in cells(survey):
        gptq, qaft = cell.get("gptq"), cell.get("qaft")
        if gptq is None or qaft is None or gptq.size is None or qaft.size is None:
            continue
        ends = (test_nll(qaft), test_nll(gptq))
        if ends[0] is None or ends[1] is None:
            continue
        name = cell_name(cell, survey)
        hover = f"{survey.subject.model}, {name}\nGPTQ − QAFT {nats(ends[1] - ends[0], True)} nats"
        look = Look(bit_color(cell.bits), None, "solid", width=11, opacity=0.32)
        sizes = (qaft.size.gigabytes * unit.per_gb, gptq.size.gigabytes * unit.per_gb)
        yield Series(f"gap, {width_label(cell.bits, cell.grid)}", sizes, (ends[0], ends[1]), look, (hover, hover))


def _ways(survey: SurveyResult, unit: SizeUnit) -> Iterator[Series]:
    """Yield the grey lines that join a model's points of one method on one grid, with w at the end."""
    dashes = {"rtn": "dot", "gptq": "dash"}
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for point in survey.points:
        nll = test_nll(point)
        if point.size is not None and nll is not None and point.grid is not None:
            lines.setdefault((point.method, point.grid), []).append((point.size.gigabytes * unit.per_gb, nll))
    size = survey.center_size
    end = [] if size is None else [(size.gigabytes * unit.per_gb, survey.center[TEST_SPLIT])]
    for (method, _), places in lines.items():
        x, y = zip(*sorted([*places, *end]), strict=True)
        look = Look("#999999", None, dashes.get(method, "solid"), width=1.1)  # type: ignore[arg-type]
        yield Series("", x, y, look, legend=False)


def _points(survey: SurveyResult, unit: SizeUnit) -> Iterator[Series]:
    model = survey.subject.model
    if survey.center_size is not None and TEST_SPLIT in survey.center:
        base, size = survey.center[TEST_SPLIT], survey.center_size.gigabytes * unit.per_gb
        hover = f"{model} at 16 bits\n{_place(size, base, unit)}"
        yield Series(
            "w at 16 bits", (size,), (base,), Look(INK, "circle", size=10), (hover,), labels=(model,),
            side="top left",
        )  # fmt: skip
    shown = [(nll, point) for point in survey.points if point.size is not None and (nll := test_nll(point)) is not None]
    highest: dict[tuple[int | None, str | None], tuple[float, str]] = {}
    for nll, point in shown:  # the label of a cell is above its highest point
        key = (point.bits, point.grid)
        highest[key] = max(highest.get(key, (nll, point.name)), (nll, point.name))
    for nll, point in shown:
        yield _point(point, survey, nll, unit, highest[point.bits, point.grid][1] == point.name)


def _point(point: PointResult, survey: SurveyResult, nll: float, unit: SizeUnit, labelled: bool) -> Series:
    size = math.nan if point.size is None else point.size.gigabytes * unit.per_gb
    variant = grids(survey).index(point.grid) if point.grid is not None else 0
    look = method_look(point.method, variant, dash=None, filled=point.method != "rtn", size=9.0 + 2 * (variant > 0))
    label = method_label(point.method) + (f" {point.grid}" if point.grid and len(grids(survey)) > 1 else "")
    text = (width_label(point.bits, point.grid),) if labelled and point.bits is not None else ()
    hover = f"{survey.subject.model}: {point.name}\n{_place(size, nll, unit)}"
    return Series(label, (size,), (nll,), look, (hover,), labels=text, side="top center")


def _place(size: float, nll: float, unit: SizeUnit) -> str:
    return f"{number(size, 3)} {unit.name}, NLL {nats(nll)}, perplexity {number(math.exp(nll), 4)}"


def _title(groups: Sequence[Sequence[Candidate]]) -> str:
    places = [place for found in groups for place in quantized_places(pareto_front(found))]
    if not places:
        return "No quantized model is on the Pareto front of NLL and size"
    trained = sum(place.is_trained for place in places)
    if not trained:
        return f"QAFT is alone at none of the {len(places)} quantized places on the Pareto front of NLL and size"
    return f"QAFT holds {trained} of the {len(places)} quantized places on the Pareto front of NLL and size"


def _notes(study: StudyResult, panels: int) -> Iterator[str]:
    if panels > 1:
        yield (
            "Models on other texts, other windows or cut by other tokenizers have panels of their own: nats per token "
            "do not compare across them."
        )
    for survey in surveys(study):
        left = [p.name for p in survey.points if p.size is None or test_nll(p) is None]
        if left:
            yield f"Not drawn for {survey.subject.model}, without a size or a finite NLL on test: {', '.join(left)}."
