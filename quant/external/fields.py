"""Check that a tensor of a packed layer is of the dtypes and dimensions that its name stands for.

The decoders compute with what they are given, and torch raises many errors, or none, on a tensor of another kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.errors import PointError

_WORDS = (torch.int32,)
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
_REALS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
_SCALES = (*_REALS, *_FLOAT8, torch.uint8, torch.float8_e8m0fnu)

_FIELDS: dict[str, tuple[tuple[torch.dtype, ...], tuple[int, ...]]] = {
    "qweight": (_WORDS, (2,)),
    "qzeros": (_WORDS, (2,)),
    "scales": ((*_REALS, torch.uint8), (2,)),
    "g_idx": (_INTEGERS, (1,)),
    "blocks": ((torch.uint8,), (3,)),
    "weight": ((*_REALS, *_FLOAT8, torch.int8, torch.uint8), (2,)),
    "weight_packed": ((torch.int32, torch.uint8), (2,)),
    "weight_shape": (_INTEGERS, (1,)),
    "weight_g_idx": (_INTEGERS, (1,)),
    "weight_zero_point": (_INTEGERS, (0, 1, 2)),
    "weight_scale": (_SCALES, (0, 1, 2)),
    "weight_scale_inv": (_SCALES, (0, 1, 2)),
    "weight_global_scale": (_REALS, (0, 1, 2)),
    "weight_scale_2": (_REALS, (0, 1, 2)),
}
"""Dtypes and numbers of dimensions of each field; other fields are not computed with."""


def check_field(name: str, tensor: Tensor) -> None:
    """Check a tensor of a packed layer.

    Args:
        name: The field, ``qweight``, ``scales``, …
        tensor: Its tensor.

    Raises:
        PointError: if it is of another dtype, or has another number of dimensions.
    """
    dtypes, dimensions = _FIELDS.get(name, ((tensor.dtype,), (tensor.ndim,)))
    if tensor.dtype not in dtypes or tensor.ndim not in dimensions:
        kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        found = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
        raise PointError(
            f"expected {name} as {kinds} in {' or '.join(map(str, dimensions))} dimensions, got "
            f"{found if tensor.ndim else 'a single number'}"
        )
