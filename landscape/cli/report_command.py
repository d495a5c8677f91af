"""Answer ``landscape report``: write page, tables and figures of a study that is kept, without its models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.commands import REPORT
from landscape.cli.own_command import (
    DebugOption,
    JsonOption,
    StoreOption,
    cache_root,
    optional_place,
    place,
    reported,
    say,
    say_json,
)
from landscape.cli.run import CSV, FIGURES, OPEN
from landscape.cli.show import Output, study_files

_PAGE = ".html"


@reported
def report(
    study: Annotated[str, typer.Argument(help="Name of a study (see `landscape cache ls`), its beginning, or a file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=f"File of the page.  [default: {REPORT}/NAME{_PAGE}]")
    ] = None,
    csv: Annotated[Path | None, typer.Option(CSV.flag, help=CSV.help, metavar=CSV.metavar)] = None,
    figures: Annotated[Path | None, typer.Option(FIGURES.flag, help=FIGURES.help, metavar=FIGURES.metavar)] = None,
    open_it: Annotated[bool, typer.Option(OPEN.flag, help=OPEN.help)] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the page of a study again, from its numbers alone: no model is loaded and nothing is evaluated.

    **Examples**

        landscape report opt-nano -o page.html --open

        landscape report opt-nano --csv tables --figures figures
    """
    from landscape.cli.run import check_folders
    from landscape.records.record import load_record
    from landscape.records.run_files import find_run
    from landscape.report.study.json import study_json
    from landscape.report.study.page import write_study_page
    from quant.errors import UsageError
    from quant.files.cache import check_writable

    path = find_run(study, cache_root(store))
    page = place(output or REPORT / f"{path.stem}{_PAGE}", "--output")
    if page.is_dir() or page.suffix != _PAGE:
        raise UsageError(f"expected a file such as page{_PAGE} as --output, got {str(page)!r}")
    check_writable(page.parent, "a file in a folder to write to as --output")
    tables, drawings = optional_place(csv, CSV.flag), optional_place(figures, FIGURES.flag)
    asked = Output(page.parent, as_json, tables, open_it, drawings)
    check_folders(asked, writes_page=False)
    record = load_record(path)
    if record.kind != "study":
        raise UsageError(f"expected a study, got {path}, which is of kind {record.kind}; try landscape plot {study}")
    write_study_page(record.result, page)
    written = study_files(record.result, asked)
    if as_json:
        say_json(study_json(record.result, page))
    else:
        say([f"page   {page}", *written, f"drawn from {path}, which this measured:", f"       {record.command}"])
    if open_it:
        from landscape.cli.browser import open_or_say

        open_or_say(page)
