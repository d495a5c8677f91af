"""What a person sees of an anatomy: the finding in plain words, then the tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.table import Table as Drawn

from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from landscape.cli.console import PIPED_WIDTH, work_line
from landscape.cli.next_command import after_anatomy
from landscape.cli.plain_console import PlainConsole
from landscape.report.anatomy.schema import anatomy_json
from landscape.report.anatomy.tables import (
    clipping_table,
    group_table,
    parts_table,
    plan_table,
    restoration_table,
    waterfall_table,
)
from landscape.report.anatomy.wording import finding, subject_sentences
from landscape.report.survey.tables import Table

ROWS = 8
"""Of a ranking; the page holds the others."""


def print_anatomy(request: AnatomyRequest, found: AnatomyResult, page: Path, as_json: bool) -> None:
    """Print an anatomy: one JSON object, or the finding, the tables and the next command worth typing."""
    if as_json:
        print(json.dumps(anatomy_json(found, page), indent=2, allow_nan=False))
        return
    console = PlainConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    for sentence in (*finding(found), "", *subject_sentences(found)):
        say(sentence)
    tables = [waterfall_table(found), parts_table(found)]
    tables += [group_table(found, grouping) for grouping in found.anatomy.groups]
    tables += [clipping_table(found), restoration_table(found), plan_table(found)]
    for table in tables:
        if table.rows:
            say(f"\n{table.caption}")
            console.print(_drawn(table))
            if len(table.rows) > ROWS:
                say(f"… and {len(table.rows) - ROWS} more on the page")
    say(f"\n{work_line(found.probes, found.seconds)}")
    say(f"page   {page}")
    say(f"cache  {found.store}")
    say(f"next   {after_anatomy(request, found, page.parent)}")


def _drawn(table: Table) -> Drawn:
    drawn = Drawn(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if index in table.text else "right", overflow="fold")
    for row in table.rows[:ROWS]:
        drawn.add_row(*row)
    return drawn
