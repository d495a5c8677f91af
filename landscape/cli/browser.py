"""Open a page in the user's browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from quant.printable import printable

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
"""Variables without which a browser on Linux would be one of text, which takes the terminal."""


def open_page(page: Path) -> str | None:
    """Open a page; return None, or the reason why it was not opened, in one line.

    Args:
        page: The file.
    """
    windowed = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in _DISPLAYS)
    try:
        if windowed and webbrowser.open(page.resolve().as_uri()):
            return None
    except (webbrowser.Error, OSError) as error:
        return f"no browser opened: {error}; open {page} yourself"
    return f"no browser opened: {'none was found' if windowed else 'there is no display'}; open {page} yourself"


def open_or_say(page: Path) -> None:
    """Open a page, or say on stderr in a line why it was not opened."""
    if (reason := open_page(page)) is not None:
        print(f"landscape: {printable(reason)}", file=sys.stderr)
