"""Put weights on grids: codes times scales, and fake quantization with a straight-through gradient.

The grids follow a ``quant.scheme.QuantScheme``: whole numbers, symmetric as in Xu et al. 2024, §3.2, or the asymmetric
min-max grid of the GPTQ paper; or the levels of a codebook, for the float formats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quant.codebook import Codebook
from quant.scheme import QuantScheme, StraightThrough
from quant.space import Slot


@dataclass(frozen=True, eq=False)
class Grid:
    """The points that the weights of one matrix may take: ``(code − zero) × scale``, or ``level of code × scale``."""

    scale: Tensor
    """float32, of ``QuantScheme.scale_shape``."""
    low: int
    """Smallest code."""
    high: int
    """Largest code."""
    zero: Tensor | None = None
    """The code that stands for 0, a whole number, in the shape of ``scale``; None for 0 itself."""
    group: int | None = None
    """Number of neighbouring inputs that share a scale; None where the scales broadcast."""
    input_dim: int = 1
    """The axis of the matrix that runs over inputs."""
    codebook: Codebook | None = None
    """The levels of the codes, for a grid without zeros; None where a code is its own level."""

    def encode(self, weight: Tensor) -> Tensor:
        """Return codes of the nearest grid points, saturating at the ends; float, in the shape of ``weight``.

        Ties go to the even multiple of the scale, before the zero is added, as in GPTQ's own code; of a codebook, to
        the even code.
        """
        codes = torch.div(weight, self._spread(self.scale, weight))
        if self.codebook is not None:
            return self.codebook.encode(codes)
        codes.round_()
        if self.zero is not None:
            codes.add_(self._spread(self.zero, weight))
        return codes.clamp_(self.low, self.high)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the weights that codes stand for, in the dtype of ``codes``."""
        if self.codebook is not None:
            codes = self.codebook.decode(codes)
        elif self.zero is not None:
            codes = codes - self._spread(self.zero, codes)
        return codes * self._spread(self.scale, codes)

    def nearest(self, weight: Tensor) -> Tensor:
        """Return ``Q(W)``: ``decode(encode(W))`` without another temporary."""
        if self.codebook is not None:
            spread = self._spread(self.scale, weight)
            return self.codebook.nearest(torch.div(weight, spread)).mul_(spread)
        codes = self.encode(weight)
        if self.zero is not None:
            codes.sub_(self._spread(self.zero, weight))
        return codes.mul_(self._spread(self.scale, weight))

    def quantize(self, weight: Tensor) -> GridTensor:
        """Round a matrix to the nearest points of the grid (RTN)."""
        return GridTensor(self.encode(weight.float()).to(torch.int8), self)

    def covers(self, weight: Tensor) -> Tensor:
        """Return which weights would round to a point of the grid if it went on beyond its ends: bool."""
        if self.codebook is not None:
            return self.codebook.covers(torch.div(weight, self._spread(self.scale, weight)))
        free = replace(self, low=-(2**31), high=2**31).encode(weight)
        return (free >= self.low) & (free <= self.high)

    def steps(self, matrix: Tensor) -> Tensor:
        """Return the distance of neighbouring grid points, broadcastable against a matrix.

        Where distances grow away from 0, it is that of the outermost two, the largest.
        """
        steps = self._spread(self.scale, matrix)
        return steps if self.codebook is None else steps * self.codebook.widest

    def sum_shared(self, values: Tensor) -> Tensor:
        """Sum one value per weight over the weights that share a scale; the result has the shape of ``scale``."""
        if self.group is None:
            return values.sum_to_size(self.scale.shape)
        inputs = values.movedim(self.input_dim, -1)  # (out, in)
        missing = -inputs.shape[-1] % self.group
        groups = torch.nn.functional.pad(inputs, (0, missing)).reshape(len(inputs), -1, self.group)
        return groups.sum(-1).movedim(-1, self.input_dim)

    def with_scale(self, scale: Tensor) -> Grid:
        """Return the grid with other scales, of the same shape."""
        return replace(self, scale=scale)

    def to(self, device: torch.device) -> Grid:
        """Return the same grid on a device."""
        zero = None if self.zero is None else self.zero.to(device)
        return replace(self, scale=self.scale.to(device), zero=zero)

    def channel_view(self, slot: Slot) -> Grid:
        """Return the grid of the matrix as (out, in)."""
        if not slot.transposed:
            return self
        zero = None if self.zero is None else self.zero.T
        return Grid(self.scale.T, self.low, self.high, zero, self.group, 1, self.codebook)

    def _spread(self, values: Tensor, matrix: Tensor) -> Tensor:
        """Repeat the value of each group along its inputs, so that it broadcasts against the matrix."""
        if self.group is None:
            return values
        spread = values.repeat_interleave(self.group, self.input_dim)
        return spread.narrow(self.input_dim, 0, matrix.shape[self.input_dim])


