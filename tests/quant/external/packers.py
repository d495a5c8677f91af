"""Packers of other tools' layouts, written bit by bit so that nothing is shared with ``quant.external.packing``."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]


def bit_stream(rows: Ints, bits: int) -> Tensor:
    """Each row as one stream of bits, the lowest of a field first, in 32-bit words."""
    words = np.zeros((rows.shape[0], -(-rows.shape[1] * bits // 32)), np.uint32)
    for row, column in np.ndindex(*rows.shape):
        for bit in range(bits):
            if int(rows[row, column]) >> bit & 1:
                place = column * bits + bit
                words[row, place // 32] |= np.uint32(1 << place % 32)
    return torch.from_numpy(words.view(np.int32).copy())


def gptq(codes: Ints, zeros: Ints, bits: int, less_one: bool = True) -> dict[str, Tensor]:
    """AutoGPTQ's: ``codes`` (out, in), ``zeros`` (out, groups)."""
    return {
        "qweight": bit_stream(codes, bits).T.contiguous(),
        "qzeros": bit_stream((zeros.T - less_one) % 2**bits, bits),
    }


def awq(codes: Ints, zeros: Ints) -> dict[str, Tensor]:
    """AutoAWQ's ``gemm``: eight outputs a word, the even ones first."""

    def interleaved(rows: Ints) -> Ints:
        eights = [[*row[i : i + 8 : 2], *row[i + 1 : i + 8 : 2]] for row in rows for i in range(0, len(row), 8)]
        return np.array(eights).reshape(rows.shape)

    return {"qweight": bit_stream(interleaved(codes.T), 4), "qzeros": bit_stream(interleaved(zeros.T), 4)}


def compressed(codes: Ints, bits: int, zeros: Ints | None = None) -> dict[str, Tensor]:
    """compressed-tensors' ``pack-quantized``: signed ``codes`` (out, in), signed ``zeros`` (out, groups)."""
    half = 2 ** (bits - 1)
    tensors = {"weight_packed": bit_stream(codes + half, bits), "weight_shape": torch.tensor(codes.shape)}
    if zeros is not None:
        tensors["weight_zero_point"] = bit_stream((zeros + half).T, bits).T.contiguous()
    return tensors


def pattern(outputs: int, inputs: int, groups: int, bits: int) -> tuple[Ints, Ints]:
    """Codes (out, in) in [0, 2^B) and zero-points (out, groups) in [1, 2^B), by a formula, for the golden hashes."""
    o, i, g = np.arange(outputs)[:, None], np.arange(inputs)[None], np.arange(groups)[None]
    return (7 * o + 3 * i + o * i) % 2**bits, 1 + (o + 5 * g) % (2**bits - 1)


def digest(*tensors: Tensor) -> str:
    """Of the words, little-endian, row by row."""
    return hashlib.sha256(b"".join(t.contiguous().numpy().astype("<i4").tobytes() for t in tensors)).hexdigest()[:16]
