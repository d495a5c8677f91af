"""Errors as one line on stderr and the right exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED = 1


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """Turn what goes wrong inside into one line and an exit code: 1 failed, 2 usage.

    Args:
        debug: Let the exception through, with its traceback.
    """
    from quant.errors import ToolkitError

    try:
        yield
    except KeyboardInterrupt:
        _fail("interrupted; what was evaluated is kept, and the same command goes on from there", FAILED)
    except ToolkitError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except MemoryError:
        if debug:
            raise
        _fail("expected enough memory, ran out of it; try fewer --seq-len tokens or a smaller model", FAILED)
    except Exception as error:
        if debug:
            raise
        # A defect of ours, or of a library: say so in one line rather than pretend that the user is to blame.
        _fail(f"unexpected {type(error).__name__}: {_first_line(error)} (--debug shows the traceback)", FAILED)


def _fail(message: str, code: int) -> None:
    print(f"landscape: error: {' '.join(message.split())}", file=sys.stderr)
    raise typer.Exit(code)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
