"""Judge how a parser ended: it read its input, or refused it in a sentence; all else is a fault."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quant.errors import ToolkitError
from tests.torture.parsers import Parser

ROOT = Path(__file__).resolve().parents[2]
_SHORTAGES = ("allocate memory", "Unable to allocate", "out of memory", "DefaultCPUAllocator", "bad_alloc", "malloc of")


class FaultError(Exception):
    """A parser ended in another way than by its value or by a sentence."""


def outcome(parser: Parser, value: Any) -> str:
    """Read an input; return ``read`` or ``refused``.

    Raises:
        FaultError: if it ends in an exception that is no ToolkitError, has no sentence, or hides a lack of memory.
    """
    try:
        parser.read(value)
    except ToolkitError as error:
        if len(str(error).split()) < 3:
            raise FaultError(f"{place(error)}: {type(error).__name__} without a sentence: {error!s}") from error
        for cause in _chain(error):
            if isinstance(cause, MemoryError) or any(word in str(cause) for word in _SHORTAGES):
                raise FaultError(f"{place(error)}: refused for lack of memory: {cause!s:.200}") from error
        return "refused"
    except Exception as error:
        raise FaultError(f"{place(error)}: {type(error).__name__}: {str(error)[:200]!r}") from error
    return "read"


def place(error: BaseException) -> str:
    """Return the innermost line of this package at which an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if any(f"/{room}/" in f.filename for room in ("quant", "landscape"))]
    own = [f for f in own if str(ROOT) in f.filename and "/tests/" not in f.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}" if own else "?"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
