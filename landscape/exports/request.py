"""Define the request of an export: a survey, and the files to write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from landscape.session.request import FIRST, option
from landscape.session.work_shard import WorkShard
from landscape.survey.request import SurveyRequest


@dataclass(frozen=True, kw_only=True)
class ExportRequest(SurveyRequest):
    """The survey to export, which is read from the cache as far as it is there, and the files to write."""

    file: Path | None = option("--output", "-o", default=None, rank=FIRST, metavar="FILE.h5")
    """One HDF5 file with all results, which h5py and MATLAB open; its attribute README describes it."""
    surfaces: Path | None = option(default=None, rank=FIRST, metavar="DIR")
    """Folder for files that the plotting scripts of tomgoldstein/loss-landscape read, one a line or plane."""
    with_points: bool = option(default=False, rank=FIRST)
    """Write the codes and scales of the points into FILE.h5 too."""
    shard: WorkShard | None = option(default=None, hidden=True)
    """None: an export is of a whole survey."""
