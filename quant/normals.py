"""Draw standard normals from raw words of Philox: the same on every device, up to the rounding of log, sin and cos.

Word j = 0, 1, … of a key's stream gives two normals (Box and Muller 1958, "A Note on the Generation of Random Normal
Deviates"). With t its upper 31 bits and s its lower 32 bits as a signed integer,

    u = (t + ½)/2³¹,   θ = π s/2³¹,   normal j = √(−2 ln u) cos θ,   normal h + j = √(−2 ln u) sin θ,

so n normals take h = ⌈n/2⌉ words. All of it is float32. Integers become float32 by correct rounding, and ½ and 2³¹ are
powers of two, so devices differ only in ln, sin, cos and the products. Nothing here depends on
``numpy.random.Generator``, whose normals may change between versions (NEP 19); only the raw stream is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from quant.philox import philox

Item = TypeVar("Item")
Result = TypeVar("Result")

Key = tuple[str | int, ...]
"""Key of a stream: see ``quant.philox``."""

HOST = torch.device("cpu")

# (t + ½)/2³¹ is never 0, and exact in float32 below 2⁻⁸: the tail is as fine as its words, out to √(64 ln 2) = 6.66,
# and a normal lies beyond that with probability 3e-11. Near u = 1 float32 is coarse: the radius is 0 or above 3e-4. 31
# bits and not 32, since a signed integer becomes float32 in one instruction everywhere, an unsigned one does not.
U_SHIFT = 33
U_SCALE = 2.0**-31
# θ as a signed fraction of π: float32 is finest about 0, and sin and cos are fastest there.
ANGLE_SCALE = math.pi * 2.0**-31

_PIECE = 1 << 14  # words at a time: 256 KiB with all buffers, inside a core's cache, and below 2¹⁵, where torch would
# start a team of threads of its own inside each of ours
_SHARE = 1 << 18  # most words of one task, a few milliseconds: large tensors and small ones keep all threads at work
_TRIED = 5001  # normals that a device must draw like the host before it is relied upon: several programs, and a rest
_LANES = 4  # words of one block of Philox4x64, which is what Philox.advance counts


def normals(count: int, key: Key, device: torch.device = HOST) -> Tensor:
    """Draw ``count`` standard normals of a key's stream, in float32, on a device.

    They are made on the device itself where ``made_on`` says so, else on the host and copied.
    """
    if made_on(device):
        from quant.normals_triton import device_normals

        return device_normals(count, philox_key(key), device)
    return many_normals([(count, key)])[0].to(device)


@cache
def made_on(device: torch.device) -> bool:
    """Say whether normals are made on a device itself: on CUDA, where Triton's kernel gives those of the host."""
    if device.type != "cuda":
        return False
    try:
        from quant.normals_triton import device_normals

        found = device_normals(_TRIED, philox_key(("tried",)), device).cpu()
    except Exception:  # no Triton, no compiler, or none for this device, each with its own error: the host draws then
        return False
    return torch.allclose(found, many_normals([(_TRIED, ("tried",))])[0], rtol=1e-5, atol=1e-5)


def philox_key(key: Key) -> int:
    """Return the 128-bit key of a stream as Philox takes it."""
    low, high = philox(*key).state["state"]["key"]
    return int(high) << 64 | int(low)


def many_normals(
    streams: Iterable[tuple[int, Key]], threads: int = 1, stopped: Callable[[], bool] = lambda: False
) -> list[Tensor]:
    """Draw the normals of several streams on the host, in shares that keep all threads at work.

    The number of threads changes no bit.

    Args:
        streams: Number of normals and key of each stream.
        threads: Number of threads.
        stopped: Asked every few milliseconds; the draw ends where it answers True.

    Raises:
        CancelledError: if ``stopped`` answered True.
    """
    streams = list(streams)
    drawn = [torch.empty(count) for count, _ in streams]
    shares = [
        (out, key, first, min(first + _SHARE, words))
        for out, (count, key) in zip(drawn, streams, strict=True)
        for words in [-(-count // 2)]
        for first in range(0, words, _SHARE)
    ]

    def draw(share: tuple[Tensor, Key, int, int]) -> None:
        if stopped():
            raise CancelledError("stopped")
        _fill(*share)

    in_threads(draw, shares, threads)
    return drawn


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Apply a function to all items, in threads where there are several of both; the first exception is raised."""
    if min(threads, len(items)) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:  # numpy and torch compute without the interpreter's lock
        return list(pool.map(function, items))


def _fill(out: Tensor, key: Key, first: int, stop: int) -> None:
    """Write the normals that the words from ``first`` to ``stop`` of a stream give."""
    count, half = len(out), -(-len(out) // 2)
    stream = philox(*key).advance(first // _LANES)
    radius, angle = torch.empty(2, min(_PIECE, stop - first))
    for start in range(first, stop, _PIECE):
        end = min(start + _PIECE, stop)
        words = stream.random_raw(end - start)
        r, theta = radius[: end - start], angle[: end - start]
        theta.numpy()[:] = words.astype(np.int32)  # the lower half, whatever the order of bytes
        words >>= np.uint64(U_SHIFT)
        r.numpy()[:] = words.view(np.int64)
        r.add_(0.5).mul_(U_SCALE).log_().mul_(-2).sqrt_()
        theta.mul_(ANGLE_SCALE)
        torch.cos(theta, out=out[start:end]).mul_(r)
        sines = out[half + start : min(half + end, count)]  # the last word of an odd count gives one normal
        torch.mul(r[: len(sines)], theta.sin_()[: len(sines)], out=sines)
