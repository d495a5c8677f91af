"""What a person sees: the forecast and the progress on stderr, the result on stdout."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from landscape.advice.advise import AdviceResult
from landscape.cli.next_command import after_probe, after_radius
from landscape.cli.plain_console import PlainConsole
from landscape.curvature.anharmonicity import CurvatureResult, Quadratic
from landscape.estimators.intervals import Estimate
from landscape.radius import RadiusRequest, RadiusResult
from landscape.report.advice import NAMES, cost_text, reason_lines, subject_lines, verdict_line
from landscape.report.schema import advice_json, curvature_json, radius_json, to_json
from landscape.report.survey.wording import KEPT, crossing_text, duration, equals, is_open, is_steep, windows_text
from landscape.session.expert_tokens import ExpertTokens
from landscape.session.forecast import Forecast
from landscape.survey.request import SurveyRequest
from landscape.survey.result import PointResult, ProbeCount, SurveyResult
from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint
from quant.grid import GridTensor
from quant.point import WeightPoint
from quant.printable import printable
from quant.space import distance, norm
from quant.statistics import grid_statistics, total

PIPED_WIDTH = 120
"""Columns of the table where stdout is no terminal, which has no width of its own."""


class ConsoleProgress:
    """Draws a run's progress on stderr."""

    def __init__(self) -> None:
        self.console = PlainConsole(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def forecast(self, forecast: Forecast) -> None:
        """Print what will be done and what it will cost."""
        self.console.print(_plan(forecast), highlight=False)
        if forecast.seconds:
            self.console.print(
                f"about {duration(forecast.seconds)}, {_size(forecast.memory)} of memory, "
                f"{_size(forecast.disk)} of disk",
                highlight=False,
            )
        self._bar.update(self._task, total=forecast.work or None)

    def stage(self, name: str) -> None:
        """Name what is going on."""
        self._bar.update(self._task, description=printable(name))
        if not self.console.is_terminal:
            self.console.print(name, highlight=False)

    def advance(self, work: float) -> None:
        """Move the bar."""
        self._bar.advance(self._task, work)

    def note(self, message: str) -> None:
        """Print a line."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.console.print(f"landscape: warning: {message}", markup=False, highlight=False)


def page_path(folder: Path, model: str) -> Path:
    """Where the page of a model goes: its last path component, kept to plain characters."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]).strip("-.")
    return folder / f"{stem or 'model'}.html"


def print_result(request: SurveyRequest, landscape: SurveyResult, page: Path, as_json: bool, stream: TextIO) -> None:
    """Print the result: one JSON object, or a summary, a table and the next command worth typing."""
    if as_json:
        print(json.dumps(to_json(landscape, page), indent=2, allow_nan=False), file=stream)
        return
    console = PlainConsole(file=stream, width=None if stream.isatty() else PIPED_WIDTH)
    for line in summary_lines(landscape):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_table(landscape))
    following = after_probe(request, landscape, bool(near_but_steep(landscape)), page.parent)
    for line in (
        *loss_lines(landscape),
        work_line(landscape.probes, landscape.seconds),
        f"page   {page}",
        f"cache  {landscape.store}",
        f"next   {following}",
    ):
        console.print(line, markup=False, soft_wrap=True)


def work_line(probes: ProbeCount, seconds: float) -> str:
    """What was evaluated, and how long it took."""
    total, spent = probes.total, duration(seconds)
    if not probes.evaluated:
        return f"nothing to evaluate: all {total} probes came from the cache ({spent})"
    return f"{probes.evaluated} of {total} probes evaluated, {probes.cached} from the cache, in {spent}"


def print_point(checkpoint: Checkpoint, point: WeightPoint, folder: Path) -> None:
    """Print what a point does to the weights, and how to load what was written."""
    center = Center.of(checkpoint.model, checkpoint.space)
    away, length = distance(checkpoint.space, center, point), norm(checkpoint.space, center)
    lines = [f"{point.name} of {checkpoint.name}: ‖Δw‖ = {away:.4g} = {away / length:.4f} ‖w‖"]
    if all(isinstance(part, GridTensor) for part in point.parts.values()):  # AWQ leaves the grid
        grid = total(grid_statistics(checkpoint.space, center, point).values())
        lines.append(
            f"squared error of the weights {grid.over_optimum:.3g} times that of rounding at the exact scale, "
            f"zeros {grid.zero_fraction:.2%}, clipped {grid.clipped_fraction:.2g}"
        )
    experts = ExpertTokens.of(point.provenance)
    lines += [experts.sentence] if experts else []
    lines.append(f'AutoModelForCausalLM.from_pretrained("{folder}", dtype="float32")')
    console = PlainConsole(soft_wrap=True)
    for line in lines:
        console.print(line, markup=False)


