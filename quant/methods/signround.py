"""Quantize with SignRound: block-wise reconstruction by signed gradient descent (Cheng et al. 2023, §3).

Every weight gets an offset V in [−½, ½] before it is rounded, ``code = clamp(⌊W/s + V⌉)``; V = 0 is RTN. In each block
the offsets of all its matrices are trained together, so that the block's outputs approach those of the
full-precision model:

    V ← clamp(V − rate · sign(∂ MSE/∂V), −½, ½),     rate from 1/steps down to 0, so that V can just reach ±½.

The gradient passes straight through the rounding. The scale is positive, so ∂MSE/∂V has the sign of ∂MSE/∂Ŵ and the
rounding need not be differentiated; where a code saturates the authors stop the gradient, but there V within ±½ changes
no code. Later blocks see the quantized outputs of earlier ones.

Two differences from the authors' code (AutoRound): the scales stay RTN's, shared by all methods here, where theirs
trains a multiplier of the clipping range along with V; and the iterate that stays has the least loss on all windows,
RTN included, computed every few steps, where theirs compares losses of different batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from quant.architecture import decoder_blocks
from quant.center import Center, preserved
from quant.errors import PointError, UsageError
from quant.grid import GridTensor
from quant.hashing import token_record
from quant.methods.block_stream import BlockStream
from quant.methods.options import SignRoundOptions
from quant.methods.progress import ProgressCallback
from quant.philox import permutation
from quant.point import WeightPoint
from quant.replay import Call, hidden_state
from quant.space import Slot, WeightSpace
from quant.versions import library_versions


@dataclass(frozen=True)
class BlockRecord:
    """SignRound's result for one block; losses are mean squared errors per output element, on all windows."""

    rtn_loss: float
    """Loss with RTN's codes."""
    loss: float
    """Loss with the codes that stayed."""
    step: int
    """Updates before the codes that stayed; 0 is RTN."""
    changed: int
    """Number of codes that differ from RTN's."""


def signround(
    model: nn.Module,
    space: WeightSpace,
    rtn: WeightPoint,
    windows: Tensor,
    options: SignRoundOptions | None = None,
    *,
    center: Center | None = None,
    progress: ProgressCallback | None = None,
) -> WeightPoint:
    """Make the SignRound point on RTN's grid, every code within 1 of RTN's.

    The model computes with the candidates through ``torch.func.functional_call``; its weights are not written. RTN is
    the first candidate of every block, so that by construction no block's loss exceeds that of the RTN point with
    ``inputs="fp"``, or that of RTN on the same inputs with ``"quantized"``. Memory holds three hidden states of every
    window.

    Args:
        model: The model at the pretrained weights ``w``; modes and gradient flags are restored afterwards.
        space: Its weight space.
        rtn: The RTN point, which has the scales.
        windows: (n, L) token ids to calibrate on.
        options: SignRound's options.
        center: The pristine copy of ``w``, if one has been made.
        progress: Called with the blocks done and their number after every block.

    Returns:
        Point ``signround`` with one ``BlockRecord`` per block in its provenance.

    Raises:
        UsageError: if ``windows`` are not (n, L), or the point is in a float format.
        PointError: if ``rtn`` is not RTN of this ``w``, or a block's output with it is not finite.
    """
    if rtn.scheme is None:
        raise PointError(f"expected a point on a grid for SignRound's scales, got {rtn.name}")
    if rtn.scheme.format is not None:
        raise UsageError(
            f"expected an integer grid for SignRound, whose steps are even, got {rtn.name}; use gptq or qaft"
        )
    options = options or SignRoundOptions()
    parts: dict[str, GridTensor] = {}
    records: list[BlockRecord] = []
    with preserved(model, space, center) as pristine:
        model.requires_grad_(False)  # else biases and norms would keep activations for unused gradients
        stream = BlockStream(model, windows)
        _check_blocks(model, stream)
        states = None
        for index in range(len(stream.blocks)):
            roundings = [_Rounding(s, pristine.tensor(s), rtn) for s in space if s.block == index]
            calls = list(stream.calls(index))
            stream.hold([call.output for call in calls])
            task = _Task.of(model, space, index, calls, states)
            records.append(_optimise(task, roundings, options, index))
            parts |= {rounding.slot.name: rounding.best for rounding in roundings}
            states = task.outputs(roundings) if options.inputs == "quantized" else None
            if progress:
                progress(index + 1, len(stream.blocks))
    ordered = {slot.name: parts[slot.name] for slot in space}
    return WeightPoint("signround", rtn.scheme, ordered, _provenance(rtn, windows, options, records))


