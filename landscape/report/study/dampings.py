"""Draw Appendix C of Xu et al. 2024 for a model: the best damping by layer and bits, and whether it has a pattern."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

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
    subject = f"The best damping by layer, {model}"
    if not any(cell.get("gptq") for cell in cells(survey)):
        return Missing(name, subject, f"{model} was not quantized by GPTQ.")
    tuned = [(cell, layers) for cell in cells(survey) if (layers := damped(cell))]
    if not tuned:
        return Missing(name, subject, f"The dampings of GPTQ were not recorded for {model}.")
    found = pattern([(cell.bits, layer) for cell, layers in tuned for layer in layers])
    ends = heat_range([_table(layers) for _, layers in tuned], log=True)
    assert ends is not None  # they are dampings above 0
    rows = []
    for bits in dict.fromkeys(cell.bits for cell, _ in tuned):
        row = [pair for pair in tuned if pair[0].bits == bits]
        maps = [_map(*pair, survey, ends, bar=pair is row[-1]) for pair in row]
        titles = [cell_name(cell, survey) for cell, _ in row]
        each = zip(titles, maps, strict=True)
        rows.append(tuple(Panel(title, Axis("block"), Axis(""), (drawn,)) for title, drawn in each))
    wide = max(len(_blocks(layers)) for _, layers in tuned) > MANY
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


def _map(
    cell: Cell, layers: Sequence[LayerResult], survey: SurveyResult, ends: tuple[float, float], bar: bool
) -> Heatmap:
    """Return the dampings of a cell by type and block."""
    kinds, blocks, point = _kinds(layers), _blocks(layers), cell_name(cell, survey)
    hover = tuple(tuple(_hover(_at(layers, kind, block), point) for block in blocks) for kind in kinds)
    names = tuple("–" if block is None else str(block) for block in blocks)
    return Heatmap(names, tuple(kinds), _table(layers), "damping", hover, ends, log=True, bar=bar)


def _table(layers: Sequence[LayerResult]) -> tuple[tuple[float, ...], ...]:
    """Return the damping of each type, a row, in each block."""
    return tuple(tuple(_mean(_at(layers, kind, block)) for block in _blocks(layers)) for kind in _kinds(layers))


def _kinds(layers: Sequence[LayerResult]) -> list[str]:
    return list(dict.fromkeys(layer.kind for layer in layers))


def _blocks(layers: Sequence[LayerResult]) -> list[int | None]:
    return list(dict.fromkeys(layer.block for layer in layers))


def _at(layers: Sequence[LayerResult], kind: str, block: int | None) -> list[LayerResult]:
    """Return the matrices of a type in a block: one, several experts, or none."""
    return [layer for layer in layers if (layer.kind, layer.block) == (kind, block)]


def _mean(layers: Sequence[LayerResult]) -> float:
    """Return the geometric mean of the dampings of a type in a block, where experts are several; NaN without any."""
    found = [layer.damping for layer in layers if layer.damping]
    return found[0] if len(found) == 1 else math.exp(sum(map(math.log, found)) / len(found)) if found else math.nan


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
