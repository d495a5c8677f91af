"""Export a survey: find its results, which the cache holds as far as they were probed before, and write the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from landscape.exports.portable import export_hdf5
from landscape.exports.request import ExportRequest
from landscape.exports.surfaces import export_surfaces
from landscape.exports.weights import ModelPoints
from landscape.session.progress import Progress, Silent
from landscape.session.session import Session
from landscape.survey.probe import SurveyRun
from landscape.survey.result import SurveyResult
from quant.cache import check_writable
from quant.errors import UsageError


@dataclass(frozen=True, eq=False)
class ExportResult:
    """An exported survey and its files."""

    survey: SurveyResult
    files: tuple[Path, ...]
    """The files that were written."""


def export(request: ExportRequest, progress: Progress | None = None) -> ExportResult:
    """Write a survey into files that other programs open; what the cache lacks is probed first.

    Args:
        request: The survey, and the files.
        progress: Receives reports.

    Raises:
        UsageError: if the request cannot be met as it is, or a file cannot be written there.
        CheckpointError: if the model is not available, or no better than chance on the data.
        CorpusError: if the text is not available, or too short.
        StoreError: if the cache or a file cannot be written.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from landscape import PRESETS, ExportRequest, export
        >>> few = {"train_windows": 2, "validation_windows": 2, "test_windows": 2, "seq_len": 32, "alphas": 3}
        >>> small = replace(PRESETS["quick"], **few)
        >>> file = Path(mkdtemp()) / "opt-nano.h5"
        >>> request = ExportRequest("opt-nano", bits=(2,), methods=("rtn",), directions=2, preset=small, file=file)
        >>> [path.name for path in export(request).files]
        ['opt-nano.h5']
    """
    _check_targets(request)
    progress = progress or Silent()
    with _found(request, progress) as (survey, points):
        progress.stage("writing")
        files: tuple[Path, ...] = ()
        if request.file is not None:
            export_hdf5(survey, request.file, points if request.with_points else None)
            files += (request.file,)
        if request.surfaces is not None:
            files += export_surfaces(survey, request.surfaces)
    return ExportResult(survey, files)


@contextmanager
def _found(request: ExportRequest, progress: Progress) -> Iterator[tuple[SurveyResult, Mapping[str, ModelPoints]]]:
    """Yield the results and the points by model: the one place that knows where they come from.

    A run that was recorded is read here in place of the survey, once an export may name one; its points are in the
    store under their labels.
    """
    with Session.open(request, progress) as session:
        survey = SurveyRun(request, session).run()
        points = {spec.name: point for spec, point in session.points.items()}
        yield survey, {survey.subject.model: ModelPoints(session.subject.space, points)}


def _check_targets(request: ExportRequest) -> None:
    """Check that there is something to write and that it can be written, before the work."""
    if request.file is None and request.surfaces is None:
        raise UsageError("expected a file to write, got none; add --output FILE.h5, or --surfaces DIR")
    if request.file is None and request.with_points:
        raise UsageError("expected --output FILE.h5 with --with-points, which go into that file, got none; add it")
    if request.shard is not None:
        raise UsageError(f"expected a whole survey to export, got shard {request.shard}; leave it out")
    if request.file is not None:
        if request.file.is_dir():
            raise UsageError(f"expected a file as --output, got the folder {str(request.file)!r}; add a name to it")
        check_writable(request.file.parent, "a file in a folder to write to as --output")
    if request.surfaces is not None:
        check_writable(request.surfaces, "a folder to write to as --surfaces")
