"""Quantize with AWQ: activation-aware weight quantization (Lin et al. 2023, §3.2).

Block by block through the decoder stack: matrices that read the same input x share one scale per input channel,

    s_j = (mean|x_j|)^α / √(max · min of them over j),      Q(W·diag(s))·diag(1/s) instead of Q(W),

so that the channels with large inputs are rounded on a finer grid. α is searched on 20 points, 0 included, where s = 1
is RTN; the one with the least squared output error stays. The error is ½ tr(ΔW H ΔWᵀ), so Hessians replace the
activations, which are never kept.

Three differences from the authors' code: the error is that of the matrices' own outputs, not of the attention or MLP
block around them; every group of matrices is scaled, also where no layer before it could absorb 1/s; and the clipping
search that may follow (``auto_clip``) is left out, since the scale search of the scheme clips already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quant.center import Center, preserved
from quant.errors import PointError, UsageError
from quant.grid import channel_view
from quant.hashing import token_record
from quant.methods.block_stream import BlockStream
from quant.methods.hessians import SharedHessian
from quant.methods.layer_error import layer_error
from quant.methods.options import AWQOptions
from quant.methods.progress import ProgressCallback
from quant.methods.rtn import rtn
from quant.numerics import full_float32
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace
from quant.versions import library_versions

_LEAST = 1e-4  # least mean|x|^α, as in the authors' code: a channel without input must not get the scale 0


@dataclass(frozen=True)
class AWQRecord:
    """AWQ's result for one matrix; errors are squared output errors per token, on the calibration inputs."""

    alpha: float
    """The exponent of its group; 0 is RTN."""
    error: float | None
    """½ tr(ΔW H ΔWᵀ) of the point; None, as RTN's, for an expert to which no token was routed."""
    rtn_error: float | None
    """RTN's error, with the same H."""
    group: str
    """First of the matrices that read the same input, whose summed error chose α."""


def awq(
    model: nn.Module,
    space: WeightSpace,
    center: Center | None,
    scheme: QuantScheme,
    windows: Tensor,
    options: AWQOptions | None = None,
    *,
    progress: ProgressCallback | None = None,
) -> WeightPoint:
    """Make the AWQ point, its channel scales folded back into the weights.

    A folded weight ``code × scale / s`` is on a grid of its own per input channel, not on the scheme's: the parts are
    float32, and ``scheme`` is that of the scaled matrix. As α = 0 is RTN bit for bit, the summed error of the matrices
    that share an input never exceeds RTN's on the same inputs, by construction, if 0 is among the exponents; the error
    of a single matrix may.

    Args:
        model: The model at the pretrained weights ``w``, to which it returns whatever happens.
        space: Its weight space.
        center: The pristine copy of ``w``; made here if None.
        scheme: The grid on which the scaled matrices are rounded, and how its scale is found.
        windows: (n, L) token ids to calibrate on.
        options: AWQ's options.
        progress: Called with the blocks done and their number after every block.

    Returns:
        Point ``awq`` with one ``AWQRecord`` per matrix in its provenance.

    Raises:
        UsageError: if ``windows`` are not (n, L), or the grid is of a float format.
        PointError: if weights or inputs are not finite, or no token reaches a matrix.
    """
    if scheme.format is not None:
        raise UsageError(f"expected an integer grid for AWQ, which searches its scales there, got {scheme}; use gptq")
    options = options or AWQOptions()
    parts: dict[str, Tensor] = {}
    records: dict[str, AWQRecord] = {}
    with preserved(model, space, center) as pristine, full_float32(), torch.no_grad():
        stream, live = BlockStream(model, windows), dict(space.weights(model))
        for index in range(len(stream.blocks)):
            slots = [slot for slot in space if slot.block == index]
            for shared in stream.hessians(index, slots, advance=options.inputs == "fp"):
                for slot, part, record in _solve_shared(shared, pristine, scheme, options.alphas):
                    parts[slot.name], records[slot.name] = part, record
            if options.inputs == "quantized":
                for slot in slots:
                    live[slot].copy_(parts[slot.name])
                stream.advance(index)
            if progress:
                progress(index + 1, len(stream.blocks))
    ordered = {slot.name: parts[slot.name] for slot in space}
    return WeightPoint("awq", scheme, ordered, _provenance(scheme, windows, options, records))


