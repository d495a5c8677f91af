"""Quantize with GPTQ and a layer-wise search over dampings (Xu et al. 2024, §3.3; Frantar et al. 2022).

Block by block through the decoder stack: the Hessians of all matrices of a block are collected at once, each matrix is
solved for every damping, the candidate with the least layer-wise squared error stays, and later blocks see the outputs
of the quantized ones. The scales are RTN's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quant.center import Center, preserved
from quant.errors import PointError, UsageError
from quant.grid import GridTensor, channel_view
from quant.hashing import token_hash, token_record
from quant.methods.block_stream import BlockStream, walk
from quant.methods.gptq_solver import NoCandidateError, Problem, Solution, dead_columns, solve
from quant.methods.hessians import SharedHessian
from quant.methods.layer_error import LayerHessians, layer_error
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.methods.progress import ProgressCallback
from quant.numerics import full_float32
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace
from quant.versions import library_versions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LayerRecord:
    """GPTQ's result for one matrix; errors are squared output errors per token, on the calibration inputs."""

    damping: float | None
    """The damping of the best GPTQ candidate; None, as the errors, for an expert to which no token was routed."""
    error: float | None
    """The best candidate's error: ½ tr(ΔW H ΔWᵀ), undamped."""
    rtn_error: float | None
    """RTN's error, with the same H."""
    chosen: Literal["gptq", "rtn"]
    """The one that the point holds: ``rtn`` where ``rtn_candidate`` allows it, or no token came."""
    dead_columns: int
    """Inputs that were always zero: their weights became zero, which moves w but does not show in the error."""
    rejected: list[float]
    """Dampings that gave no candidate."""
    tokens: int
    """Calibration tokens that the matrix saw; an expert sees those routed to it."""


def gptq(
    model: nn.Module,
    space: WeightSpace,
    rtn: WeightPoint,
    windows: Tensor,
    options: GPTQOptions = PAPER_GPTQ,
    *,
    center: Center | None = None,
    hessians: LayerHessians | None = None,
    progress: ProgressCallback | None = None,
) -> WeightPoint:
    """Make the GPTQ point on RTN's grid.

    Args:
        model: The model at the pretrained weights ``w``, to which it returns whatever happens.
        space: Its weight space.
        rtn: The RTN point, which has the scales.
        windows: (n, L) token ids to calibrate on.
        options: GPTQ's options.
        center: The pristine copy of ``w``, if one has been made.
        hessians: The Hessians of ``windows`` on full-precision inputs, if already collected, for ``inputs="fp"``.
        progress: Called with the blocks done and their number after every block.

    Returns:
        Point ``gptq`` with one ``LayerRecord`` per matrix in its provenance.

    Raises:
        UsageError: if ``windows`` are not (n, L), or ``hessians`` are of other windows.
        PointError: if ``rtn`` is not on a grid, or a matrix cannot be solved at any damping.
    """
    if rtn.scheme is None:
        raise PointError(f"expected a point on a grid for GPTQ's scales, got {rtn.name}")
    if hessians is not None and (options.inputs, token_hash(windows)) != ("fp", hessians.tokens):
        raise UsageError("expected collected Hessians of the same windows, with inputs='fp'")
    parts: dict[str, GridTensor] = {}
    records: dict[str, LayerRecord] = {}
    with preserved(model, space, center) as pristine, full_float32(), torch.no_grad():
        if options.inputs == "fp":
            calibration = iter(hessians.shared) if hessians else walk(model, space, windows)
        else:
            calibration = _quantized_walk(model, space, windows, options.true_sequential)
        live = dict(space.weights(model))
        for shared in calibration:
            for slot, part, record in _solve_shared(shared, pristine, rtn, options):
                parts[slot.name], records[slot.name] = part, record
                if options.inputs == "quantized":
                    live[slot].copy_(part.dequantize())
            block = shared.slots[0].block
            if progress and all(slot.name in parts for slot in space if slot.block == block):
                progress(block + 1, space.slots[-1].block + 1)
    ordered = {slot.name: parts[slot.name] for slot in space}
    return WeightPoint("gptq", rtn.scheme, ordered, _provenance(space, rtn.scheme, windows, options, records))


