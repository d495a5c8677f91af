"""GPTQ on one Hessian: matrices in, codes out (Frantar et al. 2022, Algorithm 1), all dampings in one sweep.

Columns are rounded one by one; the error of each is fed forward to the columns not yet rounded, in proportion to the
row of U that belongs to it, where ``(H + d·mean(diag H)·I)⁻¹ = UᵀU`` and U is upper triangular.

Two choices make the damping grid cheap. Rows of W do not interact, so each is divided by its scale beforehand and the
grid becomes the integers. And the working copies are stored as (damping, column, row): a column of every candidate is
contiguous, and one step of the sweep is one fused update.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK_BYTES = 2**29  # working memory of the candidates that run together; SmolLM2-135M's eight fit in one chunk


@dataclass(frozen=True)
class Problem:
    """One matrix to put on a grid."""

    weight: Tensor
    """(out, in), float32 or float64."""
    scale: Tensor
    """(out, 1), or (1, 1) for one scale per tensor."""


@dataclass(frozen=True)
class Solution:
    """The best candidate for one matrix."""

    codes: Tensor
    """(out, in), int8."""
    damping: float
    """The damping that it was made with."""
    rejected: tuple[float, ...]
    """Dampings without a candidate: the Cholesky decomposition failed or the numbers overflowed."""


class NoCandidateError(ArithmeticError):
    """Not one damping gave finite weights."""


def dead_columns(hessian: Tensor) -> Tensor:
    """Which inputs are zero on every calibration token, (in,) booleans: no error can be seen in their weights."""
    return hessian.diagonal() == 0


def solve(
    problems: Sequence[Problem],
    hessian: Tensor,
    qmax: int,
    *,
    dampings: Sequence[float],
    block_size: int,
    act_order: bool,
) -> list[Solution]:
    """The codes that minimise ``tr(ΔW H ΔWᵀ)`` over the dampings, for matrices that share a Hessian.

    Candidates are ranked by the undamped H: the damped one puts each on a scale of its own.

    Args:
        problems: The matrices; dead columns are treated as zero.
        hessian: (in, in), in the dtype of the computation.
        qmax: Largest code.
        dampings: Multiples of mean(diag H) that are added to the diagonal.
        block_size: How many columns pass between two updates of all the columns that follow.
        act_order: Whether columns go by decreasing diag(H) rather than as they are stored.

    Raises:
        NoCandidateError: if every damping was rejected for one of the matrices.
    """
    dead = dead_columns(hessian)
    hessian = hessian.clone()
    hessian.diagonal()[dead] = 1
    order = torch.arange(len(hessian), device=hessian.device)
    if act_order:
        order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
        hessian = hessian[order][:, order]
    targets = [(p.weight / p.scale).masked_fill_(dead, 0).T[order].contiguous() for p in problems]  # (in, out)

    searches = [_Search(target, problem.scale) for target, problem in zip(targets, problems, strict=True)]
    for chunk in _chunks(dampings, len(hessian), max(t.shape[1] for t in targets), hessian.element_size()):
        kept, factors = _inverse_factors(hessian, chunk)
        for search in searches:
            search.try_candidates(kept, factors, hessian, qmax, block_size)
    return [search.solution(order, dampings) for search in searches]


class _Search:
    """The best candidate so far for one matrix."""

    def __init__(self, target: Tensor, scale: Tensor) -> None:
        self._target = target  # W / scale, (in, out)
        self._weights = scale.double().square().reshape(-1).expand(target.shape[1])  # of the rows in the error
        self._best = math.inf
        self._codes: Tensor | None = None
        self._damping = math.nan
        self._scored: list[float] = []

    def try_candidates(
        self, dampings: Sequence[float], factors: Tensor, hessian: Tensor, qmax: int, block_size: int
    ) -> None:
        codes = _sweep(self._target, factors, qmax, block_size)  # (dampings, in, out)
        errors = (_row_errors(codes - self._target, hessian).double() @ self._weights).tolist()
        for index, (damping, error) in enumerate(zip(dampings, errors, strict=True)):
            if not math.isfinite(error):
                continue
            self._scored.append(damping)
            if error < self._best:
                self._best, self._damping, self._codes = error, damping, codes[index].to(torch.int8)

    def solution(self, order: Tensor, dampings: Sequence[float]) -> Solution:
        if self._codes is None:
            raise NoCandidateError(f"no damping in {', '.join(f'{d:g}' for d in dampings)} gave finite weights")
        codes = torch.empty_like(self._codes)
        codes[order] = self._codes
        return Solution(codes.T.contiguous(), self._damping, tuple(d for d in dampings if d not in self._scored))


def _chunks(dampings: Sequence[float], columns: int, rows: int, itemsize: int) -> Iterator[Sequence[float]]:
    """As many dampings at a time as fit into the working memory, at least one.

    A candidate holds its damped Hessian, the Cholesky factor, the identity it is solved for and the solution, once more
    when reversed (5·in²), then the codes, their distance from the target and the errors to feed forward (3·in·out).
    """
    size = max(1, _CHUNK_BYTES // (itemsize * columns * (5 * columns + 3 * rows)))
    for start in range(0, len(dampings), size):
        yield dampings[start : start + size]


def _inverse_factors(hessian: Tensor, dampings: Sequence[float]) -> tuple[list[float], Tensor]:
    """The dampings whose Cholesky decomposition exists, and U with ``UᵀU = (H + d·mean(diag H)·I)⁻¹`` for each.

    The inverse itself is never formed. With rows and columns reversed, H = LLᵀ; reversed back, L becomes an upper
    triangular R with H = RRᵀ, and U = R⁻¹. That is a quarter of the time on a CPU and squares no condition number.
    """
    diagonal = hessian.diagonal()
    shifts = hessian.new_tensor(list(dampings)) * diagonal.mean()
    damped = hessian.flip(0, 1).repeat(len(dampings), 1, 1)
    damped.diagonal(dim1=1, dim2=2).add_(shifts[:, None])
    lower, info = torch.linalg.cholesky_ex(damped)
    identity = torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device)
    inverse = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
    usable = (info == 0) & inverse.isfinite().all(2).all(1)
    kept = [d for d, ok in zip(dampings, usable.tolist(), strict=True) if ok]
    return kept, inverse[usable].flip(1, 2)


def _sweep(target: Tensor, factors: Tensor, qmax: int, block_size: int) -> Tensor:
    """Round the columns one after the other, feeding errors forward.

    Args:
        target: W / scale, (in, out).
        factors: U, (dampings, in, in).
        qmax: Largest code.
        block_size: Columns per block; what a block owes to later columns is paid in one matrix product.

    Returns:
        Codes as floats, (dampings, in, out).
    """
    work = target.repeat(len(factors), 1, 1)
    pivots = factors.diagonal(dim1=1, dim2=2)  # (dampings, in)
    for low in range(0, work.shape[1], block_size):
        high = min(low + block_size, work.shape[1])
        errors = work.new_empty(len(factors), high - low, work.shape[2])
        for column in range(low, high):
            current, error = work[:, column], errors[:, column - low]  # (dampings, out)
            codes = current.round().clamp_(-qmax, qmax)
            torch.sub(current, codes, out=error).div_(pivots[:, column, None])
            current.copy_(codes)
            rest = slice(column + 1, high)
            work[:, rest].addcmul_(factors[:, column, rest, None], error[:, None], value=-1)
        work[:, high:].baddbmm_(factors[:, low:high, high:].mT, errors, alpha=-1)
    return work


def _row_errors(delta: Tensor, hessian: Tensor, panel: int = 256) -> Tensor:
    """δ H δᵀ for each row of each candidate; ``delta`` is (dampings, in, out), the result (dampings, out).

    H is symmetric: by panels of columns, only what lies on and right of the diagonal is multiplied.
    """
    total = delta.new_zeros(delta.shape[0], delta.shape[2])
    for low in range(0, delta.shape[1], panel):
        high = min(low + panel, delta.shape[1])
        product = 2 * (hessian[low:high, high:] @ delta[:, high:])
        product += hessian[low:high, low:high] @ delta[:, low:high]
        total += (product * delta[:, low:high]).sum(1)
    return total
