"""Print an anatomy for a person: the finding in plain words, then the tables."""

from __future__ import annotations

import sys
from pathlib import Path

from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from landscape.cli.console import PIPED_WIDTH, kept_json, kept_lines, print_json
from landscape.cli.next_command import after_anatomy
from landscape.cli.plain_console import PlainConsole
from landscape.report.anatomy.json import anatomy_json
from landscape.report.anatomy.tables import terminal_tables
from landscape.report.anatomy.wording import finding, subject_sentences
from landscape.report.work import work_line

ROWS = 8
"""Rows of a ranking that are printed; the page holds the others."""


def print_anatomy(
    request: AnatomyRequest, found: AnatomyResult, page: Path, as_json: bool, run: Path | None = None
) -> None:
    """Print an anatomy: one JSON object, or the finding, the tables, where it is kept and a useful next command."""
    if as_json:
        print_json(anatomy_json(found, page) | kept_json(run))
        return
    console = PlainConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    for sentence in (*finding(found), "", *subject_sentences(found)):
        say(sentence)
    for table in terminal_tables(found):
        say(f"\n{table.caption}")
        console.print_table(table, rows=ROWS)
        if len(table.rows) > ROWS:
            say(f"… and {len(table.rows) - ROWS} more on the page")
    say(f"\n{work_line(found.run.probes, found.run.seconds)}")
    say(f"page   {page}")
    say(f"cache  {found.run.store}")
    for line in kept_lines(request, run):
        say(line)
    say(f"next   {after_anatomy(request, found, page.parent)}")
