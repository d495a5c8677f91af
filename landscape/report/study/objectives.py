"""Draw Figure 1 of Xu et al. 2024 for a model: QAFT against GPTQ, by the loss and by the errors of the layers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from landscape.formatting import nats, number
from landscape.report.chart import Axis, Chart, Look, Mark, Missing, Panel, Series, spanning
from landscape.report.palette import INK
from landscape.report.study.cells import Cell, bit_look, cell_name, cells, grids, listed
from landscape.survey.result import PointResult, SurveyResult

SPLITS = ("train", "test")
ALIKE = 1.05
"""Ratio of two mean layer errors up to which the title calls them as large."""
CAPTION = (
    "Figure 1 of the paper: the loss after QAFT (vertical) against that after GPTQ (horizontal). Upper row: NLL of the "
    "model; lower row: squared output error per token of each matrix on full-precision inputs, small marks, and their "
    "mean, the large one. On the grey diagonal both are equal; below it QAFT is lower. From each mark a line leads to "
    "the diagonal, to the value of RTN. The black dot is w."
)


def objectives(survey: SurveyResult, slug: str) -> Chart | Missing:
    """Describe Figure 1 of one model: one column of panels for train, one for test."""
    name, title = f"figure-1-{slug}", f"QAFT against GPTQ, {survey.subject.model}"
    pairs = [cell for cell in cells(survey) if cell.get("gptq") and cell.get("qaft")]
    if not pairs:
        return Missing(name, title, f"No bit width of {survey.subject.model} has both GPTQ and QAFT.")
    splits = [split for split in SPLITS if split in survey.center]
    rows = [tuple(_losses(survey, pairs, split) for split in splits)]
    notes = list(_unmeasured(survey, pairs, splits))
    if errors := [split for split in splits if any(layer_pairs(cell, split) for cell in pairs)]:
        rows.append(tuple(_errors(survey, pairs, split) for split in errors))
    else:
        notes.append("The errors of the layers were not measured: the lower row is not drawn.")
    return Chart(name, _title(survey, pairs), CAPTION, tuple(rows), tuple(notes))


def layer_pairs(cell: Cell, split: str) -> list[tuple[str, float, float, float]]:
    """Return name and errors at GPTQ, QAFT and RTN of each matrix; RTN's is NaN where it was not measured."""
    gptq, qaft, rtn = (_layer_errors(cell.get(method), split) for method in ("gptq", "qaft", "rtn"))
    return [(name, gptq[name], qaft[name], rtn.get(name, math.nan)) for name in gptq if name in qaft]


def mean_errors(cell: Cell, split: str) -> dict[str, float]:
    """Return the mean error over all matrices by method, of the methods that have one."""
    found = {method: _layer_errors(point, split) for method, point in cell.points.items()}
    return {method: sum(errors.values()) / len(errors) for method, errors in found.items() if errors}


def _layer_errors(point: PointResult | None, split: str) -> dict[str, float]:
    return {} if point is None else {layer.name: layer.error[split] for layer in point.layers if split in layer.error}


def _losses(survey: SurveyResult, pairs: list[Cell], split: str) -> Panel:
    center, model = survey.center[split], survey.subject.model
    values = [center, *(p.nll[split] for c in pairs for m in ("rtn", "gptq", "qaft") if (p := c.get(m)))]
    ends = spanning(values)
    dot = Look(INK, "circle", size=9)
    marks: list[Mark] = [
        _diagonal(ends),
        Series("w", (center,), (center,), dot, (f"w\nNLL {nats(center)} on {split}",)),
    ]
    for cell in pairs:
        gptq, qaft, rtn = (cell.get(method) for method in ("gptq", "qaft", "rtn"))
        assert gptq is not None  # they are those that have both
        assert qaft is not None
        at = (gptq.nll[split], qaft.nll[split])
        base = math.nan if rtn is None else rtn.nll[split]
        look = bit_look(cell.bits, grids(survey).index(cell.grid), size=11.0)
        hover = (
            f"{cell_name(cell, survey)} on {split}\nGPTQ {nats(at[0])}\nQAFT {nats(at[1])}\n"
            f"GPTQ − QAFT {nats(at[0] - at[1], True)}\nRTN {nats(base)}"
        )
        marks += _marked(cell_name(cell, survey), at, base, look, hover)
    x, y = (Axis(f"NLL after {m} (nats per token)", range=ends) for m in ("GPTQ", "QAFT"))
    return Panel(f"{model}: NLL, {split}", x, y, tuple(marks), square=True)


