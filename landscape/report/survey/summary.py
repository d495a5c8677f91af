"""Sum up a landscape for the terminal: the basin in a few lines, one table of points, and what the table leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from landscape.estimators.perplexity import perplexity, perplexity_change
from landscape.formatting import equals, number, percent, rise_text, windows_text
from landscape.report.survey.measures import NONE
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
    perplexities = ", ".join(f"{name} {number(perplexity(nll), 4)}" for name, nll in landscape.center.items())
    center = ", ".join(f"{name} {nll:.4f}" for name, nll in landscape.center.items())
    by_kl = landscape.kl_radii.get(split)
    return [
        f"{subject.model} on {subject.data}: D = {subject.dimension:,}, ‖w‖ = {subject.norm:.4g}, "
        f"chance ln|V| = {subject.chance:.3f}",
        f"NLL at w: {center} (nats per token, windows of {subject.seq_len} tokens); perplexity {perplexities}",
        f"basin ({split}, {windows}): {equals('R', basin.radius, basin)}; in units of ‖w‖: "
        + ", ".join(
            equals(name, crossing, basin, subject.norm)
            for name, crossing in (("R", basin.radius), ("r10", basin.r10), ("r90", basin.r90))
        )
        + (f"; by KL: {equals('R_kl', by_kl.radius, basin)}" if by_kl else ""),
    ]


def shard_line(done: ShardResult) -> str:
    """Say what a shard is of, and which points it made."""
    subject, made = done.subject, ", ".join(done.points) or "none"
    return f"{subject.model} on {subject.data}: shard {done.shard}; points made: {made}"


def summary_table(landscape: SurveyResult) -> Table:
    """Return one row per point, narrow enough for a terminal: NLL, perplexity, KL and agreement on the judged split."""
    split = landscape.split

    def row(point: PointResult) -> tuple[str, ...]:
        found = point.fidelity.get(split)
        return (
            point.name,
            NONE if point.size is None else f"{point.size.space_bits:.2f}",
            f"{point.distance:.4g}",
            NONE if point.rho is None else f"{point.rho.value:.2f}",
            f"{point.nll[split]:.3f}",
            percent(perplexity_change(point.rise[split]).value),
            NONE if found is None else number(found.kl.value, 3),
            NONE if found is None else f"{found.agreement.value:.1%}",
            point.location,
            point.loss,
        )

    header = (
        "point", "bits per\nweight", "‖Δw‖", "ρ", f"NLL\n{split}", "perplexity\nagainst w", "KL\nto w",
        "agrees\nwith w", "location", "loss",
    )  # fmt: skip
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
