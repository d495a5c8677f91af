"""Sum up a landscape for the terminal: the basin in a few lines, one table of points, and what the table leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from landscape.formatting import equals, rise_text, windows_text
from landscape.report.survey.verdicts import KEPT, near_but_steep
from landscape.report.table import Table
from landscape.session.request import TEST_SPLIT
from landscape.survey.result import PointResult, ShardResult, SurveyResult


def headline(landscape: SurveyResult) -> str:
    """Write the finding in one line: ``opt-nano: basin radius R = 71.2 [69.8, 72.6]``."""
    return f"{landscape.subject.model}: basin radius {equals('R', landscape.basin.radius, landscape.basin)}"


def summary_lines(landscape: SurveyResult) -> list[str]:
    """Report the model, the loss at w and the basin."""
    subject, basin, split = landscape.subject, landscape.basin, landscape.split
    windows = windows_text(basin.windows, basin.articles)
    center = ", ".join(f"{name} {nll:.4f}" for name, nll in landscape.center.items())
    return [
        f"{subject.model} on {subject.data}: D = {subject.dimension:,}, ‖w‖ = {subject.norm:.4g}, "
        f"chance ln|V| = {subject.chance:.3f}",
        f"NLL at w: {center} (nats per token, windows of {subject.seq_len} tokens)",
        f"basin ({split}, {windows}): {equals('R', basin.radius, basin)}; in units of ‖w‖: "
        + ", ".join(
            equals(name, crossing, basin, subject.norm)
            for name, crossing in (("R", basin.radius), ("r10", basin.r10), ("r90", basin.r90))
        ),
    ]


def shard_line(done: ShardResult) -> str:
    """Say what a shard is of, and which points it made."""
    subject, made = done.subject, ", ".join(done.points) or "none"
    return f"{subject.model} on {subject.data}: shard {done.shard}; points made: {made}"


def summary_table(landscape: SurveyResult) -> Table:
    """Return one row per point, narrow enough for a terminal."""
    splits = list(landscape.center)

    def row(point: PointResult) -> tuple[str, ...]:
        return (
            point.name,
            f"{point.distance:.4g}",
            f"{point.distance / landscape.subject.norm:.3f}",
            "–" if point.rho is None else f"{point.rho.value:.2f}",
            *(f"{point.nll[split]:.3f}" for split in splits),
            point.location,
            point.loss,
        )

    header = ("point", "‖Δw‖", "/‖w‖", "ρ", *(f"NLL\n{split}" for split in splits), "location", "loss")
    words = frozenset({0, len(header) - 2, len(header) - 1})
    return Table("The quantized points", header, tuple(map(row, landscape.points)), words)


def misalignment_lines(landscape: SurveyResult) -> Iterator[str]:
    """Report M of every grid on the test split, net of plain fine-tuning, and what it would be without that."""
    if landscape.misalignments:
        yield (
            f"misalignment M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)] on {TEST_SPLIT}, nats per token; "
            "raw: L(GPTQ) − L(QAFT)"
        )
    for found in landscape.misalignments:
        net, raw = (rise_text(side[TEST_SPLIT]) for side in (found.net, found.raw))
        yield f"  {found.grid}: M = {net}, raw {raw}"


def loss_lines(landscape: SurveyResult) -> Iterator[str]:
    """Report what the words of the table leave out: which points are near but steep, and why a loss is inconclusive."""
    steep = near_but_steep(landscape)
    if beyond := [point.name for point in steep if point.loss != "inconclusive"]:
        yield (
            f"near but steep: {', '.join(beyond)}: inside the basin, and yet the loss has risen beyond the limit, "
            "and more than along random directions"
        )
    if across := [point.name for point in steep if point.loss == "inconclusive"]:
        yield (
            f"near but steep: {', '.join(across)}: inside the basin, and yet the loss has risen more than along "
            "random directions"
        )
    if unclear := [point.name for point in landscape.points if point.loss == "inconclusive"]:
        yield (
            f"inconclusive: {', '.join(unclear)}: the interval of ΔL reaches across the limit {KEPT.text} "
            f"({KEPT.nats:.4f} nats); more --windows may settle it"
        )
