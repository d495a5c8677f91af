"""Find the scale of a weight grid in one of five ways, or that of a float format (``quant.float_scale``).

The paper requires "argmin MSE … by means of HistogramObserver", which are two different scales (§3.2):

    exact             the argmin itself, by search over sorted weights and prefix sums (the default)
    histogram         the observer's greedy search over 2048 bins, its error model with the grid's 2^B cells
    histogram-torch   the same with 256 cells at any bit width, as in PyTorch's observer
    absmax            max|w| / qmax: nothing is clipped; on an asymmetric grid (max − min) / (2^B − 1)
    mse               the best of 100 scales, as the tools that people quantize with search: for channels and groups

The observer's search goes row by row in Python: it suits tensors, and takes minutes for the channels of a large model.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quant.errors import PointError
from quant.float_scale import block_scales
from quant.grid import Grid, channel_view, make_grid
from quant.scheme import QuantScheme
from quant.space import Slot

_COARSE, _FINE = 512, 64  # points of the exact search's log grid (steps under 2 %), and between two of its points
_REFINED = 16  # number of best points in the next stage
_CELLS = 2**19  # pairs of a scale and a code that are evaluated together; 2**22 take 1.5 to 2 times as long
_SCANNED = 100  # scales that ``mse`` tries, as many as llm-compressor's observer and the code of GPTQ
_ABOVE = 1.1  # the largest of them, in units of the one that clips nothing
_CODES = 6  # further scales: the largest weight becomes one of these codes
_POLISHED = 2  # steps of the fixed point from the best of them
_TOGETHER = 2**16  # weights that are scanned together: their temporaries stay in a cache
_BINS = 2048  # HistogramObserver's default
_QUANTILE_STEP = 1e-5  # HistogramObserver's
_TINY = float(torch.finfo(torch.float32).tiny)
_EPS = float(torch.finfo(torch.float32).eps)  # smallest scale, as in PyTorch's observers


def find_grid(slot: Slot, weight: Tensor, scheme: QuantScheme) -> Grid:
    """Find the grid of a matrix.

    Args:
        slot: The place of the matrix, which gives its output axis.
        weight: The matrix, in its stored shape.
        scheme: Bit width, granularity and the kind of search.

    Returns:
        The grid, on the device of ``weight``.

    Raises:
        PointError: if the matrix holds a value that is not finite.
        UsageError: if the groups of a float format do not fit the matrix.
    """
    if not bool(torch.isfinite(weight).all()):
        raise PointError(f"expected finite weights in {slot.name}, found NaN or infinity")
    values = weight.detach().float().cpu()
    form = scheme.float_format
    if form is not None:
        scheme.check_fits([slot])
        scale = channel_view(slot, block_scales(channel_view(slot, values), form, scheme.group))
        return make_grid(slot, scheme, scale.contiguous()).to(weight.device)
    matrix = values.reshape(1, -1) if scheme.granularity == "tensor" else channel_view(slot, values)
    shared = torch.split(matrix, scheme.group or matrix.shape[1], dim=1)  # a row of each has one scale
    find = _symmetric if scheme.symmetric else _asymmetric
    found = [find(rows, scheme) for rows in shared]
    scale, zero = (torch.stack(part, dim=1) for part in zip(*found, strict=True))  # (rows, groups)
    if scheme.granularity != "tensor" and slot.transposed:
        scale, zero = scale.T.contiguous(), zero.T.contiguous()
    grid = make_grid(slot, scheme, scale, None if scheme.symmetric else zero)
    return grid.to(weight.device)


def _symmetric(rows: Tensor, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
    """Return the scale of each row, float32 (rows,), and its zero, which is 0."""
    if scheme.scale == "absmax":
        scale = rows.abs().amax(1).double() / scheme.high
    elif scheme.scale == "exact":
        scale = exact_scales(rows, scheme.high)
    elif scheme.scale == "mse":
        scale = scanned_scales(rows, scheme.high)
    else:
        found = [histogram_scale(row.numpy(), scheme.high, _cells(scheme)) for row in rows]
        scale = torch.tensor(found, dtype=torch.float64)
    return scale.clamp(min=_EPS).float(), torch.zeros(len(rows))


def _asymmetric(rows: Tensor, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
    """Return scale and zero of each row: the grid spans its least to its greatest weight, and always holds 0.

    Frantar et al. 2022, §4: "standard uniform per-row asymmetric quantization on the min-max grid".
    """
    least, greatest = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
    scale = ((greatest - least) / (scheme.high - scheme.low)).clamp(min=_EPS)
    return scale, (-least / scale).round() + scheme.low


def _cells(scheme: QuantScheme) -> int:
    """Return the number of cells of the quantizer in the observer's error model."""
    return 256 if scheme.scale == "histogram-torch" else 2**scheme.bits


