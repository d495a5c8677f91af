"""Read files piece by piece, unpacked, up to a limit: a file of a megabyte may unpack to as many as memory holds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from quant.errors import CorpusError, UsageError
from quant.files.system_errors import reason

ENVIRONMENT_VARIABLE = "LANDSCAPE_TEXT_BYTES"
LARGEST = 2**30
"""Bytes of a text that are read unless the user raises it: twice the training split of WikiText-103. To tokenize a text
takes some ten times as much memory."""
_PIECE = 2**20


def _zstd(path: Path) -> AbstractContextManager[Any]:
    import pyarrow  # type: ignore[import-untyped]  # comes with datasets; few files need it

    stream: AbstractContextManager[Any] = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
    return stream


_OPENERS: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
    "": lambda path: path.open("rb"),
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
    ".zst": _zstd,
}
PACKED = tuple(_OPENERS)
"""Endings that say how a file is packed; the first is that of files that are not."""


def text_limit() -> int:
    """Return the largest size of a text in bytes: ``$LANDSCAPE_TEXT_BYTES``, else ``LARGEST``.

    Raises:
        UsageError: if the variable is no number of bytes.
    """
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if not given:
        return LARGEST
    if not (given.isascii() and given.isdigit() and len(given) < 20 and int(given)):
        raise UsageError(f"expected a number of bytes in {ENVIRONMENT_VARIABLE}, such as {LARGEST}, got {given[:40]!r}")
    return int(given)


def too_long(path: Path, most: int) -> CorpusError:
    """Return the error that refuses a text of more than ``most`` bytes."""
    return CorpusError(
        f"expected a text of at most {most} bytes, unpacked, {path} has more; use a part of it, or set "
        f"{ENVIRONMENT_VARIABLE} to more bytes if you trust it"
    )


def read_unpacked(path: Path, most: int, limit: int | None = None) -> bytes:
    """Return the content of a file, unpacked as its ending says.

    Args:
        path: The file.
        most: Most bytes to take; of a longer file, no more than these are ever held.
        limit: The limit that the error names, for a file that is a part of a text; None for ``most``.

    Raises:
        CorpusError: if it is longer, or cannot be read.
    """
    packed = next((p for p in PACKED if p and path.name.lower().endswith(p)), "")
    pieces, size = [], 0
    try:
        if not packed and path.stat().st_size > most:
            raise too_long(path, limit or most)
        with _OPENERS[packed](path) as stream:
            while piece := stream.read(min(_PIECE, most - size + 1)):
                size += len(piece)
                if size > most:
                    raise too_long(path, limit or most)
                pieces.append(piece)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
        raise CorpusError(f"expected a readable {path.suffix} file at {path}, got: {reason(error, path)}") from error
    return b"".join(pieces)
