"""One quantized point without the landscape around it: made with the same data and options, or from the cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from landscape.forecast import Forecast, disk_growth, forward_seconds, peak_memory, point_work
from landscape.opened import frozen_threads
from landscape.points import PointMaker
from landscape.presets import PRESETS, Preset
from landscape.progress import Progress, Silent
from landscape.store import Store
from landscape.subject import default_corpus, prepare
from landscape.wanted import TRAINED, Made
from quant.cache import cache_folder
from quant.center import Center
from quant.checkpoint import Checkpoint, load_checkpoint
from quant.gptq import PAPER, GPTQOptions
from quant.point import WeightPoint
from quant.rtn import rtn


@dataclass(frozen=True)
class Quantization:
    """What a user asks for."""

    wanted: Made
    """Method and scheme."""
    model: str = "opt-nano"
    """Name, alias, folder or file: see ``quant.checkpoint``."""
    data: str | None = None
    """Corpus that GPTQ and QAFT learn from; RTN needs none."""
    gptq: GPTQOptions = PAPER
    """How GPTQ is run."""
    preset: Preset = field(default_factory=lambda: PRESETS["quick"])
    """Windows, lengths, steps."""
    seed: int = 0
    """Of the windows, and the order of QAFT's examples."""
    dtype: str = "float32"
    device: str = "cpu"
    store: Path | None = None
    """Cache folder; None for the user's."""


def quantize(request: Quantization, progress: Progress | None = None) -> tuple[Checkpoint, WeightPoint]:
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
    progress.stage("loading the model")
    root, wanted = request.store or cache_folder(), request.wanted
    checkpoint = load_checkpoint(request.model, dtype=request.dtype, device=request.device, cache=root)
    if wanted.method == "rtn":
        progress.stage(f"making {wanted.name}")
        return checkpoint, rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), wanted.scheme)
    store = Store(root, checkpoint.fingerprint, request.dtype, warn=progress.warn)
    with frozen_threads(store):
        progress.stage("reading the text")
        data = request.data or default_corpus(request.model)
        subject = prepare(checkpoint, data, request.preset, (wanted.method,), request.seed, root)
        maker = PointMaker(subject, store, request.preset, request.seed, request.gptq)
        point = maker.find(wanted)
        if point is None:
            work = point_work(wanted.method, wanted.scheme.bits, request.preset, len(subject.windows["validation"]))
            memory = peak_memory(
                subject.space.dimension, subject.seq_len * subject.vocabulary, trains=wanted.method in TRAINED
            )
            seconds = work * forward_seconds(subject.model, subject.windows["validation"][0].tokens)
            disk = disk_growth(subject.space.dimension, 1, 0)
            progress.forecast(Forecast(0, 0, (wanted.name,), work, seconds, memory, disk))
            progress.stage(f"making {wanted.name}")
            point = maker.make(wanted, lambda share: progress.advance(share * work))
    return checkpoint, point
