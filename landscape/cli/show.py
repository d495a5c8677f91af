"""Show the result of each command: write its page and its files, and print it.

Each function imports what it shows when it is called, so that ``landscape --help`` answers without torch.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.advice.request import AdviceRequest
from landscape.anatomy.request import AnatomyRequest
from landscape.curvature.request import CurvatureRequest
from landscape.quantize import QuantizeRequest
from landscape.radius import RadiusRequest
from landscape.study.request import StudyRequest
from landscape.survey.request import SurveyRequest

if TYPE_CHECKING:
    from landscape.advice.advise import AdviceResult
    from landscape.anatomy.result import AnatomyResult
    from landscape.curvature.anharmonicity import CurvatureResult
    from landscape.quantize import QuantizeResult
    from landscape.radius import RadiusResult
    from landscape.study.plan import StudyPlan
    from landscape.study.result import StudyResult
    from landscape.survey.result import ShardResult, SurveyResult


@dataclass(frozen=True)
class Output:
    """The ways of the command line to show a result."""

    folder: Path
    """Folder of the page, if there is one."""
    as_json: bool
    """Whether one JSON object is printed instead of text."""
    csv: Path | None = None
    """Folder of the tables, if they are asked for."""
    opens: bool = False
    """True to open the page in a browser."""
    figures: Path | None = None
    """Folder of the figures as files, if they are asked for."""


def show_advice(request: AdviceRequest, result: AdviceResult, output: Output) -> None:
    """Write the page of the advice, and print it."""
    from landscape.cli.console import page_path, print_advice
    from landscape.cli.next_command import after_advice
    from landscape.report.advice.page import write_advice_page

    page = page_path(output.folder, f"{request.model.rstrip('/')}-advice")
    following = after_advice(request, result)
    write_advice_page(result, page, following)
    print_advice(result, page, following, output.as_json)
    _open(page, output)


def show_survey(request: SurveyRequest, result: SurveyResult, output: Output) -> None:
    """Keep a survey, write its page and tables, and print it."""
    import sys

    from landscape.cli.console import page_path, print_result
    from landscape.cli.kept_run import keep_run
    from landscape.report.survey.page import write_page

    page, run = page_path(output.folder, request.model), keep_run(request, result)
    write_page(result, page)
    print_result(request, result, page, output.as_json, sys.stdout, run, csv_lines(result, output))
    _open(page, output)


def csv_lines(result: SurveyResult | StudyResult, output: Output) -> list[str]:
    """Write the tables of a result if they are asked for, and return the lines that say so."""
    from landscape.cli.console import tables_line
    from landscape.tables.csv_files import write_tables

    if output.csv is None:
        return []
    return [tables_line(write_tables(result, output.csv), output.csv)]


def show_shard(request: SurveyRequest, result: ShardResult, output: Output) -> None:
    """Print what a shard did; there is no page."""
    from landscape.cli.console import print_shard

    print_shard(request, result, output.folder, output.as_json)


def show_study(request: StudyRequest, result: StudyResult, output: Output) -> None:
    """Keep a study, write its page, tables and figures, and print it; end with an error if a cell failed."""
    from landscape.cli.command_line import with_commands
    from landscape.cli.kept_run import keep_study, study_name
    from landscape.cli.study_console import print_study
    from landscape.report.study.page import write_study_page

    study, page = with_commands(request, result), output.folder / f"{study_name(request)}.html"
    kept = keep_study(request, study)  # before it is drawn: what took hours must not hang on a figure
    write_study_page(study, page)
    print_study(request, study, page, kept, study_files(study, output), output.as_json)
    _open(page, output)
    _end(study.failures)


def study_files(study: StudyResult, output: Output) -> list[str]:
    """Write the tables and figures of a study that are asked for, and return the lines that say so."""
    written = csv_lines(study, output)
    if output.figures is not None:
        from landscape.report.study.files import write_figures

        count = len(write_figures(study, output.figures))
        written.append(f"files  {output.figures} ({count} files: PDF, SVG and PNG of each figure, and captions)")
    return written


def show_study_shards(request: StudyRequest, result: Any, output: Output) -> None:
    """Print what the shards of a study did; end with an error if a cell failed."""
    from landscape.cli.next_command import after_shard
    from landscape.cli.study_console import print_study_shards

    _, failures = result
    print_study_shards(result, after_shard(request, output.folder), output.as_json)
    _end(failures)


def show_plan(request: StudyRequest, result: StudyPlan, output: Output) -> None:
    """Print the plan of a study; end with an error if a cell of it failed."""
    from landscape.cli.study_console import print_plan

    print_plan(result, output.as_json)
    _end(result.failures)


def _end(failures: Sized) -> None:
    """Exit with the code of a failure if a cell of a study failed."""
    from landscape.cli.errors import FAILED

    if len(failures):
        raise SystemExit(FAILED)


def show_radius(request: RadiusRequest, result: RadiusResult, output: Output) -> None:
    """Print R."""
    from landscape.cli.console import print_radius

    print_radius(request, result, output.as_json)


def show_curvature(request: CurvatureRequest, result: CurvatureResult, output: Output) -> None:
    """Print the curvature."""
    from landscape.cli.console import print_curvature

    print_curvature(result, output.as_json)


def show_anatomy(request: AnatomyRequest, result: AnatomyResult, output: Output) -> None:
    """Keep an anatomy, write its page, and print it."""
    from landscape.cli.anatomy_console import print_anatomy
    from landscape.cli.console import page_path
    from landscape.cli.kept_run import keep_run
    from landscape.report.anatomy.page import write_anatomy_page

    page = page_path(output.folder, f"{request.model.rstrip('/')}-{result.point}-anatomy")
    run = keep_run(request, result)
    write_anatomy_page(result, page)
    print_anatomy(request, result, page, output.as_json, run)
    _open(page, output)


def _open(page: Path, output: Output) -> None:
    if output.opens:
        from landscape.cli.browser import open_or_say

        open_or_say(page)


def show_point(request: QuantizeRequest, result: QuantizeResult, output: Output) -> None:
    """Print what a point does to the weights."""
    from landscape.cli.console import print_point

    print_point(request, result, output.as_json)
