"""Forecast the cost of a run, from one measured forward pass and the sizes of its points."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Collection, Container
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.probing.plan import Probe
from landscape.session.memory import check_run, evaluation_need, largest, making_need, peak, rounding_need, walk_need
from landscape.session.point_methods import find_method, point_work
from landscape.session.point_specs import MadeSpec, PointSpec
from landscape.session.presets import Preset
from landscape.session.subject import Subject
from quant.checkpoints.checkpoint import Checkpoint
from quant.nll import batch_nll
from quant.scheme import QuantScheme
from quant.space import WeightSpace

# Seconds that a search for scales takes on one thread, within a factor of two, measured on opt-nano (2 to 8 bits;
# tensor, channel, groups of 7, 32 and 128) and on the first block of SmolLM2-135M; absmax takes none.
SORT = 1.5e-7  # per weight: to sort the weights and sum them from the largest down
EXACT, EXACT_GROWTH = 1.5e-4, 0.7  # per scale, and its power of the number of positive codes
SCAN = 3e-7  # per weight: to try some hundred scales
HISTOGRAM_WALK = 1e-3  # per scale: the observer's greedy search, in Python
_FLOAT, _CODE, _ROW = 4, 1, 64  # bytes of a float32 weight, an int8 code, a stored probe or layer-wise error


@dataclass(frozen=True)
class Forecast:
    """Cost of a run, estimated before it starts."""

    probes: int
    """Probes to evaluate."""
    cached: int
    """Probes that the store already holds, of those that the run is known to need so far."""
    points: tuple[str, ...]
    """Names of the points to make."""
    work: float
    """Total work, in forward passes of one window."""
    seconds: float
    """Wall time; 0 if nothing is left to do."""
    searching: float
    """Part of ``seconds`` that the search for scales takes; ``work`` does not count it."""
    memory: int
    """Peak memory of the process on the host, in bytes."""
    disk: int
    """Growth of the store, in bytes."""
    device_memory: int = 0
    """Peak memory on the model's device, in bytes; 0 if that is the host."""
    layer_errors: int = 0
    """Layer-wise errors to measure."""


@dataclass(frozen=True)
class Walks:
    """Walks through the model that measure layer-wise errors."""

    work: float
    """Forward passes of one window that take as long."""
    windows: int
    """Windows of the walk with the most of them; 0 for no walk."""
    rows: int
    """Errors to store."""


NO_WALKS = Walks(0.0, 0, 0)


def forecast_of(
    subject: Subject,
    preset: Preset,
    new: Collection[MadeSpec],
    searched: Collection[QuantScheme],
    *,
    probes: int = 0,
    passes: float | None = None,
    batch: int = 1,
    compared: int = 0,
    needed: Collection[Probe] = (),
    known: Container[Probe] = (),
    walks: Walks = NO_WALKS,
) -> Forecast:
    """Forecast the cost of a run; forward passes are measured if there is work to do.

    Points are made one window at a time, whatever the batch of the evaluation.

    Args:
        subject: The model and its windows.
        preset: The numbers that points are made with.
        new: The points to make.
        searched: The grids of these points whose scales must be searched for.
        probes: Approximate number of probes to evaluate.
        passes: Number of whole forward passes that they take, where probes share blocks; None for one each.
        batch: Number of windows in a forward pass of the evaluation.
        compared: Number of windows on which predictions are compared with those at w.
        needed: The distinct probes that the run is known to need so far.
        known: The probes that the store holds, whether the run needs them or not.
        walks: The walks that measure layer-wise errors.

    Raises:
        UsageError: if the run cannot fit in the memory that is left on the host or on the model's device, or a float
            format does not fit the matrices.
    """
    for made in new:
        if made.scheme is not None:
            made.scheme.check_fits(subject.space)
    need = largest(
        [
            evaluation_need(subject, batch, compared),
            *(making_need(subject, made, len(subject.calibration.windows)) for made in new),
            *([walk_need(subject, walks.windows)] if walks.windows else ()),
        ]
    )
    if new or probes or walks.windows:
        check_run(need, subject.checkpoint)
    memory, device_memory = peak(need, subject.checkpoint)
    windows, dimension = subject.windows["validation"], subject.space.dimension
    making = sum(point_work(made.method, made.width, preset, subject.calibration.judging_windows) for made in new)
    forwards = defaultdict[int, float](float)  # by the number of windows that go through the model together
    forwards[1] += making + walks.work
    forwards[batch] += probes if passes is None else passes
    working = sum(n * forward_seconds(subject.model, windows[0].tokens, size) for size, n in forwards.items() if n)
    searching = search_seconds(subject.space, searched)
    return Forecast(
        probes=probes,
        cached=sum(probe in known for probe in needed),
        points=tuple(made.name for made in new),
        work=making + probes + walks.work,
        seconds=working + searching,
        searching=searching,
        memory=memory,
        disk=disk_growth(dimension, [find_method(made.method).on_grid for made in new], probes + walks.rows),
        device_memory=device_memory,
        layer_errors=walks.rows,
    )


def search_forecast(checkpoint: Checkpoint, made: PointSpec) -> Forecast:
    """Forecast the cost of RTN alone, which needs neither a text nor a store.

    Raises:
        UsageError: if it cannot fit in the memory that is left on the host or on the model's device, or a float format
            does not fit the matrices.
    """
    made.scheme.check_fits(checkpoint.space)
    seconds, need = search_seconds(checkpoint.space, [made.scheme]), rounding_need(checkpoint)
    check_run(need, checkpoint)
    memory, on_device = peak(need, checkpoint)
    return Forecast(0, 0, (made.name,), 0.0, seconds, searching=seconds, memory=memory, disk=0, device_memory=on_device)


def search_seconds(space: WeightSpace, schemes: Collection[QuantScheme]) -> float:
    """Return the wall time of the search for scales, with as many matrices at once as torch has threads."""
    return sum(_search(space, scheme) for scheme in schemes) / torch.get_num_threads()


def _search(space: WeightSpace, scheme: QuantScheme) -> float:
    """Return the seconds that the search for one grid takes on one thread."""
    if scheme.scale == "absmax":
        return 0.0
    if scheme.scale == "mse":
        return SCAN * space.dimension
    scales = sum(math.prod(scheme.scale_shape(slot)) for slot in space)
    per_scale = EXACT * scheme.high**EXACT_GROWTH if scheme.scale == "exact" else HISTOGRAM_WALK
    return SORT * space.dimension + per_scale * scales


def disk_growth(dimension: int, on_grid: Collection[bool], new_rows: int) -> int:
    """Return the bytes that the store will grow by: int8 codes or float32 weights per point, and rows.

    Args:
        dimension: D.
        on_grid: One value for each new point: whether it lies on a grid.
        new_rows: Number of new probes and layer-wise errors.
    """
    return sum(dimension * (_CODE if codes else _FLOAT) for codes in on_grid) + _ROW * new_rows


def forward_seconds(model: nn.Module, window: Tensor, batch: int = 1) -> float:
    """Measure the wall time of one window, (L,), in a forward pass over a batch of so many."""
    rows = window.expand(batch, -1)
    batch_nll(model, rows)  # the first pass also allocates
    started = time.monotonic()
    batch_nll(model, rows)
    return (time.monotonic() - started) / batch
