"""Report what an export wrote, and how to open it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from landscape.exports.export import ExportResult
from landscape.exports.request import ExportRequest
from landscape.exports.surfaces import MEAN
from landscape.formatting import data_size, plural
from landscape.report.values import JSON_VERSION
from landscape.report.work import work_line


def export_json(result: ExportResult) -> dict[str, Any]:
    """Return the JSON object of ``landscape export``: ``{schema_version, model, files, probes, seconds, store}``."""
    run = result.survey.run
    return {
        "schema_version": JSON_VERSION,
        "model": result.survey.subject.model,
        "files": [str(file) for file in result.files],
        "probes": asdict(run.probes),
        "seconds": round(run.seconds, 3),
        "store": run.store,
    }


def export_lines(request: ExportRequest, result: ExportResult) -> Iterator[str]:
    """Report the files, what they hold, and a line that opens them."""
    survey, run = result.survey, result.survey.run
    yield work_line(run.probes, run.seconds)
    if request.file is not None:
        held = f"{plural(len(survey.points), 'point')}, {plural(len(survey.rays), 'direction')}"
        held += f", {plural(len(survey.planes), 'plane')}" if survey.planes else ""
        weights = ", with codes and scales" if request.with_points else ""
        yield f"file   {request.file} ({data_size(request.file.stat().st_size)}: {held}{weights})"
        yield f"""open   python -c "import h5py; print(h5py.File('{request.file}').attrs['README'])\""""
    if request.surfaces is not None:
        count = len(result.files) - (request.file is not None)
        yield f"files  {request.surfaces} ({plural(count, 'surface')} for tomgoldstein/loss-landscape)"
        losses = [float(nll) for ray in survey.rays for row in ray.nll.values() for nll in row if math.isfinite(nll)]
        top = math.ceil(max(losses, default=survey.subject.chance))
        yield f"plot   python plot_1D.py --surf_file {request.surfaces / MEAN}.h5 --loss_max {top}"
        if survey.planes:
            plane = next(file for file in result.files if file.stem.startswith("plane_"))
            yield f"plot   python plot_2D.py --surf_file {plane} --surf_name test_loss"
    yield f"cache  {run.store}"
