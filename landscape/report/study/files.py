"""Write the figures of a study as files for papers and slides: PDF, SVG and PNG, through matplotlib."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from landscape.report.chart import Chart, Missing
from landscape.report.mpl_chart import render, require_matplotlib
from landscape.report.study.figures import charts
from landscape.study.result import StudyResult
from quant.errors import ToolkitError
from quant.files.system_errors import reason
from quant.files.temporary_files import temporary_path

CAPTIONS = "captions.md"
"""File with titles, captions and what was not drawn."""


def write_figures(study: StudyResult, folder: Path) -> list[Path]:
    """Write every figure as PDF, SVG and PNG, and one text with the captions; the same bytes for the same study.

    Args:
        study: The study.
        folder: Where to; it is made where it is missing. Older files of the same names are replaced.

    Returns:
        The files, in the order of the page.

    Raises:
        UsageError: if matplotlib is not installed.
        ToolkitError: if a file cannot be written.
    """
    require_matplotlib()
    found, written = list(charts(study)), []
    for chart in found:
        if isinstance(chart, Chart):
            for kind, content in render(chart).items():
                written.append(_write(folder / f"{chart.id}.{kind}", content))
    return [*written, _write(folder / CAPTIONS, captions(found).encode())]


def captions(found: Iterable[Chart | Missing]) -> str:
    """Return title, caption and notes of each figure, and why those that are missing are not drawn, as Markdown."""
    parts = []
    for chart in found:
        if isinstance(chart, Missing):
            parts.append(" ".join([f"## {chart.id}\n\nNot drawn ({chart.title}): {chart.reason}", *chart.notes]))
        else:
            parts.append(" ".join([f"## {chart.id}\n\n**{chart.title}.** {chart.caption}", *chart.notes]))
    return "\n\n".join(parts) + "\n"


def _write(path: Path, content: bytes) -> Path:
    """Write a file, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_path(path) as temporary:
            temporary.write_bytes(content)
            os.replace(temporary, path)
    except OSError as error:
        raise ToolkitError(
            f"expected to write the figure {path}, got: {reason(error, path)}; choose another folder"
        ) from error
    return path
