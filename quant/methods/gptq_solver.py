"""Solve GPTQ on one Hessian (Frantar et al. 2022, Algorithm 1), for all dampings in one sweep.

Columns are rounded one by one; the error of each is fed forward to the columns not yet rounded, in proportion to its
row of U, where ``(H + d·mean(diag H)·I)⁻¹ = UᵀU`` and U is upper triangular.

Two choices make the damping grid cheap. Rows of W do not interact, so each is divided by its scale beforehand and the
grid becomes the integers, or the levels of a float format (where scales change along a row, the columns keep their own
step). And the working copies are
stored as (damping, column, row): a column of every candidate is contiguous, and one step of the sweep is one fused
update.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.codebook import Codebook
from quant.grid import Grid

_CHUNK_BYTES = 2**29  # working memory of the candidates that run together; SmolLM2-135M's eight fit in one chunk
_PANEL = 256  # columns of H multiplied at a time when candidates are scored


@dataclass(frozen=True)
class Problem:
    """One matrix to put on a grid."""

    weight: Tensor
    """(out, in), float32 or float64."""
    grid: Grid
    """The grid of the matrix as (out, in)."""


@dataclass(frozen=True)
class Solution:
    """The best candidate for one matrix."""

    codes: Tensor
    """(out, in), int8."""
    damping: float
    """The damping of this candidate."""
    rejected: tuple[float, ...]
    """Dampings without a candidate: the Cholesky decomposition failed or the numbers overflowed."""


class NoCandidateError(ArithmeticError):
    """No damping gave finite weights."""


def dead_columns(hessian: Tensor) -> Tensor:
    """Return which inputs are zero on every calibration token, (in,) booleans: their weights show in no error."""
    return hessian.diagonal() == 0


def solve(
    problems: Sequence[Problem],
    hessian: Tensor,
    *,
    dampings: Sequence[float],
    block_size: int,
    act_order: bool,
) -> list[Solution]:
    """Find the codes that minimise ``tr(ΔW H ΔWᵀ)`` over the dampings, for matrices that share a Hessian.

    Candidates are ranked by the undamped H: the damped one puts each on a scale of its own.

    Args:
        problems: The matrices; dead columns are treated as zero.
        hessian: (in, in), in the dtype of the computation.
        dampings: Multiples of mean(diag H) over the live inputs that are added to the diagonal.
        block_size: Number of columns between two updates of all later columns.
        act_order: Whether columns are rounded by decreasing diag(H) rather than in stored order.

    Raises:
        NoCandidateError: if every damping was rejected for one of the matrices.
    """
    dead = dead_columns(hessian)
    # The 1 that makes a dead column invertible is no curvature, and must not count in the unit of the dampings.
    unit = float(hessian.diagonal()[~dead].mean()) if not bool(dead.all()) else 1.0
    hessian = hessian.clone()
    hessian.diagonal()[dead] = 1
    order = torch.arange(len(hessian), device=hessian.device)
    if act_order:
        order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
        hessian = hessian[order][:, order]
    searches = [_Search(_Target.of(problem, dead, order)) for problem in problems]
    for chunk in _chunks(dampings, len(hessian), max(s.target.rows for s in searches), hessian.element_size()):
        kept, factors = _inverse_factors(hessian, chunk, unit)
        for search in searches:
            search.try_candidates(kept, factors, hessian, block_size)
        del factors  # else they are in memory while those of the next chunk are made
    return [search.solution(order, dampings) for search in searches]


@dataclass(frozen=True)
class _Target:
    """A matrix in the units of the sweep, transposed and in the order of the sweep: (in, out)."""

    values: Tensor
    """W over each row's ``unit``."""
    unit: Tensor
    """(out,): the row's scale, or 1 where scales change along a row."""
    step: Tensor | None
    """(in, out): distance of neighbouring grid points in those units; None for 1."""
    bounds: tuple[Tensor, Tensor] | None
    """(in, out) each: least and greatest multiple of the step; None for those of ``limits``."""
    limits: tuple[int, int]
    """Least and greatest multiple of the step where the grid is symmetric."""
    zero: Tensor
    """Codes are multiples of the step plus this; broadcasts against (in, out)."""
    codebook: Codebook | None = None
    """The levels that multiples of the step may be; None for whole numbers."""

    @classmethod
    def of(cls, problem: Problem, dead: Tensor, order: Tensor) -> _Target:
        grid, weight = problem.grid, problem.weight
        ones = torch.ones_like(weight)
        scale = Grid(grid.scale.to(weight.dtype), grid.low, grid.high, None, grid.group).decode(ones)  # (out, in)
        along_rows = grid.group is not None
        unit = ones[:, 0] if along_rows else scale[:, 0].clone()  # a view would keep all of the scale
        values = (weight / unit[:, None]).masked_fill_(dead, 0).T[order].contiguous()
        step = scale.T[order].contiguous() if along_rows else None
        limits = (grid.low, grid.high)
        if grid.zero is None:
            return cls(values, unit, step, None, limits, weight.new_zeros(1), grid.codebook)
        unscaled = Grid(torch.ones_like(grid.zero), grid.low, grid.high, grid.zero, grid.group)
        zero = -unscaled.decode(torch.zeros_like(weight)).T[order].contiguous()
        return cls(values, unit, step, (grid.low - zero, grid.high - zero), limits, zero)

    @property
    def rows(self) -> int:
        return self.values.shape[1]

    def rounded(self, current: Tensor, column: int) -> Tensor:
        """Return the nearest grid points in one column of all candidates, (dampings, out)."""
        if self.codebook is not None:
            multiples = self.codebook.nearest(current if self.step is None else current / self.step[column])
            return multiples if self.step is None else multiples.mul_(self.step[column])
        multiples = current.round() if self.step is None else torch.div(current, self.step[column]).round_()
        if self.bounds is None:
            multiples.clamp_(*self.limits)
        else:
            multiples.clamp_(self.bounds[0][column], self.bounds[1][column])
        return multiples if self.step is None else multiples.mul_(self.step[column])

    def codes(self, points: Tensor) -> Tensor:
        """Return the codes of grid points (in, out)."""
        if self.codebook is not None:
            return self.codebook.encode(points if self.step is None else points / self.step).to(torch.int8)
        multiples = points if self.step is None else (points / self.step).round_()
        return (multiples + self.zero).to(torch.int8)


