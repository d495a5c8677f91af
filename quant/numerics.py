"""Enforce the numerics policy: float32 means float32, unless TF32 was asked for by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

T = TypeVar("T")

HIGHEST, HIGH = "highest", "high"
PRECISIONS = (HIGHEST, HIGH)
"""Precisions of float32 products, in torch's words: ``highest`` is float32, ``high`` TF32 on a CUDA card."""


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute matrix products and convolutions of float32 in float32, whatever the process has set.

    TF32 keeps 10 bits of the mantissa: a Hessian made with it is not positive definite at small dampings.
    """
    with matmul_precision(HIGHEST):
        yield


@contextmanager
def matmul_precision(level: str) -> Iterator[None]:
    """Compute matrix products and convolutions of float32 at one of ``PRECISIONS``; restore the process's own after.

    torch's default differs between the two: float32 for products, TF32 for convolutions. Newer releases have a flag
    for each operation besides, which may follow a general one: both kinds are set, so that neither undoes the other.
    """
    words, products, convolutions = _words(), _read(_products), _read(_convolutions)
    torch.set_float32_matmul_precision(level)
    torch.backends.cudnn.allow_tf32 = level != HIGHEST
    _set_words(["ieee" if level == HIGHEST else "tf32"] * len(words))
    try:
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            torch.backends.cudnn.allow_tf32 = convolutions
        _set_words(words)


def _products() -> str:
    return torch.get_float32_matmul_precision()


def _convolutions() -> bool:
    return bool(torch.backends.cudnn.allow_tf32)


def _read(flag: Callable[[], T]) -> T | None:
    """Read a flag of the older kind; None where the newer flags contradict it, of which torch makes an error."""
    try:
        return flag()
    except RuntimeError:
        return None


def _operations() -> list[Any]:
    """Return the operations of CUDA that have a flag of their own; none in older releases of torch."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    return [cuda.matmul, cudnn.conv, cudnn.rnn] if hasattr(cudnn, "conv") else []


def _words() -> list[str]:
    return [str(operation.fp32_precision) for operation in _operations()]


def _set_words(words: Sequence[str]) -> None:
    for operation, word in zip(_operations(), words, strict=True):
        operation.fp32_precision = word
