"""Print a study for a person: a table per model, what failed, and where the page lies."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from landscape.cli.console import PIPED_WIDTH, kept_json, kept_lines, print_json
from landscape.cli.plain_console import PlainConsole
from landscape.formatting import duration
from landscape.report.study.json import plan_json, shards_json, study_json
from landscape.report.study.summary import failure_lines, model_lines, perplexity_table, plan_lines, plan_table
from landscape.report.survey.summary import shard_line
from landscape.report.work import work_line
from landscape.study.plan import StudyPlan
from landscape.study.request import StudyRequest
from landscape.study.result import FailedCell, StudyResult
from landscape.survey.result import ShardResult


def print_study(
    request: StudyRequest, study: StudyResult, page: Path, kept: Path | None, written: Iterable[str], as_json: bool
) -> None:
    """Print a study: one JSON object, or a table per model, what failed, and what was written.

    Args:
        request: The request that was met.
        study: The result.
        page: The file of its page.
        kept: The file that it is kept in, if it is.
        written: Lines about other files that were written.
        as_json: Whether to print JSON.
    """
    if as_json:
        print_json(study_json(study, page) | kept_json(kept))
        return
    console = _console()
    for model in study.models:
        _say(console, *model_lines(model))
        console.print_table(perplexity_table(model.survey), wrapped=False)
        _say(console, work_line(model.survey.run.probes, model.survey.run.seconds), "")
    _say(console, *failure_lines(study.failures), f"the study took {duration(study.seconds)}")
    _say(console, f"page   {page}", *written, *kept_lines(request, kept, "report"))


def print_study_shards(
    done: tuple[tuple[ShardResult, ...], tuple[FailedCell, ...]], following: str, as_json: bool
) -> None:
    """Print what one shard of each model did: one JSON object, or lines of text and the command that draws."""
    shards, failures = done
    if as_json:
        print_json(shards_json(shards, failures))
        return
    console = _console()
    for shard in shards:
        _say(console, shard_line(shard), work_line(shard.run.probes, shard.run.seconds))
    _say(console, *failure_lines(failures), f"next   {following}")


def print_plan(plan: StudyPlan, as_json: bool) -> None:
    """Print the cost of a study: one JSON object, or a table per model."""
    if as_json:
        print_json(plan_json(plan))
        return
    console = _console()
    for model in plan.models:
        console.print_table(plan_table(model), wrapped=False)
        _say(console, "")
    _say(console, *failure_lines(plan.failures), *plan_lines(plan))


def _console() -> PlainConsole:
    return PlainConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH)


def _say(console: PlainConsole, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