class _Rounding:
    """One matrix, its offsets V, and the codes that stay."""

    def __init__(self, slot: Slot, weight: Tensor, rtn: WeightPoint) -> None:
        """Start at V = 0.

        Raises:
            PointError: if V = 0 is not RTN.
        """
        part = rtn.grid_tensor(slot).to(weight.device)
        self.slot = slot
        self._weight, self._grid = weight.float(), part.grid
        self._offset = torch.zeros_like(self._weight)
        self.best = self.start = self.present()
        if not torch.equal(self.start.codes, part.codes):
            raise PointError(f"expected {rtn.name} to be this model's weights rounded, but {slot.name} differs")

    def present(self) -> GridTensor:
        """Return Q(W + V s), where the offset is added before W is divided by s, so that V = 0 is RTN to the bit."""
        return self._grid.quantize(self._weight + self._offset * self._grid.steps(self._weight))

    def step(self, gradient: Tensor, rate: float) -> None:
        """Take one step against the sign of the loss's gradient in the quantized weights."""
        self._offset.sub_(gradient.sign(), alpha=rate).clamp_(-0.5, 0.5)

    def changed(self) -> int:
        """Count the codes that stay and are not RTN's."""
        return int((self.best.codes != self.start.codes).sum())


def _check_blocks(model: nn.Module, stream: BlockStream) -> None:
    """Check that each block can be run by itself.

    Raises:
        PointError: if blocks share more than the hidden state, or matrices.
    """
    shared = [index for index in range(len(stream.blocks)) if not stream.runs_alone(index)]
    if shared:
        raise PointError(
            f"expected decoder blocks that can be trained one at a time for SignRound, block {shared[0]} of "
            f"{type(model).__name__} shares keys and values, or matrices, with others; use another method"
        )