def print_radius(request: RadiusRequest, measured: RadiusResult, as_json: bool) -> None:
    """Print R: one JSON object, or what was found, how, and the next command worth typing."""
    if as_json:
        print(json.dumps(radius_json(measured), indent=2, allow_nan=False))
        return
    console = PlainConsole(soft_wrap=True)
    for line in (*radius_lines(request, measured), f"next   {after_radius(request, measured)}"):
        console.print(line, markup=False)


def print_advice(advised: AdviceResult, as_json: bool) -> None:
    """Print the advice: one JSON object, or for each grid the verdict, its reasons, and what the ways would cost."""
    if as_json:
        print(json.dumps(advice_json(advised), indent=2, allow_nan=False))
        return
    console = PlainConsole(soft_wrap=True)
    for line in subject_lines(advised):
        console.print(line, markup=False)
    for advice, work in zip(advised.advice, advised.work, strict=True):
        console.print(f"\n{verdict_line(advice)}", markup=False, style="bold")
        for line in reason_lines(advice):
            console.print(f"    {line}", markup=False)
        costs = ", ".join(f"{NAMES[way]} {cost_text(passes, advised.pace)}" for way, passes in work.items())
        console.print(f"    would cost: {costs}", markup=False)
    evaluations = f"{advised.evaluated} windows evaluated, {advised.cached} from the cache"
    console.print(f"\n{evaluations}, in {duration(advised.seconds)}", markup=False)
    console.print(f"cache  {advised.store}", markup=False)


_WHY = {
    "exhausted": "no more windows or directions are to be had; take a longer text, shorter windows or another split",
    "out of time": "--max-minutes ended the search, which goes on from here with more of them",
}


def _search_line(measured: RadiusResult) -> str:
    """On what R was searched."""
    probes = measured.found.probes
    return (
        f"{measured.model} on {measured.data} ({measured.split}, windows of {measured.seq_len} tokens): "
        f"D = {measured.dimension:,}, ‖w‖ = {measured.norm:.4g}, L(w) = {probes.center_nll:.4f}, "
        f"chance ln|V| = {probes.chance:.3f}"
    )


def radius_lines(request: RadiusRequest, measured: RadiusResult) -> list[str]:
    """R in words, and the rounds that led there."""
    found, length = measured.found, measured.norm
    lines = [_search_line(measured)]
    for index, each in enumerate(found.rounds, start=1):
        value = crossing_text(each.crossing, each.directions, each.windows, articles=each.articles)
        windows = windows_text(each.windows, each.articles)
        lines.append(f"round {index}: {each.directions} directions × {windows}: R = {value}")
    last = found.rounds[-1]
    radius, ratio = (
        crossing_text(found.radius, last.directions, last.windows, unit, last.articles) for unit in (1.0, length)
    )
    reached = ""
    if found.radius.value is not None and math.isfinite(found.radius.high):
        reached = f" ± {(found.radius.high - found.radius.value) / found.radius.value:.1%}"
    lines.append(f"R = {radius} = {ratio} ‖w‖{reached}")
    if found.ended in ("exhausted", "out of time"):
        lines.append(f"not ± {request.precision:.2g}, as asked for: {_WHY[found.ended]}")
    evaluations = f"{measured.evaluated} windows evaluated, {measured.cached} from the cache"
    lines.append(f"{evaluations}: {measured.tokens:,} tokens, in {duration(measured.seconds)}")
    lines.append(f"cache  {measured.store}")
    return lines


def print_curvature(curved: CurvatureResult, as_json: bool) -> None:
    """Print the curvature: one JSON object, or what was found, and what it says."""
    if as_json:
        print(json.dumps(curvature_json(curved), indent=2, allow_nan=False))
        return
    console = PlainConsole(soft_wrap=True)
    for line in curvature_lines(curved):
        console.print(line, markup=False)


