"""Run a command of the table: from the words to the request, to the result, to what is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Signature
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from landscape.cli.approval import approved, warn_of_excess
from landscape.cli.command_option import CommandOption
from landscape.cli.commands import REPORT, Command
from landscape.cli.dry_run import forecast_alone
from landscape.cli.errors import exit_on_error
from landscape.cli.own_command import optional_place, place, say, say_json
from landscape.cli.request_options import read_request, request_options
from landscape.cli.show import Output
from landscape.session.request import PANEL_RUN, Request
from quant.errors import UsageError

if TYPE_CHECKING:
    from landscape.session.forecast import Forecast

OUTPUT = CommandOption("output", ("--output",), Path, REPORT, "Folder for the page.", PANEL_RUN)
CSV = CommandOption(
    "csv",
    ("--csv",),
    Path,
    None,
    "Folder for tidy tables too, one .csv file each: points, rays, segments … and columns, which describes them.",
    PANEL_RUN,
    metavar="DIR",
)
FIGURES = CommandOption(
    "figures",
    ("--figures",),
    Path,
    None,
    "Folder for the figures too, each as PDF, SVG and PNG (needs the extra figures: matplotlib).",
    PANEL_RUN,
    metavar="DIR",
)
OPEN = CommandOption("open", ("--open",), bool, False, "Open the page in a browser.", PANEL_RUN)
DRY_RUN = CommandOption(
    "dry_run", ("--dry-run",), bool, False, "Only say what there is to do, with time, memory and disk.", PANEL_RUN
)
YES = CommandOption(
    "yes", ("--yes", "-y"), bool, False, "Run it though it is forecast to take over a year, or more disk than is free.",
    PANEL_RUN,
)  # fmt: skip
QUIET = CommandOption("quiet", ("--quiet", "-q"), bool, False, "Show no progress, warnings alone.", PANEL_RUN)
VERBOSE = CommandOption(
    "verbose", ("--verbose", "-v"), bool, False, "Show each stage with the time that it took.", PANEL_RUN
)
JSON = CommandOption("json", ("--json",), bool, False, "Print one JSON object instead of text.", PANEL_RUN)
DEBUG = CommandOption("debug", ("--debug",), bool, False, "Show tracebacks.", PANEL_RUN)
"""The options that belong to the command line alone."""


def command_function(command: Command) -> Callable[..., None]:
    """Return the function of a command, with a parameter for each of its options, as typer reads them."""

    def run(**values: Any) -> None:
        with exit_on_error(values["debug"]):
            _run(command, values)

    run.__name__ = command.name
    run.__signature__ = Signature([option.parameter for option in command_options(command)])  # type: ignore[attr-defined]
    return run


def command_options(command: Command) -> list[CommandOption]:
    """Return all options of a command: those of its request, then those of the command line alone."""
    asked = [option for field in request_options(command.request).values() for option in field.options]
    page = [OUTPUT, OPEN] if command.writes_page else []
    tables = [*([CSV] if command.writes_tables else []), *([FIGURES] if command.writes_figures else [])]
    forecast = [DRY_RUN] if command.forecasts else []
    approval = [YES] if command.asks else []
    return [*asked, *page, *tables, *forecast, *approval, JSON, QUIET, VERBOSE, DEBUG]


def _run(command: Command, values: Mapping[str, Any]) -> None:
    request = read_request(command.request, values)
    output = Output(
        place(values.get("output", REPORT), "--output"),
        values["json"],
        optional_place(values.get("csv"), CSV.flag),
        values.get("open", False),
        optional_place(values.get("figures"), FIGURES.flag),
    )
    verb, show, writes_page = command.answer(request)
    alone = command.forecasts and values[DRY_RUN.name]
    writes_page = writes_page and not alone
    for flag, folder in ((CSV.flag, output.csv), (FIGURES.flag, output.figures)):
        if folder is not None and not writes_page:
            raise UsageError(
                f"expected no {flag} with --shard or --dry-run, which have no numbers of their own; leave {flag} out"
            )
    if values[QUIET.name] and values[VERBOSE.name]:
        raise UsageError("expected --quiet or --verbose, got both; leave one out")
    check_folders(output, writes_page)
    from landscape.cli.progress import ConsoleProgress

    with ConsoleProgress(values[QUIET.name], values[VERBOSE.name]) as progress:
        progress.stage("loading the libraries")  # some seconds of silence otherwise
        answer = resolve_name(verb)
        if alone:
            result: Any = forecast_alone(answer, request, progress)
        else:
            result = approved(answer, request, progress, values.get(YES.name, True))
        if alone or getattr(request, DRY_RUN.name, False):
            warn_of_excess(result.seconds, result.disk, request.root, progress)
    (_show_forecast if alone else show)(request, result, output)


def _show_forecast(request: Request, forecast: Forecast, output: Output) -> None:
    from landscape.report.work import forecast_json, forecast_lines

    if output.as_json:
        say_json(forecast_json(forecast))
    else:
        say(forecast_lines(forecast))


def check_folders(output: Output, writes_page: bool) -> None:
    """Check that what is asked for can be written, before the work."""
    from quant.files.cache import check_writable

    if writes_page:
        check_writable(output.folder, "a folder to write to as --output")
    if output.csv is not None:
        check_writable(output.csv, "a folder to write to as --csv")
    if output.figures is not None:
        from landscape.report.mpl_chart import require_matplotlib

        require_matplotlib()
        check_writable(output.figures, "a folder to write to as --figures")