def _errors(survey: SurveyResult, pairs: list[Cell], split: str) -> Panel:
    found = [(cell, layer_pairs(cell, split)) for cell in pairs]
    ends = spanning((v for _, layers in found for _, *values in layers for v in values), log=True)
    marks: list[Mark] = [_diagonal(ends)]
    for cell, layers in found:
        if not layers:
            continue
        name, variant = cell_name(cell, survey), grids(survey).index(cell.grid)
        look = bit_look(cell.bits, variant, size=6.0, opacity=0.55)
        columns = zip(*((a, b, c) for _, a, b, c in layers), strict=True)
        x, y, base = (tuple(map(_positive, column)) for column in columns)
        marks.append(_ways(name, x, y, base, look))
        hover = tuple(
            f"{layer}\n{name} on {split}\nGPTQ {number(a, 3)}\nQAFT {number(b, 3)}\nRTN {number(c, 3)}"
            for layer, a, b, c in layers
        )
        marks.append(Series(name, x, y, look, hover, legend=False))
        means = mean_errors(cell, split)
        a, b, c = (_positive(means.get(method, math.nan)) for method in ("gptq", "qaft", "rtn"))
        mean = f"mean over matrices, {name} on {split}\nGPTQ {number(a, 3)}\nQAFT {number(b, 3)}\nRTN {number(c, 3)}"
        marks += _marked(name, (a, b), c, bit_look(cell.bits, variant, size=13.0), mean)
    across, up = (Axis(f"‖ΔW x‖²/n after {m}, each matrix", log=True, range=ends) for m in ("GPTQ", "QAFT"))
    return Panel(f"{survey.subject.model}: layer error, {split}", across, up, tuple(marks), square=True)


def _marked(name: str, at: tuple[float, float], base: float, look: Look, hover: str) -> Iterator[Series]:
    """Yield the line to RTN on the diagonal, and the mark."""
    line = Look(look.color, None, "solid", width=1.4, opacity=0.8)
    yield Series(name, (at[0], base), (at[1], base), line, legend=False)
    yield Series(name, (at[0],), (at[1],), look, (hover,))


def _ways(name: str, x: tuple[float, ...], y: tuple[float, ...], base: tuple[float, ...], look: Look) -> Series:
    """Return the lines from all matrices to the diagonal as one series with gaps."""
    gap = math.nan
    ways = [(a, b, c) for a, b, c in zip(x, y, base, strict=True) if math.isfinite(a + b + c)]
    xs, ys = ([v for way in ways for v in (way[i], way[2], gap)] for i in (0, 1))
    line = Look(look.color, None, "solid", width=0.7, opacity=0.3)
    return Series(name, tuple(xs), tuple(ys), line, legend=False)


def _diagonal(ends: tuple[float, float]) -> Series:
    return Series("equal", ends, ends, Look("#888888", None, "dash", width=1.2))


def _positive(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else math.nan


def _title(survey: SurveyResult, pairs: list[Cell]) -> str:
    """Say what the cell with the widest gap shows, for the loss and for the layers."""
    split = "test" if "test" in survey.center else survey.split
    finite = [cell for cell in pairs if math.isfinite(gap(cell, split))]
    if not finite:
        return f"{survey.subject.model}: neither loss is finite on {split}"
    cell = max(finite, key=lambda each: abs(gap(each, split)))
    size, means = gap(cell, split), mean_errors(cell, split)
    side = "below" if size > 0 else "above"
    said = f"{survey.subject.model}: at {cell_name(cell, survey)} QAFT is {number(abs(size), 2)} nats {side} GPTQ"
    if not {"gptq", "qaft"} <= set(means) or not means["gptq"] > 0:
        return said
    ratio = means["qaft"] / means["gptq"]
    if 1 / ALIKE < ratio < ALIKE:
        return f"{said}, with a mean layer error as large as GPTQ’s"
    if ratio > 1:
        return f"{said}, {'though' if size > 0 else 'and'} its layer error is {number(ratio, 2)} times GPTQ’s"
    return f"{said}, {'and' if size > 0 else 'though'} its layer error is {number(ratio, 2)} times GPTQ’s"


def gap(cell: Cell, split: str) -> float:
    """Return L(GPTQ) − L(QAFT) of a cell; NaN if either is missing or not finite."""
    gptq, qaft = cell.get("gptq"), cell.get("qaft")
    if gptq is None or qaft is None or split not in gptq.nll or split not in qaft.nll:
        return math.nan
    both = gptq.nll[split], qaft.nll[split]
    return both[0] - both[1] if all(map(math.isfinite, both)) else math.nan


def _unmeasured(survey: SurveyResult, pairs: list[Cell], splits: list[str]) -> Iterator[str]:
    """Name the cells without a pair, and those whose loss is not finite."""
    if lone := [cell_name(c, survey) for c in cells(survey) if not (c.get("gptq") and c.get("qaft"))]:
        yield f"Without both GPTQ and QAFT, and so not drawn: {listed(lone)}."
    for split in splits:
        if lost := [cell_name(cell, survey) for cell in pairs if not math.isfinite(gap(cell, split))]:
            yield f"Not drawn, since a loss on {split} is not finite: {listed(lost)}."
