"""Errors as one line on stderr and the right exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED, USAGE = 1, 2


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
        _fail(
            "interrupted; evaluated probes and finished points are kept, and the same command goes on from there; a "
            "point that was half made begins anew, QAFT after its last epoch",
            FAILED,
        )
    except ToolkitError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except Exception as error:
        if debug:
            raise
        if _out_of_memory(error):
            _fail(
                "expected enough memory, ran out of it; try a smaller --seq-len, a smaller model, or --dtype bfloat16, "
                "and leave out QAFT, which holds about five copies of the weights",
                FAILED,
            )
        # A defect of ours, or of a library: say so in one line rather than pretend that the user is to blame.
        _fail(f"unexpected {type(error).__name__}: {_first_line(error)} (--debug shows the traceback)", FAILED)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: of Python or numpy, of an accelerator, or of torch's allocator on the CPU.

    torch's own errors are told by name and words: it is not imported here, for most failures come without it.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


def tell(message: str) -> None:
    """Print an error as one line that a terminal can show, whatever names from files are in it."""
    from quant.printable import printable

    print(f"landscape: error: {printable(' '.join(message.split()))}", file=sys.stderr)


def _fail(message: str, code: int) -> None:
    tell(message)
    raise typer.Exit(code)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