@dataclass(frozen=True)
class _Task:
    """The inputs of one block, and the outputs that it has to reproduce."""

    model: nn.Module
    space: WeightSpace
    block: nn.Module
    prefix: str
    """Prefix of a parameter's name before its name within the block."""
    arguments: list[tuple[tuple[Any, ...], dict[str, Any]]]
    """Arguments of each window's call besides the hidden state: masks, positions, inputs of its own."""
    states: list[Tensor]
    """Input hidden states, (1, L, d) per window."""
    targets: list[Tensor]
    """The full-precision model's outputs, (1, L, d) per window."""

    @classmethod
    def of(
        cls, model: nn.Module, space: WeightSpace, index: int, calls: Sequence[Call], states: list[Tensor] | None
    ) -> _Task:
        """Make the task from the full-precision block's calls, on other input states or on their own."""
        name, blocks = decoder_blocks(model)
        arguments = [(call.args[1:], call.kwargs) for call in calls]
        own = [call.args[0] for call in calls] if states is None else states
        targets = [hidden_state(call.output) for call in calls]
        return cls(model, space, blocks[index], f"{name}.{index}.", arguments, own, targets)

    def leaves(self, parts: Mapping[Slot, GridTensor]) -> dict[Slot, Tensor]:
        """Return the matrices of these parts, in the block's own dtype."""
        own = dict(WeightSpace(tuple(parts)).weights(self.model))
        return {slot: part.dequantize().to(own[slot].dtype) for slot, part in parts.items()}

    def weights(self, leaves: Mapping[Slot, Tensor]) -> dict[str, Tensor]:
        """Return the block's parameters that hold these matrices, by their names within it."""
        assembled = self.space.assembled(self.model, leaves)
        return {name.removeprefix(self.prefix): tensor for name, tensor in assembled.items()}

    def output(self, weights: dict[str, Tensor], window: int) -> Tensor:
        """Return the block's output on a window's input with other weights."""
        args, kwargs = self.arguments[window]
        return hidden_state(functional_call(self.block, weights, (self.states[window], *args), kwargs))

    @torch.no_grad()
    def outputs(self, roundings: Sequence[_Rounding]) -> list[Tensor]:
        """Return the outputs with the codes that stay."""
        weights = self.weights(self.leaves({r.slot: r.best for r in roundings}))
        return [self.output(weights, window) for window in range(len(self.states))]

    def loss(self, weights: dict[str, Tensor], window: int) -> Tensor:
        """Return the mean squared error of a window's output, in float32 or better."""
        target, output = self.targets[window], self.output(weights, window)
        dtype = torch.promote_types(target.dtype, torch.float32)
        return F.mse_loss(output.to(dtype), target.to(dtype))

    @torch.no_grad()
    def total_loss(self, roundings: Sequence[_Rounding]) -> float:
        """Return the mean squared error over all windows, with the present codes."""
        weights = self.weights(self.leaves({r.slot: r.present() for r in roundings}))
        return math.fsum(float(self.loss(weights, window)) for window in range(len(self.states))) / len(self.states)

    def gradients(self, roundings: Sequence[_Rounding], windows: Sequence[int]) -> list[Tensor]:
        """Sum the loss's gradients in the quantized weights over windows; zero for a matrix that no token reached."""
        by_slot = self.leaves({r.slot: r.present() for r in roundings})
        leaves = [leaf.requires_grad_() for leaf in by_slot.values()]
        sums = [torch.zeros_like(leaf, dtype=torch.float32) for leaf in leaves]
        for window in windows:
            with torch.enable_grad():
                loss = self.loss(self.weights(by_slot), window)
            for total, gradient in zip(sums, torch.autograd.grad(loss, leaves, materialize_grads=True), strict=True):
                total.add_(gradient)
        return sums


def _optimise(task: _Task, roundings: Sequence[_Rounding], options: SignRoundOptions, index: int) -> BlockRecord:
    """Train a block's offsets, and set every rounding's ``best`` to the iterate with the least loss on all windows."""
    best_loss = rtn_loss = task.total_loss(roundings)
    if not math.isfinite(rtn_loss):
        raise PointError(f"expected finite outputs of block {index} with RTN's weights, got a loss of {rtn_loss}")
    best_step, rate = 0, options.rate or 1 / max(options.steps, 1)
    for step in range(options.steps):
        order = permutation(len(task.states), "signround", options.seed, index, step)
        gradients = task.gradients(roundings, order[: options.batch].tolist())
        for rounding, gradient in zip(roundings, gradients, strict=True):
            rounding.step(gradient, rate * (1 - step / options.steps))
        if (step + 1) % options.check_every and step + 1 < options.steps:
            continue
        loss = task.total_loss(roundings)
        if loss < best_loss:
            best_loss, best_step = loss, step + 1
            for rounding in roundings:
                rounding.best = rounding.present()
    return BlockRecord(rtn_loss, best_loss, best_step, sum(rounding.changed() for rounding in roundings))


def _provenance(
    rtn: WeightPoint, windows: Tensor, options: SignRoundOptions, records: Sequence[BlockRecord]
) -> dict[str, Any]:
    return {
        "method": "signround",
        "scheme": str(rtn.scheme),
        "options": asdict(options),
        "windows": token_record(windows),
        "versions": library_versions(),
        "blocks": [asdict(record) for record in records],
    }
