"""Draw the normals of ``quant.normals`` on a CUDA device, from the same counters, in one Triton kernel.

Imported only where Triton and a device are there, since Triton has no wheel for every platform. numpy counts before it
makes a block, so that the counter of the block with words 4i … 4i + 3 is i + 1.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from quant.normals import ANGLE_SCALE, U_SCALE, U_SHIFT

_WORDS = 1024  # per program
_ROUNDS = 10

# Multipliers and key increments of Philox4x64 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3")
_M0 = tl.constexpr(0xD2E7470EE14C6C93)
_M1 = tl.constexpr(0xCA5A826395121157)
_W0 = tl.constexpr(0x9E3779B97F4A7C15)
_W1 = tl.constexpr(0xBB67AE8584CAA73B)
_SHIFT = tl.constexpr(U_SHIFT)
_U = tl.constexpr(U_SCALE)
_ANGLE = tl.constexpr(ANGLE_SCALE)


def device_normals(count: int, key: int, device: torch.device) -> Tensor:
    """Draw ``count`` normals of the stream with a 128-bit key on a device.

    Args:
        count: Number of normals.
        key: Key of Philox4x64.
        device: The CUDA device; Triton's interpreter takes the host too.
    """
    out = torch.empty(count, device=device)
    half = -(-count // 2)
    low, high = (_signed(key >> shift & 0xFFFFFFFFFFFFFFFF) for shift in (0, 64))
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():  # Triton launches on the current one
        fill_normals[(-(-half // _WORDS),)](out, count, half, low, high, WORDS=_WORDS, ROUNDS=_ROUNDS)
    return out


def _signed(word: int) -> int:
    """Return the signed integer with the bits of a word: Triton gives all of them one type then."""
    return word - (1 << 64) if word >> 63 else word


@triton.jit(do_not_specialize=["count", "half", "low", "high"])  # type: ignore[untyped-decorator]
def fill_normals(out, count, half, low, high, WORDS: tl.constexpr, ROUNDS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the normals of ``WORDS`` words of a stream; a program's first word is its index times that."""
    BLOCKS: tl.constexpr = WORDS // 4
    first = tl.program_id(0).to(tl.int64) * WORDS
    c0 = (first // 4 + 1 + tl.arange(0, BLOCKS)).to(tl.uint64)
    c1, c2, c3 = tl.zeros_like(c0), tl.zeros_like(c0), tl.zeros_like(c0)
    k0 = low.to(tl.int64).to(tl.uint64, bitcast=True)
    k1 = high.to(tl.int64).to(tl.uint64, bitcast=True)
    m0, m1 = tl.full([BLOCKS], _M0, tl.uint64), tl.full([BLOCKS], _M1, tl.uint64)
    for _ in tl.static_range(ROUNDS):
        high0, low0 = tl.umulhi(m0, c0), m0 * c0
        high1, low1 = tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += _W0
        k1 += _W1
    words = tl.interleave(tl.interleave(c0, c2), tl.interleave(c1, c3))  # lanes 0, 1, 2, 3 of each block in turn
    u = ((words >> _SHIFT).to(tl.int32).to(tl.float32) + 0.5) * _U
    theta = words.to(tl.int32).to(tl.float32) * _ANGLE
    radius = tl.sqrt_rn(-2.0 * tl.log(u))
    j = first + tl.arange(0, WORDS)
    tl.store(out + j, radius * tl.cos(theta), mask=j < half)
    tl.store(out + half + j, radius * tl.sin(theta), mask=half + j < count)
