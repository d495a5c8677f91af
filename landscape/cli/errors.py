"""Report errors as one line on stderr, with the right exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from landscape.cli.signals import say_interrupted
from quant import interruption

FAILED, USAGE = 1, 2
_SYSTEM = (
    errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO,
    errno.ENOTDIR, errno.ESTALE, errno.EMFILE, errno.ENFILE,
)  # fmt: skip
_KINDS = {"int_parsing": "a whole number", "float_parsing": "a number"}


@contextmanager
def exit_on_error(debug: bool) -> Iterator[None]:
    """Turn an exception into one line and an exit code: 1 failed, 2 usage, 130, 143 or 129 ended by a signal.

    Args:
        debug: Let the exception through, with its traceback.
    """
    from quant.errors import ToolkitError, is_panic

    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(say_interrupted()) from None
    except ToolkitError as error:
        _exit_if_interrupted(error)
        if debug:
            raise
        _exit(str(error), error.exit_code)
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        _exit_if_interrupted(error)
        if debug:
            raise
        if _out_of_memory(error):
            _exit(
                "expected enough memory, ran out of it; try a smaller --seq-len, a smaller model, or --dtype bfloat16, "
                "and leave out QAFT, which holds about six float32 copies of the weights",
                FAILED,
            )
        if (said := _refused_by_system(error)) is not None:
            _exit(said, FAILED)
        # A defect of ours, or of a library: say so in one line rather than pretend that the user is to blame.
        _exit(f"unexpected {type(error).__name__}: {_first_line(error)} (--debug shows the traceback)", FAILED)


def print_error(message: str) -> None:
    """Print an error as one line that a terminal can show, whatever names from files are in it."""
    from quant.printable import printable

    print(f"landscape: error: {printable(' '.join(message.split()))}", file=sys.stderr)


def print_warning(message: str) -> None:
    """Print a warning as one line, as ``print_error`` does."""
    from quant.printable import printable

    print(f"landscape: warning: {printable(' '.join(message.split()))}", file=sys.stderr)


def refusal(error: typer.TyperException) -> str:
    """Describe in one line what typer refuses: what was expected, what was given, what to do.

    Args:
        error: As typer raises it. Only its base class is public: its kind shows in the attributes that it has.
    """
    option = next(iter(getattr(getattr(error, "param", None), "opts", ())), None)
    unknown, near = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else ""  # typer does not know it where a value is missing
    if option is not None and (refused := _refused_value(error)):
        expected, came = refused
        return f"expected {expected} as {option}, got {came}"
    if option is not None and not error.message:
        return f"expected {option}, which {path} needs, got none; see {path} --help"
    if near is not None:
        hint = f"did you mean {' or '.join(near)}?" if near else f"see {path} --help"
        return f"expected an option of {path}, got {unknown}; {hint}"
    message = error.format_message().rstrip(".")
    hint = f"; see {path} --help" if path and not message.endswith("?") else ""
    return f"{message[:1].lower()}{message[1:]}{hint}"


def _refused_value(error: typer.TyperException) -> tuple[str, str] | None:
    """Return what a value should have been, and the value that was given; None if typer refuses something else.

    typer checks values by pydantic, whose error it chains to its own. It holds the value and the bound.
    """
    details = getattr(error.__cause__, "errors", None)
    if details is None:
        return None
    problem = details()[0]
    if problem["type"] == "greater_than_equal":
        return f"at least {problem['ctx']['ge']}", str(problem["input"])
    if problem["type"] in _KINDS:
        return _KINDS[problem["type"]], repr(problem["input"])
    return None


def _out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: of Python or numpy, of an accelerator, or of torch's allocator on the CPU.

    torch's own errors are known by name and words: it is not imported here, for most failures come without it.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


def _refused_by_system(error: BaseException) -> str | None:
    """Return what the system refused, of a file and for a reason that no program causes; None for other errors."""
    from quant.files.system_errors import is_forbidden, reason

    if not isinstance(error, OSError) or error.errno not in _SYSTEM or error.filename is None:
        return None
    place = Path(os.fsdecode(error.filename))
    advice = "ask its owner for access, or name another" if is_forbidden(error) else "check the path and the disk"
    return f"cannot use {place}: {reason(error, place)}; {advice}"


def _exit_if_interrupted(error: BaseException) -> None:
    """Exit as after a signal if one came: a library may have made another error of it, such as one of an import."""
    from quant.errors import StoreError

    if interruption.received() is not None:
        raise typer.Exit(say_interrupted(str(error) if isinstance(error, StoreError) else None)) from None


def _exit(message: str, code: int) -> None:
    print_error(message)
    raise typer.Exit(code)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")
