"""Read the path that a user gave, and refuse in a sentence one that no file can have."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from quant.errors import UsageError

_SHOWN = 60  # characters of a path that is too long for the system
_WINDOWS = re.compile(r"^[A-Za-z]:[\\/]|\\")
_IMPOSSIBLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ)


def user_path(given: str | Path, what: str) -> Path:
    """Return a path with the user's home in place of ``~``; nothing need be there.

    Args:
        given: The words of the user.
        what: The option or variable that they were given as, for the message.

    Raises:
        UsageError: if no file can have this path, or the home is unknown.
    """
    text = str(given)
    if not text:
        raise UsageError(f"expected a path or a name as {what}, got an empty text")
    try:
        path = Path(given).expanduser()
        os.stat(path)
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            raise UsageError(
                f"expected a path as {what}, got {_shown(text)}, which the system refuses: {error.strerror}; give "
                "another"
            ) from error
    except RuntimeError as error:  # from expanduser
        raise UsageError(
            f"expected a path as {what}, got {_shown(text)}: {str(error).rstrip('.')}; write it out"
        ) from error
    except ValueError as error:  # NUL, or half a surrogate pair
        raise UsageError(f"expected a path as {what}, got {_shown(text)}, which no file can have: {error}") from error
    return path


def of_windows(text: str) -> str:
    """Return a sentence on a path in the form of Windows, for the message that there is nothing; else an empty text."""
    if not _WINDOWS.search(text):
        return ""
    advice = "" if os.name == "nt" else "; write it as this system does, with /, such as /mnt/c/... in WSL"
    return f"there is no such file or folder, and it looks like a path of Windows{advice}"


def _shown(text: str) -> str:
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return repr(short) + (f" of {len(text)} letters" if len(text) > _SHOWN else "")