def curvature_lines(curved: CurvatureResult) -> list[str]:
    """Tr H in both ways, the quadratic radius and the index, the top eigenvalue, in words."""
    measured, lambdas = curved.measured, " and ".join(f"{lam:.3g}" for lam in curved.lambdas)
    last = measured.found.rounds[-1]
    trace = curved.products.trace
    lines = [
        _search_line(measured),
        f"R = {crossing_text(measured.found.radius, last.directions, last.windows, articles=last.articles)}",
        f"curvature on {trace.directions} directions × {windows_text(trace.windows, trace.articles)}, "
        f"L(w) = {curved.center_nll:.4f} there",
        *_quadratic_lines("by Hessian products", curved.products),
        *_quadratic_lines(f"by losses at ±λ, λ = {lambdas}", curved.pairs),
    ]
    if curved.top is not None:
        top, mean = curved.top, trace.estimate.value / measured.dimension
        lines.append(
            f"λ_max = {top.value:.4g} (residual {top.residual:.1g}, {top.products} products), "
            f"{top.value / mean:,.0f} times the mean eigenvalue Tr H/D = {mean:.3g}"
        )
    lines.append(
        f"{measured.evaluated} windows evaluated, {curved.products_taken} products of a window's Hessian, "
        f"in {duration(measured.seconds)}"
    )
    lines.append(f"cache  {measured.store}")
    return lines


def _quadratic_lines(name: str, way: Quadratic) -> list[str]:
    trace = way.trace
    line = f"{name}: Tr H = {trace.estimate.value:.4g} ± {trace.error.value:.2g} (standard error)"
    if way.radius is None or way.index is None:
        return [f"{line}: not positive, so no quadratic radius"]
    return [line, f"  R_quadratic = {_interval(way.radius)}, R/R_quadratic = {_interval(way.index)}"]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def summary_lines(landscape: SurveyResult) -> list[str]:
    """The basin in words."""
    subject, basin, split = landscape.subject, landscape.basin, landscape.verdict_split
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


def _table(landscape: SurveyResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    splits = list(landscape.center)
    table.add_column("point", no_wrap=True)
    for title in ("‖Δw‖", "/‖w‖", "ρ", *(f"NLL\n{split}" for split in splits)):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("location", no_wrap=True)
    table.add_column("loss", no_wrap=True)
    for point in landscape.points:
        table.add_row(
            point.name,
            f"{point.distance:.4g}",
            f"{point.distance / landscape.subject.norm:.3f}",
            "–" if point.rho is None else f"{point.rho.value:.2f}",
            *(f"{point.nll[split]:.3f}" for split in splits),
            point.location,
            point.loss,
        )
    return table


def near_but_steep(landscape: SurveyResult) -> list[PointResult]:
    """The points inside the basin that are not kept and whose loss rises more than that of a random step."""
    inside = [point for point in landscape.points if point.location == "inside" and point.loss != "kept"]
    return [point for point in inside if is_steep(point, landscape)]


def loss_lines(landscape: SurveyResult) -> Iterator[str]:
    """What the words of the table leave out: which points are near but steep, and which loss is left open."""
    steep = near_but_steep(landscape)
    unclear = [point for point in landscape.points if is_open(point, landscape)]
    if beyond := [point.name for point in steep if point not in unclear]:
        yield (
            f"near but steep: {', '.join(beyond)}: inside the basin, and yet the loss has risen beyond the limit, "
            "and more than along random directions"
        )
    if within := [point.name for point in steep if point in unclear]:
        yield (
            f"near but steep: {', '.join(within)}: inside the basin, and yet the loss has risen more than along "
            "random directions"
        )
    if unclear:
        yield (
            f"not shown to be kept: {', '.join(point.name for point in unclear)}: ΔL is within the limit {KEPT.text} "
            f"({KEPT.nats:.4f} nats), but its interval reaches across; more --windows may tell"
        )


def _plan(forecast: Forecast) -> str:
    if not forecast.work and not forecast.points:
        return f"nothing to evaluate: all {forecast.cached} probes are in the cache"
    todo = [f"make {', '.join(forecast.points)}"] if forecast.points else []
    if forecast.probes or forecast.cached:
        todo.append(f"evaluate about {forecast.probes} probes ({forecast.cached} are in the cache)")
    return f"to do: {'; '.join(todo)}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
