"""That a folder can be written, seen before the work that fills it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from quant.errors import UsageError


def check_writable(folder: Path, wanted: str, inside: Path | None = None) -> None:
    """See that files can be made for a folder. It is made, and in it a file, which is removed at once.

    Args:
        folder: What the user named.
        wanted: What was asked for, to begin the message with: ``a folder to write to as --output``.
        inside: Where the files are made, if not in the folder itself; it is made in its place.

    Raises:
        UsageError: if it is a file or below one, or cannot be made or written.
    """
    inside = folder if inside is None else inside
    try:
        for part in (folder, *folder.parents):
            if part.exists() and not part.is_dir():
                what = "which" if part == folder else f"where {str(part)!r}"
                raise UsageError(f"expected {wanted}, got {str(folder)!r}, {what} is a file; choose another")
        inside.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=inside):
            pass
    except OSError as error:
        raise UsageError(
            f"expected {wanted}, cannot write to {str(folder)!r}: {error.strerror}; choose another"
        ) from error
