"""Make one quantized point without the landscape around it, or read it from the cache, and export it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.session.point_methods import GRID_METHODS, listed
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import LAST, PointRequest, option

if TYPE_CHECKING:
    from landscape.session.progress import Progress
    from quant.checkpoints.checkpoint import Checkpoint
    from quant.point import WeightPoint


@dataclass(frozen=True, kw_only=True)
class QuantizeRequest(PointRequest):
    """The point to make, and the folder for its export; RTN alone needs no ``data``."""

    export: Path | None = option("--export", "-o", default=None, required=True)
    """New folder for the quantized model."""
    method: str = option(default="gptq", choices=listed(GRID_METHODS, "or"))
    """Quantization method."""
    preset: Preset = option(
        factory=lambda: PRESETS["quick"],
        rank=LAST,
        numbers=("seq_len", "calibration_windows", "qaft_examples", "qaft_epochs", "qaft_rates"),
    )
    """quick, standard or paper: gives the numbers under "Set by --preset" that you do not."""


@dataclass(frozen=True, eq=False)
class QuantizeResult:
    """A point and its model."""

    checkpoint: Checkpoint
    """The model, which holds w."""
    point: WeightPoint


def quantize(request: QuantizeRequest, progress: Progress | None = None) -> QuantizeResult:
    """Make the point that a survey with the same numbers makes, or read it from the cache; export it if requested.

    Args:
        request: The point to make.
        progress: Receives reports.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model is not available.
        CorpusError: if the text is not available, or too short.
        StoreError: if the cache cannot be written.
        ToolkitError: if the export cannot be written.

    Example:
        >>> from landscape import QuantizeRequest, quantize
        >>> result = quantize(QuantizeRequest("opt-nano", bits=4, method="rtn"))
        >>> result.point.name
        'rtn-int4-exact'
    """
    from landscape.session.progress import Silent
    from quant.checkpoints.export import check_target, export_point

    progress = progress or Silent()
    if request.export is not None:
        check_target(request.export)
    result = _rounded(request, progress) if request.method == "rtn" else _made(request, progress)
    if request.export is not None:
        progress.stage(f"writing {request.export}")
        export_point(result.checkpoint, result.point, request.export)
    return result


def _rounded(request: QuantizeRequest, progress: Progress) -> QuantizeResult:
    """Round to nearest, which needs neither a text nor a store."""
    from landscape.session.forecast import search_forecast
    from landscape.session.opening import load_model
    from quant.center import Center
    from quant.methods.rtn import rtn

    spec, checkpoint = request.spec, load_model(request, progress)
    progress.forecast(search_forecast(checkpoint, spec))
    progress.stage(f"making {spec.name}")
    center = Center.of(checkpoint.model, checkpoint.space)
    return QuantizeResult(checkpoint, rtn(checkpoint.space, center, spec.scheme))


def _made(request: QuantizeRequest, progress: Progress) -> QuantizeResult:
    from landscape.session.forecast import forecast_of
    from landscape.session.session import Session

    spec = request.spec
    with Session.open(request, progress) as session:
        if session.find(spec) is None:
            progress.forecast(forecast_of(session.subject, request.preset, [spec], session.maker.searched([spec])))
        return QuantizeResult(session.subject.checkpoint, session.point(spec))
