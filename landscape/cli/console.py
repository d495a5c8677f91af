"""Print the result of a command for a person, on stdout; the progress on stderr is ``landscape.cli.progress``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from landscape.advice.advise import AdviceResult
from landscape.cli.next_command import after_probe, after_quantize, after_radius, after_shard
from landscape.cli.plain_console import PlainConsole
from landscape.curvature.anharmonicity import CurvatureResult
from landscape.formatting import duration
from landscape.quantize import QuantizeRequest, QuantizeResult
from landscape.radius import RadiusRequest, RadiusResult
from landscape.records.run_files import plain_name
from landscape.report.advice.json import advice_json
from landscape.report.advice.tables import READING, cost_line, decision_table
from landscape.report.advice.wording import (
    control_line,
    explanation_line,
    reason_lines,
    subject_lines,
    verdict_line,
)
from landscape.report.curvature import curvature_json, curvature_lines
from landscape.report.point import point_json, point_lines
from landscape.report.radius import radius_json, radius_lines
from landscape.report.survey.json import shard_json, to_json
from landscape.report.survey.summary import loss_lines, misalignment_lines, shard_line, summary_lines, summary_table
from landscape.report.survey.verdicts import near_but_steep
from landscape.report.work import evaluations, work_line
from landscape.session.request import Request
from landscape.survey.request import SurveyRequest
from landscape.survey.result import ShardResult, SurveyResult
from landscape.tables.tidy import Tables
from quant.printable import shell_command

PIPED_WIDTH = 120
"""Columns of a table where stdout is not a terminal, which has no width of its own."""


def page_path(folder: Path, model: str) -> Path:
    """Return the file for the page of a model: its last path component, in plain characters."""
    return folder / f"{plain_name(model)}.html"


def print_result(
    request: SurveyRequest,
    landscape: SurveyResult,
    page: Path,
    as_json: bool,
    stream: TextIO,
    run: Path | None = None,
    written: Iterable[str] = (),
) -> None:
    """Print a survey: one JSON object, or a summary, a table, where it is kept and a useful next command.

    Args:
        request: The request that was met.
        landscape: The result.
        page: The file of its page.
        as_json: Whether to print JSON.
        stream: Where to print.
        run: The file that it is kept in.
        written: Lines about other files that were written.
    """
    if as_json:
        print_json(to_json(landscape, page) | kept_json(run), stream)
        return
    console = PlainConsole(file=stream, width=None if stream.isatty() else PIPED_WIDTH)
    _print_lines(console, summary_lines(landscape))
    console.print_table(summary_table(landscape), wrapped=False)
    following = after_probe(request, landscape, bool(near_but_steep(landscape)), page.parent)
    _print_lines(console, [*loss_lines(landscape), *misalignment_lines(landscape)])
    _print_lines(console, [work_line(landscape.run.probes, landscape.run.seconds)])
    kept = [f"cache  {landscape.run.store}", *kept_lines(request, run)]
    _print_lines(console, [f"page   {page}", *written, *kept, f"next   {following}"])


def tables_line(tables: Tables, folder: Path) -> str:
    """Say which tables were written, and how long they are; those without a row are not named."""
    counts = [f"{name} {len(rows)}" for name, rows in tables.items() if rows]
    return f"csv    {folder} (rows: {', '.join(counts)})"


def kept_lines(request: Request, run: Path | None, command: str = "plot") -> list[str]:
    """Say under which name a run is kept, if it is, and which command draws it again."""
    if run is None:
        return []
    words = ["landscape", command, run.stem, *(["--store", str(request.store)] if request.store else [])]
    return [f"run    {run.stem}    # draw it again: {shell_command(words)}"]


def kept_json(run: Path | None) -> dict[str, str | None]:
    """Return the file of a run as JSON."""
    return {"run": None if run is None else str(run)}


def print_shard(request: SurveyRequest, done: ShardResult, folder: Path, as_json: bool) -> None:
    """Print what a shard did: one JSON object, or lines of text and the command that draws."""
    if as_json:
        print_json(shard_json(done))
        return
    work = [shard_line(done), work_line(done.run.probes, done.run.seconds)]
    _print_lines(PlainConsole(), [*work, f"cache  {done.run.store}", f"next   {after_shard(request, folder)}"])


def print_point(request: QuantizeRequest, made: QuantizeResult, as_json: bool) -> None:
    """Print what a point does to the weights: one JSON object, or lines of text and a useful next command."""
    assert request.export is not None  # the command line insists on it
    if as_json:
        print_json(point_json(made.checkpoint, made.point, request.export))
        return
    lines = point_lines(made.checkpoint, made.point, request.export)
    _print_lines(PlainConsole(), [*lines, f"next   {after_quantize(request)}"])


def print_radius(request: RadiusRequest, measured: RadiusResult, as_json: bool) -> None:
    """Print R: one JSON object, or R, the search for it, and a useful next command."""
    if as_json:
        print_json(radius_json(measured))
        return
    _print_lines(PlainConsole(), [*radius_lines(request, measured), f"next   {after_radius(request, measured)}"])


def print_advice(advised: AdviceResult, page: Path, following: str, as_json: bool) -> None:
    """Print the advice: one JSON object, or the table of ways and grids, and a verdict for each bit width.

    Args:
        advised: The advice.
        page: The file of its page.
        following: The command to type next.
        as_json: Whether to print JSON.
    """
    if as_json:
        print_json(advice_json(advised) | {"page": str(page)})
        return
    console = PlainConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    _print_lines(console, [*subject_lines(advised), ""])
    console.print_table(decision_table(advised))
    _print_lines(console, [READING, control_line(advised.control, advised.net), ""])
    for found in advised.advice:
        console.print(verdict_line(found, advised), markup=False, style="bold", soft_wrap=True)
        _print_lines(console, (f"    {line}" for line in reason_lines(found, advised)))
    explained = (f"{name}: {explanation_line(each)}" for name, each in advised.explanations.items())
    run = advised.run
    work = f"{evaluations(run.probes)}, in {duration(run.seconds)}"
    _print_lines(console, ["", *explained, cost_line(advised), work])
    page_line = f"page   {page}    # with recipes for other tools"
    _print_lines(console, [page_line, f"cache  {run.store}", f"next   {following}"])


def print_curvature(curved: CurvatureResult, as_json: bool) -> None:
    """Print the curvature: one JSON object, or lines of text."""
    if as_json:
        print_json(curvature_json(curved))
        return
    _print_lines(PlainConsole(), curvature_lines(curved))


def print_json(result: dict[str, Any], stream: TextIO | None = None) -> None:
    """Print one strict JSON object, without NaN and infinity."""
    print(json.dumps(result, indent=2, allow_nan=False), file=stream or sys.stdout)


def _print_lines(console: PlainConsole, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
