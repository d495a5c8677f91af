"""Answer ``landscape plot``: draw the page of a run that is kept, without its model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.commands import REPORT
from landscape.cli.own_command import DebugOption, JsonOption, StoreOption, cache_root, place, reported, say, say_json
from landscape.cli.run import OPEN

WRITERS = {
    "survey": "landscape.report.survey.page:write_page",
    "anatomy": "landscape.report.anatomy.page:write_anatomy_page",
    "study": "landscape.report.study.page:write_study_page",
}
"""Writers of pages by kind of run, ``module:name``; each takes the result and the path of the page."""


@reported
def plot(
    run: Annotated[str, typer.Argument(help="Name of a run (see `landscape cache ls`), its beginning, or a file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page.")] = REPORT,
    open_it: Annotated[bool, typer.Option(OPEN.flag, help=OPEN.help)] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw the page of a run again, from its numbers alone: no model is loaded and nothing is evaluated.

    **Examples**

        landscape plot survey-opt-nano --open
    """
    from pkgutil import resolve_name

    from landscape.records.record import load_record
    from landscape.records.run_files import find_run
    from quant.errors import UsageError
    from quant.files.cache import check_writable

    path = find_run(run, cache_root(store))
    record = load_record(path)
    if record.kind not in WRITERS:
        raise UsageError(f"expected a run of {' or '.join(WRITERS)}, got {path}, which is of {record.kind}")
    output = place(output, "--output")
    check_writable(output, "a folder to write to as --output")
    page = output / f"{path.stem}.html"
    resolve_name(WRITERS[record.kind])(record.result, page)
    if as_json:
        say_json({"run": str(path), "kind": record.kind, "command": record.command, "page": str(page)})
    else:
        say([f"page   {page}", f"drawn from {path}, which this measured:", f"       {record.command}"])
    if open_it:
        from landscape.cli.browser import open_or_say

        open_or_say(page)
