"""Enforce the numerics policy: float32 means float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute matrix products of float32 in float32, not in TF32 or bfloat16, whatever the process has set.

    TF32 keeps 10 bits of the mantissa: a Hessian made with it is not positive definite at small dampings.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
