"""One quantized point without the landscape around it: made with the same data and options, or from the cache."""

from __future__ import annotations

from dataclasses import dataclass, field

from landscape.session.forecast import forecast_of, search_forecast
from landscape.session.point_maker import PointMaker
from landscape.session.point_specs import PointSpec
from landscape.session.presets import PRESETS, Preset
from landscape.session.progress import Progress, Silent
from landscape.session.request import Request
from landscape.session.session import frozen_threads, loaded, store_of
from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.methods.rtn import rtn
from quant.point import WeightPoint


@dataclass(frozen=True, kw_only=True)
class QuantizeRequest(Request):
    """What a user asks of one point; ``data`` is what GPTQ and QAFT learn from, and RTN needs none."""

    wanted: PointSpec
    """Method and scheme."""
    gptq: GPTQOptions = PAPER_GPTQ
    """How GPTQ is run."""
    preset: Preset = field(default_factory=lambda: PRESETS["quick"])
    """Windows, lengths, steps."""


def quantize(request: QuantizeRequest, progress: Progress | None = None) -> tuple[Checkpoint, WeightPoint]:
    """Make a point as a survey of the same numbers makes it, or take it from the cache.

    Args:
        request: What to make.
        progress: Hears what is going on.

    Returns:
        The model, which holds ``w``, and the point.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model cannot be had.
        CorpusError: if the text cannot be had, or is too short.
        StoreError: if the cache cannot be written.
    """
    progress = progress or Silent()
    wanted, checkpoint = request.wanted, loaded(request, progress)
    if wanted.method == "rtn":
        progress.forecast(search_forecast(checkpoint.space, wanted))
        progress.stage(f"making {wanted.name}")
        return checkpoint, rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), wanted.scheme)
    store = store_of(request, checkpoint, progress)
    with frozen_threads(store):
        progress.stage("reading the text")
        subject = request.subject(checkpoint, request.preset, (wanted.method,), progress)
        maker = PointMaker(subject, store, request.preset, request.seed, request.gptq)
        point = maker.find(wanted)
        if point is None:
            forecast = forecast_of(subject, request.preset, [wanted], maker.searched([wanted]))
            progress.forecast(forecast)
            progress.stage(f"making {wanted.name}")
            point = maker.make(wanted, lambda share: progress.advance(share * forecast.work))
    return checkpoint, point