class _Search:
    """The best candidate so far for one matrix."""

    def __init__(self, target: _Target) -> None:
        self.target = target
        self._weights = target.unit.double().square()  # weights of the rows in the error
        self._best = math.inf
        self._codes: Tensor | None = None
        self._damping = math.nan
        self._scored: list[float] = []

    def try_candidates(self, dampings: Sequence[float], factors: Tensor, hessian: Tensor, block_size: int) -> None:
        points = _sweep(self.target, factors, block_size)  # (dampings, in, out)
        errors = (_row_errors(points - self.target.values, hessian).double() @ self._weights).tolist()
        for index, (damping, error) in enumerate(zip(dampings, errors, strict=True)):
            if not math.isfinite(error):
                continue
            self._scored.append(damping)
            if error < self._best:
                self._best, self._damping, self._codes = error, damping, self.target.codes(points[index])

    def solution(self, order: Tensor, dampings: Sequence[float]) -> Solution:
        if self._codes is None:
            raise NoCandidateError(f"no damping in {', '.join(f'{d:g}' for d in dampings)} gave finite weights")
        codes = torch.empty_like(self._codes)
        codes[order] = self._codes
        return Solution(codes.T.contiguous(), self._damping, tuple(d for d in dampings if d not in self._scored))


def _chunks(dampings: Sequence[float], columns: int, rows: int, itemsize: int) -> Iterator[Sequence[float]]:
    """Yield as many dampings at a time as fit into the working memory, at least one.

    A candidate first holds its damped Hessian, the Cholesky factor and the inverse of that, which is selected and then
    reversed (5·in²); later the reversed inverse (in²), the grid points and their distance from the target (2·in·out),
    and when that is scored two panels of products (2·256·out).
    """
    factors = 5 * columns**2
    sweep = columns**2 + 2 * rows * (columns + min(columns, _PANEL))
    size = max(1, _CHUNK_BYTES // (itemsize * max(factors, sweep)))
    for start in range(0, len(dampings), size):
        yield dampings[start : start + size]


def _inverse_factors(hessian: Tensor, dampings: Sequence[float], unit: float) -> tuple[list[float], Tensor]:
    """Return the dampings with a Cholesky factor, and U with ``UᵀU = (H + d·unit·I)⁻¹`` for each.

    The inverse itself is never formed. With rows and columns reversed, H = LLᵀ; reversed back, L becomes an upper
    triangular R with H = RRᵀ, and U = R⁻¹. It takes a quarter of the time on a CPU and squares no condition number.
    """
    shifts = hessian.new_tensor(list(dampings)) * unit
    damped = hessian.flip(0, 1).repeat(len(dampings), 1, 1)
    damped.diagonal(dim1=1, dim2=2).add_(shifts[:, None])
    lower, info = torch.linalg.cholesky_ex(damped)
    inverse = _triangular_inverse(lower)
    usable = (info == 0) & inverse.isfinite().all(2).all(1)
    kept = [d for d, ok in zip(dampings, usable.tolist(), strict=True) if ok]
    return kept, inverse[usable].flip(1, 2)


def _triangular_inverse(lower: Tensor, leaf: int = 64) -> Tensor:
    """Invert lower triangular matrices (n, size, size).

    By halves, [[A, 0], [B, C]]⁻¹ = [[A⁻¹, 0], [−C⁻¹BA⁻¹, C⁻¹]]: solving for the identity does three times the work, on
    zeros, and torch has no call for LAPACK's ``trtri``.
    """
    size = lower.shape[-1]
    if size <= leaf:
        identity = torch.eye(size, dtype=lower.dtype, device=lower.device)
        inverse: Tensor = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
        return inverse
    half = size // 2
    inverse = torch.zeros_like(lower)
    inverse[:, :half, :half] = _triangular_inverse(lower[:, :half, :half], leaf)
    inverse[:, half:, half:] = _triangular_inverse(lower[:, half:, half:], leaf)
    corner = lower[:, half:, :half] @ inverse[:, :half, :half]
    inverse[:, half:, :half] = (inverse[:, half:, half:] @ corner).neg_()
    return inverse


def _sweep(target: _Target, factors: Tensor, block_size: int) -> Tensor:
    """Round the columns one after the other, feeding errors forward.

    Args:
        target: The matrix.
        factors: U, (dampings, in, in).
        block_size: Columns per block; one matrix product feeds a block's errors forward to all later columns.

    Returns:
        Grid points in the target's units, (dampings, in, out).
    """
    work = target.values.repeat(len(factors), 1, 1)
    # Views made once: for matrices of this size the calls cost as much as the arithmetic.
    columns, rows = work.unbind(1), factors.unsqueeze(3).unbind(1)  # (dampings, out), (dampings, in, 1)
    pivots = factors.diagonal(dim1=1, dim2=2).unsqueeze(2).unbind(1)  # (dampings, 1)
    for low in range(0, work.shape[1], block_size):
        high = min(low + block_size, work.shape[1])
        errors = work.new_empty(len(factors), high - low, work.shape[2])
        for column, error in zip(range(low, high), errors.unbind(1), strict=True):
            points = target.rounded(columns[column], column)
            torch.sub(columns[column], points, out=error).div_(pivots[column])
            columns[column].copy_(points)
            rest = column + 1, high - column - 1
            work.narrow(1, *rest).addcmul_(rows[column].narrow(1, *rest), error.unsqueeze(1), value=-1)
        work[:, high:].baddbmm_(factors[:, low:high, high:].mT, errors, alpha=-1)
    return work


def _row_errors(delta: Tensor, hessian: Tensor, panel: int = _PANEL) -> Tensor:
    """Return δ H δᵀ, (dampings, out), for each row of each candidate; ``delta`` is (dampings, in, out).

    H is symmetric: only its part on and right of the diagonal is multiplied, by panels of columns.
    """
    total = delta.new_zeros(delta.shape[0], delta.shape[2])
    for low in range(0, delta.shape[1], panel):
        high = min(low + panel, delta.shape[1])
        product = (hessian[low:high, high:] @ delta[:, high:]).mul_(2)
        product += hessian[low:high, low:high] @ delta[:, low:high]
        total += (product * delta[:, low:high]).sum(1)
    return total