@dataclass(frozen=True)
class _Scaled:
    """``w`` with the input channels of its matrices multiplied by s, as a vector of the space."""

    center: Center
    scales: Tensor
    """s, (in,), float32."""

    def tensor(self, slot: Slot) -> Tensor:
        return self.center.tensor(slot).float() * _along_inputs(slot, self.scales)


def channel_scales(magnitude: Tensor, alpha: float) -> Tensor:
    """Return one s per input channel, normalised as in the authors' code; exactly 1 at α = 0.

    Args:
        magnitude: mean|x| of every input channel, (in,), float64.
        alpha: The exponent.

    Returns:
        (in,), float32; the geometric mean of the largest and the smallest is 1.
    """
    scales = magnitude.pow(alpha).clamp(min=_LEAST)
    return (scales / (scales.max() * scales.min()).sqrt()).float()


@dataclass(frozen=True)
class _Candidate:
    """One α, with the folded weights and the error of every matrix."""

    alpha: float
    parts: list[Tensor]
    errors: list[float]


def _solve_shared(
    shared: SharedHessian, center: Center, scheme: QuantScheme, alphas: Sequence[float]
) -> Iterator[tuple[Slot, Tensor, AWQRecord]]:
    """Try every α on the matrices that share an input, and keep the best for all of them."""
    leader, magnitude = shared.slots[0].name, shared.magnitude
    if not shared.tokens:
        point = rtn(WeightSpace(shared.slots), center, scheme)
        for slot in shared.slots:
            yield slot, point.tensor(slot), AWQRecord(0, None, None, leader)
        return
    if not bool(magnitude.isfinite().all() and shared.hessian.diagonal().isfinite().all()):
        raise PointError(f"expected finite inputs of {leader}, found NaN or infinity; use a wider dtype")

    def candidate(alpha: float) -> _Candidate:
        parts = _rounded(shared, center, scheme, channel_scales(magnitude, alpha))
        return _Candidate(alpha, parts, _errors(shared, center, parts))

    plain = candidate(0)
    chosen = min((candidate(a) if a > 0 else plain for a in alphas), key=lambda c: sum(c.errors))
    for slot, part, error, rtn_error in zip(shared.slots, chosen.parts, chosen.errors, plain.errors, strict=True):
        yield slot, part, AWQRecord(chosen.alpha, error, rtn_error, leader)


def _rounded(shared: SharedHessian, center: Center, scheme: QuantScheme, scales: Tensor) -> list[Tensor]:
    """Return Q(W·diag(s))·diag(1/s) of the matrices, float32, as stored: RTN of the scaled weights, folded back."""
    point = rtn(WeightSpace(shared.slots), _Scaled(center, scales), scheme)
    return [point.tensor(slot) / _along_inputs(slot, scales) for slot in shared.slots]


def _along_inputs(slot: Slot, scales: Tensor) -> Tensor:
    return scales[:, None] if slot.transposed else scales[None, :]


def _errors(shared: SharedHessian, center: Center, parts: Sequence[Tensor]) -> list[float]:
    hessian = shared.hessian
    return [
        layer_error(channel_view(slot, part.to(hessian.dtype) - center.tensor(slot).to(hessian.dtype)), hessian)
        for slot, part in zip(shared.slots, parts, strict=True)
    ]


def _provenance(
    scheme: QuantScheme, windows: Tensor, options: AWQOptions, records: dict[str, AWQRecord]
) -> dict[str, Any]:
    return {
        "method": "awq",
        "scheme": str(scheme),
        "options": asdict(options) | {"alphas": list(options.alphas)},
        "windows": token_record(windows),
        "versions": library_versions(),
        "layers": {name: asdict(record) for name, record in records.items()},
    }
