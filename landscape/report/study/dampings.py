"""Draw Appendix C of Xu et al. 2024 for a model: the best damping by layer and bits, and whether it has a pattern."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from landscape.estimators.variance_share import VarianceShare, variance_share
from landscape.formatting import number
from landscape.report.chart import Axis, Chart, Heatmap, Missing, Panel, heat_range
from landscape.report.study.cells import Cell, cell_name, cells, p_text
from landscape.survey.layers import LayerResult
from landscape.survey.result import SurveyResult

SURE = 0.05
"""p below which a grouping counts as a pattern, before it is divided by the number of groupings."""
GROUPINGS = ("type", "block", "bit width")
CAPTION = (
    "Appendix C of the paper: the damping with the least error of each matrix, as a multiple of the mean diagonal "
    "of its Hessian. The paper finds no meaningful pattern; here the share η² of the variance of log10(damping) that "
    "type, block and bit width explain is compared with that of random groupings (p by 9,999 permutations, which deal "
    "whole matrices to types and blocks, since the dampings of one matrix are alike, and the dampings of a matrix to "
    "its bit widths; a pattern if p < 0.05 divided by the number of groupings)."
)


@dataclass(frozen=True)
class Pattern:
    """The dependence of dampings on type, block and bits of their matrix."""

    matrices: int
    """Number of dampings."""
    shares: dict[str, VarianceShare]
    """η² by grouping, of those that can be judged."""
    entropy: float
    """Entropy of the distribution of dampings, in bits."""
    values: int
    """Number of different dampings."""

    @property
    def found(self) -> list[str]:
        """Groupings that explain more than random ones."""
        return [name for name, share in self.shares.items() if share.p < SURE / len(self.shares)]

    @property
    def sentence(self) -> str:
        """The verdict in words, with its numbers."""
        if self.values == 1:
            return f"All {self.matrices} dampings are alike."
        numbers = "; ".join(
            f"{name} η² = {number(share.value, 2)} ({p_text(share.p)})" for name, share in self.shares.items()
        )
        spread = f"entropy {number(self.entropy, 2)} of at most {number(math.log2(self.values), 2)} bits"
        return f"{numbers or 'no grouping can be judged'}; {spread} over {self.matrices} dampings."


def dampings(survey: SurveyResult, slug: str) -> Chart | Missing:
    """Describe the heat map of one model: matrices × bits, a panel for each grid."""
    name, model = f"appendix-c-{slug}", survey.subject.model
    title = f"The best damping by layer, {model}"
    if not any(cell.get("gptq") for cell in cells(survey)):
        return Missing(name, title, f"{model} was not quantized by GPTQ.")
    tuned = [(cell, layers) for cell in cells(survey) if (layers := damped(cell))]
    if not tuned:
        return Missing(name, title, f"The dampings of GPTQ were not recorded for {model}.")
    found = pattern([(cell.bits, layer) for cell, layers in tuned for layer in layers])
    order = list(dict.fromkeys(cell.grid for cell, _ in tuned))
    panels = tuple(_panel([each for each in tuned if each[0].grid == grid], grid, survey) for grid in order)
    return Chart(name, _title(model, found), f"{CAPTION} {model}: {found.sentence}", (panels,))


def damped(cell: Cell) -> list[LayerResult]:
    """Return the matrices of a cell's GPTQ that have a damping above 0."""
    point = cell.get("gptq")
    return [] if point is None else [layer for layer in point.layers if (layer.damping or 0.0) > 0]


def pattern(found: Sequence[tuple[int, LayerResult]]) -> Pattern:
    """Judge whether dampings have a pattern.

    Args:
        found: Bits and matrix of each damping.
    """
    chosen = [layer.damping for _, layer in found if layer.damping is not None]
    logs = [math.log10(damping) for damping in chosen if damping > 0]
    labels: dict[str, Sequence[Hashable]] = {
        "type": [layer.kind for _, layer in found],
        "block": [layer.block for _, layer in found],
        "bit width": [bits for bits, _ in found],
    }
    units = [layer.name for _, layer in found]
    whole = len(logs) == len(found)
    judged = {name: variance_share(logs, groups, units) for name, groups in labels.items()} if whole else {}
    shares = {name: share for name, share in judged.items() if share is not None}
    counts = [chosen.count(value) for value in sorted(set(chosen))]
    entropy = -sum(n / len(chosen) * math.log2(n / len(chosen)) for n in counts)
    return Pattern(len(chosen), shares, entropy, len(counts))


def _panel(tuned: Sequence[tuple[Cell, list[LayerResult]]], grid: str, survey: SurveyResult) -> Panel:
    names = list(dict.fromkeys(layer.name for _, layers in tuned for layer in layers))
    by_cell = [{layer.name: layer for layer in layers} for _, layers in tuned]
    values = tuple(tuple(_damping(layers.get(name)) for layers in by_cell) for name in names)
    hover = tuple(tuple(_hovers(name, tuned, by_cell, survey)) for name in names)
    rows = tuple(_short(next(layers[name] for layers in by_cell if name in layers)) for name in names)
    columns = tuple(f"int{cell.bits}" for cell, _ in tuned)
    ends = heat_range([values], log=True)
    assert ends is not None  # they are dampings above 0
    heat = Heatmap(columns, rows, values, "damping", hover, ends, log=True)
    return Panel(f"{survey.subject.model}, {grid}", Axis("bit width"), Axis(""), (heat,))


def _damping(layer: LayerResult | None) -> float:
    return math.nan if layer is None or layer.damping is None else layer.damping


def _hovers(
    name: str, tuned: Sequence[tuple[Cell, list[LayerResult]]], by_cell: Sequence[dict[str, LayerResult]],
    survey: SurveyResult,
) -> Iterator[str]:  # fmt: skip
    for (cell, _), layers in zip(tuned, by_cell, strict=True):
        value = _damping(layers.get(name))
        yield f"{name}, {cell_name(cell, survey)}\n" + ("not recorded" if math.isnan(value) else f"damping {value:g}")


def _short(layer: LayerResult) -> str:
    return layer.kind if layer.block is None else f"{layer.block} {layer.kind}"


def _title(model: str, found: Pattern) -> str:
    if found.values == 1:
        return f"{model}: all {found.matrices} matrices took the same damping"
    if not found.shares:
        return f"{model}: the best dampings of {found.matrices} matrices, too few to look for a pattern"
    if not found.found:
        name, most = max(found.shares.items(), key=lambda each: each[1].value)
        numbers = f"the most that a grouping explains is {most.value:.0%}, by {name}, {p_text(most.p)}"
        return f"{model}: no pattern found in the best dampings: {numbers}"
    name = max(found.found, key=lambda each: found.shares[each].value)
    share = found.shares[name].value
    return f"{model}: the {name} explains {share:.0%} of the variance of the best dampings"
