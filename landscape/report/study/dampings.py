"""Draw Appendix C of Xu et al. 2024 for a model: the best damping by layer and bits, and whether it has a pattern."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from landscape.estimators.variance_share import VarianceShare, variance_share
from landscape.formatting import number
from landscape.report.chart import Axis, Chart, Heatmap, Missing, Panel, heat_range
from landscape.report.study.cells import Cell, cell_name, cells, p_text
from landscape.survey.layers import LayerResult
from landscape.survey.result import SurveyResult

SURE = 0.05
"""p below which a grouping counts as a pattern, before it is divided by the number of groupings."""
MANY = 12
"""Blocks beyond which one column of heat maps takes the width of a page."""
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
    """Describe the heat maps of one model, types × blocks: a row for each bit width, a panel for each grid."""
    name, model = f"appendix-c-{slug}", survey.subject.model
    title = f"The best damping by layer, {model}"
    if not any(cell.get("gptq") for cell in cells(survey)):
        return Missing(name, title, f"{model} was not quantized by GPTQ.")
    tuned = [(cell, layers) for cell in cells(survey) if (layers := damped(cell))]
    if not tuned:
        return Missing(name, title, f"The dampings of GPTQ were not recorded for {model}.")
    found = pattern([(cell.bits, layer) for cell, layers in tuned for layer in layers])
    maps = [_map(cell, layers, survey) for cell, layers in tuned]
    ends = heat_range([drawn.values for drawn in maps], log=True)
    assert ends is not None  # they are dampings above 0
    rows = []
    for bits in dict.fromkeys(cell.bits for cell, _ in tuned):
        row = [(cell, drawn) for (cell, _), drawn in zip(tuned, maps, strict=True) if cell.bits == bits]
        last = len(row) - 1
        panels = (
            Panel(cell_name(cell, survey), Axis("block"), Axis(""), (replace(drawn, range=ends, bar=i == last),))
            for i, (cell, drawn) in enumerate(row)
        )
        rows.append(tuple(panels))
    wide = any(len(drawn.columns) > MANY for drawn in maps)
    return Chart(name, _title(model, found), f"{CAPTION} {model}: {found.sentence}", tuple(rows), wide=wide)


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


def _map(cell: Cell, layers: Sequence[LayerResult], survey: SurveyResult) -> Heatmap:
    """Return the dampings of a cell by type and block, with the colours of this cell alone."""
    kinds = list(dict.fromkeys(layer.kind for layer in layers))
    blocks = list(dict.fromkeys(layer.block for layer in layers))
    of: dict[tuple[str, int | None], list[LayerResult]] = {}
    for layer in layers:
        of.setdefault((layer.kind, layer.block), []).append(layer)
    values = tuple(tuple(_mean(of.get((kind, block), [])) for block in blocks) for kind in kinds)
    point = cell_name(cell, survey)
    hover = tuple(tuple(_hover(of.get((kind, block), []), point) for block in blocks) for kind in kinds)
    names = tuple("–" if block is None else str(block) for block in blocks)
    return Heatmap(names, tuple(kinds), values, "damping", hover, (1.0, 1.0), log=True)


def _mean(layers: Sequence[LayerResult]) -> float:
    """Return the geometric mean of the dampings of a type in a block, where experts are several; NaN without any."""
    logs = [math.log(layer.damping) for layer in layers if layer.damping]
    return math.exp(sum(logs) / len(logs)) if len(logs) > 1 else (layers[0].damping or math.nan) if logs else math.nan


def _hover(layers: Sequence[LayerResult], point: str) -> str:
    if not layers:
        return f"{point}\nnone"
    more = f" and {len(layers) - 1} more, their geometric mean" if len(layers) > 1 else ""
    return f"{layers[0].name}{more}, {point}\ndamping {_mean(layers):g}"


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