def _quantized_walk(
    model: nn.Module, space: WeightSpace, windows: Tensor, true_sequential: bool
) -> Iterator[SharedHessian]:
    """Yield Hessians in the order of the stack, to a caller that writes quantized weights in between."""
    stream = BlockStream(model, windows)
    for index in range(len(stream.blocks)):
        slots = [slot for slot in space if slot.block == index]
        while slots:
            hessians = stream.hessians(index, slots, advance=False)
            done = [each for each in hessians if not true_sequential or _parallel(each, hessians[0])]
            yield from done
            slots = [slot for slot in slots if not any(slot in shared.slots for shared in done)]
        stream.advance(index)


def _parallel(one: SharedHessian, other: SharedHessian) -> bool:
    """Return whether both are the same, or the same matrix of several experts, which do not see each other."""
    return not {slot.siblings for slot in one.slots}.isdisjoint(slot.siblings for slot in other.slots)


def _solve_shared(
    shared: SharedHessian, center: Center, rtn: WeightPoint, options: GPTQOptions
) -> Iterator[tuple[Slot, GridTensor, LayerRecord]]:
    """Solve the matrices that share an input, and keep a record of each."""
    hessian = shared.hessian
    if not shared.tokens:
        for slot in shared.slots:
            yield slot, rtn.grid_tensor(slot), LayerRecord(None, None, None, "rtn", 0, [], 0)
        return
    starts = [rtn.grid_tensor(slot).to(hessian.device) for slot in shared.slots]
    weights = [channel_view(slot, center.tensor(slot)).to(hessian.dtype) for slot in shared.slots]
    problems = [
        Problem(weight, start.grid.channel_view(slot))
        for slot, weight, start in zip(shared.slots, weights, starts, strict=True)
    ]
    try:
        solutions = solve(
            problems,
            hessian,
            dampings=options.dampings,
            block_size=options.block_size,
            act_order=options.act_order,
        )
    except NoCandidateError as error:
        names = ", ".join(slot.name for slot in shared.slots)
        raise PointError(f"GPTQ failed on {names}: {error}; add calibration windows or larger dampings") from error
    dead = int(dead_columns(hessian).sum())
    for slot, weight, start, solution in zip(shared.slots, weights, starts, solutions, strict=True):
        yield (slot, *_choose(slot, weight, start, solution, shared, dead, options))


def _choose(
    slot: Slot,
    weight: Tensor,
    rtn: GridTensor,
    solution: Solution,
    shared: SharedHessian,
    dead: int,
    options: GPTQOptions,
) -> tuple[GridTensor, LayerRecord]:
    """Choose GPTQ's codes, or RTN's where that is allowed and better."""
    for damping in solution.rejected:
        _log.warning("GPTQ on %s: damping %g rejected, no finite Cholesky factor or error", slot.name, damping)
    part = GridTensor(channel_view(slot, solution.codes).contiguous(), rtn.grid)
    error, rtn_error = (
        layer_error(channel_view(slot, candidate.dequantize()).to(weight.dtype) - weight, shared.hessian)
        for candidate in (part, rtn)
    )
    chosen: Literal["gptq", "rtn"] = "rtn" if options.rtn_candidate and rtn_error < error else "gptq"
    record = LayerRecord(solution.damping, error, rtn_error, chosen, dead, list(solution.rejected), shared.tokens)
    return (part if chosen == "gptq" else rtn), record


def _provenance(
    space: WeightSpace, scheme: QuantScheme, windows: Tensor, options: GPTQOptions, records: dict[str, LayerRecord]
) -> dict[str, Any]:
    return {
        "method": "gptq",
        "scheme": str(scheme),
        "options": asdict(options) | {"dampings": list(options.dampings)},
        "windows": token_record(windows),
        "versions": library_versions(),
        "layers": {name: asdict(record) for name, record in records.items()},
        "rtn_chosen": sum(record.chosen == "rtn" for record in records.values()),
        "experts": _experts(space, records),
    }


def _experts(space: WeightSpace, records: Mapping[str, LayerRecord]) -> dict[str, int]:
    """Count the experts' matrices, and those that saw no tokens, or too few to determine their Hessian."""
    tokens = [(slot.inputs, records[slot.name].tokens) for slot in space if slot.expert]
    return {
        "matrices": len(tokens),
        "fewer tokens than inputs": sum(0 < seen < inputs for inputs, seen in tokens),
        "no tokens": sum(seen == 0 for _, seen in tokens),
    }