@dataclass(frozen=True, eq=False)
class GridTensor:
    """One weight matrix on a grid."""

    codes: Tensor
    """int8, in the stored shape of its slot."""
    grid: Grid
    """The grid of the codes."""

    @property
    def scale(self) -> Tensor:
        """The scales of its grid."""
        return self.grid.scale

    def dequantize(self) -> Tensor:
        """Return the float32 weights that the codes stand for."""
        return self.grid.decode(self.codes.float())

    def to(self, device: torch.device) -> GridTensor:
        """Return the same matrix on a device."""
        return GridTensor(self.codes.to(device), self.grid.to(device))


def make_grid(slot: Slot, scheme: QuantScheme, scale: Tensor, zero: Tensor | None = None) -> Grid:
    """Make the grid of a matrix from its scales, of ``scheme.scale_shape(slot)``, and its zeros."""
    form = scheme.float_format
    codebook = None if form is None else Codebook(form.levels)
    return Grid(scale, scheme.low, scheme.high, zero, scheme.group, slot.input_dim, codebook)


def channel_view(slot: Slot, weight: Tensor) -> Tensor:
    """Return a view of the matrix as (out, in): GPT-2's ``Conv1D`` stores its transpose."""
    return weight.T if slot.transposed else weight


class _FakeQuantize(torch.autograd.Function):
    """Fake quantization with an explicit gradient instead of clamp's.

    PyTorch is changing clamp's subgradient where its argument equals a bound; every ±1 weight of int2 would then stop
    learning.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, grid: Grid, ste: StraightThrough) -> Tensor:  # type: ignore[no-untyped-def]
        if ste == "masked":
            ctx.save_for_backward(grid.covers(weight))
        return grid.nearest(weight)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        kept = ctx.saved_tensors
        return (gradient * kept[0] if kept else gradient), None, None


def fake_quantize(weight: Tensor, grid: Grid, ste: StraightThrough = "identity") -> Tensor:
    """Return ``Q(W)``, with the gradient passed straight through (Bengio et al. 2013).

    Args:
        weight: The master weights.
        grid: The grid, fixed: it gets no gradient.
        ste: ``identity`` passes every gradient; ``masked`` stops those of weights beyond the ends of the grid, as
            ``torch.fake_quantize_per_tensor_affine`` does.
    """
    quantized: Tensor = _FakeQuantize.apply(weight, grid, ste)  # type: ignore[no-untyped-call]
    return quantized


class _LearnedFakeQuantize(torch.autograd.Function):
    """Fake quantization with a gradient for the scales too: Esser et al. 2020 (LSQ), eq. 3."""

    @staticmethod
    def forward(ctx, weight: Tensor, log_factor: Tensor, grid: Grid, ste: StraightThrough) -> Tensor:  # type: ignore[no-untyped-def]
        learned = grid.with_scale(grid.scale * log_factor.exp())
        quantized = learned.nearest(weight)
        inside = learned.covers(weight)
        # s ∂Q/∂s: the rounding error inside the grid, and Q(w) itself for a weight that is clipped to an end of it.
        slope = quantized - weight * inside
        ctx.save_for_backward(slope, inside)
        ctx.grid, ctx.ste = learned, ste
        return quantized

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        slope, inside = ctx.saved_tensors
        passed = gradient if ctx.ste == "identity" else gradient * inside
        return passed, ctx.grid.sum_shared(gradient * slope), None, None


def learned_fake_quantize(weight: Tensor, log_factor: Tensor, grid: Grid, ste: StraightThrough = "identity") -> Tensor:
    """Return ``Q(W)`` on a grid of learned scales, the grid's own times ``exp(log_factor)``, hence positive.

    LSQ multiplies the scale's gradient by a constant for each matrix; AdamW is invariant to it, so it is left out. A
    step changes a scale by the learning rate, relative to the scale.

    Args:
        weight: The master weights.
        log_factor: In the shape of ``grid.scale``; 0 for the grid as it is.
        grid: The grid at whose scales learning starts.
        ste: As in ``fake_quantize``.
    """
    quantized: Tensor = _LearnedFakeQuantize.apply(weight, log_factor, grid, ste)  # type: ignore[no-untyped-call]
    return quantized
