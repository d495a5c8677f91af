"""Render pages from the templates of this package, and write them whole or not at all.

Every value is escaped where a template prints it, and characters that no reader sees are written out. A value that is
HTML already says so by its type, ``Markup``; only ``landscape.report.plot`` makes such values.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from landscape.formatting import sentence
from quant.errors import ToolkitError
from quant.files.system_errors import reason
from quant.files.temporary_files import temporary_path
from quant.printable import printable


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("landscape.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,  # a misspelt name is an error, not an empty place on the page
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["sentence"] = sentence
    return found


def _shown(value: object) -> object:
    """Return a value in which nothing steers a browser: a mark of direction would turn the text that follows a name."""
    return printable(value) if type(value) is str else value


def render(template: str, **values: object) -> str:
    """Render a page.

    Args:
        template: File of ``landscape/report/templates``.
        values: By their names in the template and in ``frame.html``: ``title``, ``subject`` (sentences below the
            title), ``health`` (``HealthSummary``) and ``tables`` on every page.

    Returns:
        The page as one HTML document.
    """
    return _environment().get_template(template).render(values)


def write_text(content: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Args:
        content: Its text.
        path: The file; an older one is replaced, missing folders are made.

    Raises:
        ToolkitError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="\n")
            os.replace(temporary, path)
    except OSError as error:
        raise ToolkitError(
            f"expected to write the page {path}, got: {reason(error, path)}; choose another folder"
        ) from error
