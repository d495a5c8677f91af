"""Draw what a method does to each matrix of a model: ‖ΔW‖/‖W‖ and the error of its output, by block and type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from landscape.formatting import number
from landscape.report.chart import Axis, Chart, Heatmap, Missing, Panel, heat_range
from landscape.report.study.cells import Cell, cell_name, cells, method_label
from landscape.session.request import TEST_SPLIT
from landscape.survey.layers import LayerResult
from landscape.survey.result import PointResult, SurveyResult

MOST = 3
"""Methods side by side, at most."""
CAPTION = (
    "Each cell is a matrix, by its block and type, at the lowest bit width that has all methods; the tables hold the "
    "others. Upper row: how far it moved, ‖ΔW‖/‖W‖. Lower row: squared output error per token on full-precision inputs "
    "of test. One row has one colour scale."
)
Table = tuple[tuple[float, ...], ...]


def matrices(survey: SurveyResult, slug: str) -> Chart | Missing:
    """Describe the matrices of one model: a column of panels for each method."""
    name, model = f"layers-{slug}", survey.subject.model
    title = f"What happens to each matrix, {model}"
    chosen = _cell(survey)
    if chosen is None:
        return Missing(name, title, f"The matrices of {model} were not measured.")
    cell, points = chosen
    moved = _row(points, cell, "‖ΔW‖/‖W‖", _relative, survey)
    wrong = _row(points, cell, "‖ΔW x‖²/n, test", _error, survey) if all(map(_has_error, points)) else ()
    rows = [row for row in (moved, wrong) if row]
    if not rows:
        return Missing(name, title, f"No matrix of {model} moved.")
    notes = [] if wrong else [f"The output errors on {TEST_SPLIT} were not measured, or not finite, for all methods."]
    left = [method_label(m) for m, p in cell.points.items() if p.layers and p not in points]
    notes += [f"Not drawn: {', '.join(left)}."] if left else []
    return Chart(name, _title(model, cell, points, survey), CAPTION, tuple(rows), tuple(notes))


def _cell(survey: SurveyResult) -> tuple[Cell, list[PointResult]] | None:
    """Return the cell to draw: the one with the most measured methods, then the lowest bit width."""
    found = [(cell, [p for p in cell.points.values() if p.layers][:MOST]) for cell in cells(survey)]
    found = [(cell, points) for cell, points in found if points]
    return max(found, key=lambda each: (len(each[1]), -each[0].bits), default=None)


def _row(
    points: Sequence[PointResult], cell: Cell, label: str, of: Callable[[LayerResult], float], survey: SurveyResult
) -> tuple[Panel, ...]:
    layers = points[0].layers
    kinds = list(dict.fromkeys(layer.kind for layer in layers))
    blocks = list(dict.fromkeys(layer.block for layer in layers))
    tables = [_table(point, kinds, blocks, of) for point in points]
    ends = heat_range(tables, log=True)
    if ends is None:
        return ()
    panels = []
    for i, (point, table) in enumerate(zip(points, tables, strict=True)):
        names = tuple("–" if block is None else str(block) for block in blocks)
        hover = tuple(_hovers(point, kind, blocks, label, of) for kind in kinds)
        heat = Heatmap(names, tuple(kinds), table, label, hover, ends, log=True, bar=i == len(points) - 1,
                       named=i == 0)  # fmt: skip
        title = f"{method_label(point.method)}, {cell_name(cell, survey)}: {label}"
        panels.append(Panel(title, Axis("block"), Axis(""), (heat,)))
    return tuple(panels)


def _table(
    point: PointResult, kinds: Sequence[str], blocks: Sequence[int | None], of: Callable[[LayerResult], float]
) -> Table:
    """Return the mean over the matrices of a type in a block (experts are several), NaN where there is none."""
    cells_of: dict[tuple[str, int | None], list[float]] = {}
    for layer in point.layers:
        cells_of.setdefault((layer.kind, layer.block), []).append(of(layer))
    return tuple(tuple(_mean(cells_of.get((kind, block), [])) for block in blocks) for kind in kinds)


def _hovers(
    point: PointResult, kind: str, blocks: Sequence[int | None], label: str, of: Callable[[LayerResult], float]
) -> tuple[str, ...]:
    found = {block: [layer for layer in point.layers if (layer.kind, layer.block) == (kind, block)] for block in blocks}
    return tuple("\n".join(_lines(point, found[block], label, of)) for block in blocks)


def _lines(
    point: PointResult, layers: Sequence[LayerResult], label: str, of: Callable[[LayerResult], float]
) -> Iterator[str]:
    if not layers:
        return
    yield layers[0].name if len(layers) == 1 else f"{layers[0].name} and {len(layers) - 1} more, their mean"
    yield f"{point.name}: {label} = {number(_mean([of(layer) for layer in layers]), 3)}"
    zeros, clipped = layers[0].zeros, layers[0].clipped
    if len(layers) == 1 and zeros is not None and clipped is not None:
        yield f"zeros {zeros:.1%}, clipped {clipped:.2g}"


def _relative(layer: LayerResult) -> float:
    return layer.distance / layer.norm if layer.norm > 0 else math.nan


def _error(layer: LayerResult) -> float:
    return layer.error.get(TEST_SPLIT, math.nan)


def _has_error(point: PointResult) -> bool:
    return any(0 < _error(layer) < math.inf for layer in point.layers)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _title(model: str, cell: Cell, points: Sequence[PointResult], survey: SurveyResult) -> str:
    measured = [p for p in points if _has_error(p)]
    point, of, word = (measured[0], _error, "layer error") if measured else (points[0], _relative, "‖ΔW‖/‖W‖")
    worst = max(point.layers, key=lambda layer: of(layer) if math.isfinite(of(layer)) else -1.0)
    total = sum(v for layer in point.layers if math.isfinite(v := of(layer)))
    share = f", {of(worst) / total:.0%} of the sum over all matrices" if measured and total > 0 else ""
    where = worst.kind if worst.block is None else f"{worst.kind} of block {worst.block}"
    label = f"{method_label(point.method)} at {cell_name(cell, survey)}"
    return f"{model}: with {label} the largest {word} is in {where}{share}"
