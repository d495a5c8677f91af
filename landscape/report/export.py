"""Report what an export wrote, and how to open it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.exports.surfaces import MEAN, model_prefixes, plane_stem, surveys_of
from landscape.formatting import data_size, plural
from landscape.report.values import JSON_VERSION
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult


@dataclass(frozen=True)
class ExportedFiles:
    """The files of an export."""

    file: Path | None
    """The HDF5 file, if it was asked for."""
    with_points: bool
    """Whether it holds the weights of points."""
    folder: Path | None
    """Folder of the surfaces, if they were asked for."""
    surfaces: tuple[Path, ...]
    """The surfaces."""


def export_json(found: SurveyResult | StudyResult, files: ExportedFiles) -> dict[str, Any]:
    """Return what the JSON object of ``landscape export`` says besides its run.

    ``{schema_version, models, files, left_out: [{model, point}]}``; left_out lists points of other tools, whose weights
    an export with points lacks.
    """
    return {
        "schema_version": JSON_VERSION,
        "models": [survey.subject.model for survey in surveys_of(found)],
        "files": [str(file) for file in (*([files.file] if files.file else []), *files.surfaces)],
        "left_out": [{"model": model, "point": point} for model, point in _left_out(found, files)],
    }


def export_lines(found: SurveyResult | StudyResult, files: ExportedFiles) -> Iterator[str]:
    """Report the files, what they hold, and a line that opens them."""
    if files.file is not None:
        weights = ", with codes and scales" if files.with_points else ""
        yield f"file   {files.file} ({data_size(files.file.stat().st_size)}: {_held(found)}{weights})"
        for model, point in _left_out(found, files):
            yield f"       without the weights of {point} of {model}, which are in another tool's file"
        yield f"""open   python -c "import h5py; print(h5py.File('{files.file}').attrs['README'])\""""
    if files.folder is not None:
        yield f"files  {files.folder} ({plural(len(files.surfaces), 'surface')} for tomgoldstein/loss-landscape)"
        yield from _plots(found, files.surfaces)


def _held(found: SurveyResult | StudyResult) -> str:
    surveys = surveys_of(found)
    counts = {
        "model": len(surveys) if isinstance(found, StudyResult) else 0,
        "point": sum(len(survey.points) for survey in surveys),
        "direction": sum(len(survey.rays) for survey in surveys),
        "plane": sum(len(survey.planes) for survey in surveys),
    }
    return ", ".join(plural(count, noun) for noun, count in counts.items() if count)


def _left_out(found: SurveyResult | StudyResult, files: ExportedFiles) -> list[tuple[str, str]]:
    """List the points whose weights are not in the file though points are, with their models."""
    points = [(survey.subject.model, point) for survey in surveys_of(found) for point in survey.points]
    return [(model, point.name) for model, point in points if files.with_points and point.stored is None]


def _plots(found: SurveyResult | StudyResult, surfaces: tuple[Path, ...]) -> Iterator[str]:
    """Yield a command of the other tool for each model's mean over directions, and for its first plane."""
    for prefix, survey in zip(model_prefixes(surveys_of(found)), surveys_of(found), strict=True):
        places = {file.stem: file for file in surfaces}
        if survey.rays:
            yield f"plot   python plot_1D.py --surf_file {places[f'{prefix}{MEAN}']} --loss_max {_top(survey)}"
        if survey.planes:
            plane = places[f"{prefix}{plane_stem(survey.planes[0])}"]
            yield f"plot   python plot_2D.py --surf_file {plane} --surf_name test_loss"


def _top(survey: SurveyResult) -> int:
    """Return a whole number of nats above every loss along a direction."""
    losses = [float(nll) for ray in survey.rays for row in ray.nll.values() for nll in row if math.isfinite(nll)]
    return math.ceil(max(losses, default=survey.subject.chance))
