"""Round to a codebook: levels that are not evenly spaced, such as those of small floats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Codebook:
    """Levels symmetric around 0; a code is the index of a magnitude, with the sign of the level."""

    magnitudes: tuple[float, ...]
    """Ascending from 0, at least two; the distances of neighbours never fall."""

    @property
    def widest(self) -> float:
        """The largest distance of neighbouring levels, that of the last two."""
        return self.magnitudes[-1] - self.magnitudes[-2]

    def encode(self, values: Tensor) -> Tensor:
        """Return the codes of the nearest levels, in the dtype of ``values``; beyond the last level its code.

        A tie goes to the even code: casts to small floats round ties to the even mantissa, which is the last bit of
        the code. NaN stays NaN.
        """
        return self._signed(self._indices(values).to(values.dtype), values)

    def nearest(self, values: Tensor) -> Tensor:
        """Return the nearest levels: ``decode(encode(values))``, but for NaN, which stays NaN."""
        magnitudes, _ = _tables(self.magnitudes, values.dtype, values.device)
        return self._signed(magnitudes[self._indices(values)], values)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the levels of codes, in the dtype of ``codes``, which holds whole numbers as floats."""
        magnitudes, _ = _tables(self.magnitudes, codes.dtype, codes.device)
        return magnitudes[codes.abs().int()].copysign_(codes)

    def covers(self, values: Tensor) -> Tensor:
        """Return which values would round to a level if the last distance went on beyond the last level."""
        _, bounds = _tables((*self.magnitudes, self.magnitudes[-1] + self.widest), values.dtype, values.device)
        return values.abs() <= bounds[-1]

    def _indices(self, values: Tensor) -> Tensor:
        _, bounds = _tables(self.magnitudes, values.dtype, values.device)
        return torch.bucketize(values.abs().contiguous(), bounds, out_int32=True)

    @staticmethod
    def _signed(found: Tensor, values: Tensor) -> Tensor:
        return found.copysign_(values).masked_fill_(values.isnan(), torch.nan)


@lru_cache(maxsize=64)
def _tables(magnitudes: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the magnitudes, and the greatest value that rounds to each but the last.

    Half way between an odd code and the next, that is the greatest value below, since the tie is not the odd code's.
    """
    with torch.inference_mode(False):  # they are kept, and autograd takes no tensor of that mode
        levels = torch.tensor(magnitudes, dtype=dtype)
        bounds = (levels[:-1] + levels[1:]) / 2
        below = torch.nextafter(bounds, torch.zeros_like(bounds))
        odd = torch.arange(len(bounds)) % 2 == 1
        return levels.to(device), torch.where(odd, below, bounds).to(device)