def exact_scales(rows: Tensor, high: int) -> Tensor:
    """Return the argmin over s of ‖Q_s(w) − w‖² for each row.

    With S(x) = Σ_{|w|≥x} |w| and N(x) = #{|w| ≥ x}, from one sort and prefix sums,

        f(s) = Σw² − 2s Σ_k S((k−½)s) + s² Σ_k (2k−1) N((k−½)s),     k = 1 … high.

    A minimum is a fixed point of ``s ← Σ|w|k(w) / Σk(w)²``, which lies in [mean|w|/high, max|w|] (Chebyshev's sum
    inequality, as k grows with |w|). f has many local minima at 8 bits, so a log grid over that range is scanned, then
    the neighbourhoods of its best points, and the fixed point polishes the best of those.

    Args:
        rows: (rows, n).
        high: Largest code.

    Returns:
        (rows,) float64; 0 for a row of zeros.
    """
    size = max(1, _CELLS // (_REFINED * 2 * _FINE * high))
    return torch.cat([_exact_scales(chunk, high) for chunk in torch.split(rows, size)])


def _exact_scales(rows: Tensor, high: int) -> Tensor:
    ordered = rows.double().abs().sort(1).values
    empty = ordered[:, -1] == 0
    ordered[empty] = 1.0  # any weights, for a range to search; the result is set to 0
    sums = ordered.flip(1).cumsum(1).flip(1)
    tail = torch.cat([sums, torch.zeros(len(rows), 1, dtype=torch.float64)], 1)
    levels = torch.arange(1, high + 1, dtype=torch.float64)

    def moments(scales: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ|w|k and Σk² at each scale, (rows, scales)."""
        bounds = (scales[..., None] * (levels - 0.5)).flatten(1)
        # numpy exploits increasing keys, and is several times as fast as torch on a long row
        pairs = zip(ordered.numpy(), bounds.numpy(), strict=True)
        first = torch.from_numpy(np.stack([np.searchsorted(row, keys) for row, keys in pairs]))
        linear = tail.gather(1, first).view(*scales.shape, high).sum(-1)
        square = ((ordered.shape[1] - first).view(*scales.shape, high) * (2 * levels - 1)).sum(-1)
        return linear, square

    def best(scales: Tensor, count: int) -> Tensor:
        """Return the ``count`` scales of least error."""
        linear, square = moments(scales)
        return scales.gather(1, (scales * scales * square - 2 * scales * linear).topk(count, largest=False).indices)

    lowest, highest = tail[:, :1] / ordered.shape[1] / high, ordered[:, -1:]
    step = (highest / lowest) ** (1 / (_COARSE - 1))
    coarse = lowest * step ** torch.arange(_COARSE, dtype=torch.float64)
    around = step[..., None] ** torch.linspace(-1, 1, 2 * _FINE, dtype=torch.float64)
    scales = best((best(coarse, _REFINED)[..., None] * around).flatten(1), _REFINED)
    for _ in range(100):
        linear, square = moments(scales)
        refined = torch.where(square > 0, linear / square.clamp(min=1), scales)
        if torch.equal(refined, scales):
            break
        scales = refined
    return best(scales, 1)[:, 0].masked_fill(empty, 0.0)


def scanned_scales(rows: Tensor, high: int) -> Tensor:
    """Return the scale of least squared error among some hundred, polished, for each row.

    ``exact_scales`` sorts each row and tries some thousand scales, which is dear where rows are short and many. Here
    100 are tried between mean|w|/high and 1.1 max|w|/high, and those at which the largest weight is a small code, as a
    row with one outlier wants it. Over all rows, the squared error is within 0.02 % of the least at 2 to 4 bits in
    groups of 64 or more, and within 0.12 % in groups of 32. A few weights meet a fine grid by chance at a scale in
    between: at 8 bits it is some per cent larger.

    Args:
        rows: (rows, n), float32.
        high: Largest code.

    Returns:
        (rows,) float32; 0 for a row of zeros.
    """
    return torch.cat([_scanned_scales(some, high) for some in torch.split(rows, max(1, _TOGETHER // rows.shape[1]))])


def _scanned_scales(rows: Tensor, high: int) -> Tensor:
    magnitudes = rows.abs().contiguous()  # sums along strided rows differ in their last bits
    mean, largest = magnitudes.mean(1, keepdim=True), magnitudes.amax(1, keepdim=True)
    lowest = mean / high
    step = (_ABOVE * largest / high - lowest) / (_SCANNED - 1)
    tried = [
        *(lowest + place * step for place in range(_SCANNED)),
        *(largest / code for code in range(1, high)[:_CODES]),
    ]
    scale, least = lowest, torch.full_like(lowest, torch.inf)
    codes = torch.empty_like(magnitudes)
    for each in tried:
        each.clamp_(min=_TINY)
        torch.div(magnitudes, each, out=codes).round_().clamp_(max=high)
        error = torch.linalg.vector_norm(codes.mul_(each).sub_(magnitudes), dim=1, keepdim=True)
        scale, least = torch.where(error < least, each, scale), torch.minimum(error, least)
    for _ in range(_POLISHED):
        torch.div(magnitudes, scale, out=codes).round_().clamp_(max=high)
        square = codes.square().sum(1, keepdim=True)
        scale = torch.where(square > 0, codes.mul_(magnitudes).sum(1, keepdim=True) / square.clamp(min=1), scale)
    return scale[:, 0].masked_fill(largest[:, 0] == 0, 0.0)


def histogram_scale(weight: NDArray[np.float32], qmax: int, cells: int) -> float:
    """Return the scale at which PyTorch's ``HistogramObserver`` arrives for a symmetric grid.

    From the full range the observer narrows either end by quantiles, always the end that loses more bins, while its
    estimate of the squared error falls; it takes the weights as uniform inside each of 2048 bins. Trimming an almost
    empty tail changes the estimate by less than float32 resolves, and the search stops at the first rise. So the
    estimate is computed in float32 and in the observer's order of operations, to stop where it stops.

    Args:
        weight: Any shape.
        qmax: Largest code of the grid.
        cells: Cells of the quantizer in the error model: 2^B, or 256 as PyTorch has it for every bit width.
    """
    values = torch.from_numpy(np.ascontiguousarray(weight).reshape(-1))
    low, high = torch.aminmax(values)
    if low == high:
        return abs(float(high)) / qmax
    counts = torch.histc(values, _BINS, min=float(low), max=float(high))
    first, last = _narrow(counts, (float(high) - float(low)) / _BINS, cells)
    width = (high - low) / _BINS
    return max(-float(low + width * first), float(low + width * (last + 1))) / qmax


def _narrow(counts: Tensor, width: float, cells: int) -> tuple[int, int]:
    """Return the first and the last bin of the range that the greedy search keeps."""
    total, cumulative = float(counts.sum()), torch.cumsum(counts, 0).tolist()
    alpha, beta, first, last = 0.0, 1.0, 0, len(cumulative) - 1
    best = np.inf
    while alpha < beta:
        left, right = first, last
        below, above = np.float32((alpha + _QUANTILE_STEP) * total), np.float32((beta - _QUANTILE_STEP) * total)
        while left < last and cumulative[left] < below:
            left += 1
        while right > first and cumulative[right] > above:
            right -= 1
        if left - first > last - right:
            alpha, candidate = alpha + _QUANTILE_STEP, (left, last)
        else:
            beta, candidate = beta - _QUANTILE_STEP, (first, right)
        if candidate == (first, last):
            continue
        error = _modelled_error(counts, width, *candidate, cells)
        if error > best:
            break
        best, (first, last) = error, candidate
    return first, last


def _modelled_error(counts: Tensor, width: float, first: int, last: int, cells: int) -> float:
    """Return the squared error with ``cells`` equal cells over bins ``first … last``, the rest clipped to the ends.

    A bin from a to b adds its density times ∫(x − centre of x's cell)² dx: from a to the end of a's cell, over the
    whole cells between, and from the start of b's cell to b.
    """
    cell = width * (last - first + 1) / cells
    if cell == 0:
        return 0.0
    begin = (torch.arange(len(counts)) - first) * width
    end = begin + width
    density, half = counts / width, torch.tensor(cell / 2)

    def cell_of(x: Tensor) -> Tensor:
        return torch.clamp(torch.div(x, cell, rounding_mode="floor"), 0, cells - 1)

    def integral(a: Tensor, b: Tensor) -> Tensor:
        return density * ((b * b * b - a * a * a) / 3)

    first_cell, last_cell = cell_of(begin), cell_of(end)
    error = integral(begin - (first_cell + 0.5) * cell, half)
    error += (last_cell - first_cell - 1) * integral(-half, half)
    error += integral(-half, end - (last_cell * cell + cell / 2))
    return float(error.sum())
