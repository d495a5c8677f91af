"""Declare the options of commands that answer no request: those about runs that are kept, and about the cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from landscape.cli.errors import exit_on_error

P = ParamSpec("P")

StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Cache folder.  [default: $LANDSCAPE_CACHE, else the user's]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
PIPED_WIDTH = 160
"""Columns of a table where stdout is not a terminal: names and commands are long."""


def reported(function: Callable[P, int | None]) -> Callable[P, None]:
    """Report errors as one line, and exit with the code that a command returns; it has an option ``debug``."""

    @wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        with exit_on_error(bool(options["debug"])):
            code = function(*arguments, **options)
        if code:
            raise typer.Exit(code)

    return run


def cache_root(store: Path | None) -> Path:
    """Return the cache folder that a user named, or the usual one."""
    from quant.files.cache import cache_folder

    return place(store, "--store") if store else cache_folder()


def place(path: Path, flag: str) -> Path:
    """Return a path that a user named, with the home in place of ``~``: a shell leaves it in ``--output=~/pages``."""
    from quant.files.user_path import user_path

    return user_path(path, flag)


def optional_place(path: Path | None, flag: str) -> Path | None:
    """Do as ``place`` where there is a path."""
    return None if path is None else place(path, flag)


def say(lines: Iterable[str]) -> None:
    """Print lines of text, as they are."""
    from landscape.cli.plain_console import PlainConsole

    console = PlainConsole(soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def say_tables(tables: Iterable[Any]) -> None:
    """Print tables below their captions."""
    from landscape.cli.plain_console import PlainConsole

    console = PlainConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for table in tables:
        console.print(table.caption, markup=False, soft_wrap=True)
        console.print_table(table)


def say_json(content: dict[str, Any]) -> None:
    """Print one strict JSON object."""
    print(json.dumps(content, indent=2, allow_nan=False))
