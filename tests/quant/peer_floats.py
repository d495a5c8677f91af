"""Quantize matrices with compressed-tensors itself, as the reference of the float formats."""

from __future__ import annotations

from dataclasses import dataclass

from compressed_tensors.compressors import MXFP4PackedCompressor, NVFP4PackedCompressor
from compressed_tensors.quantization import QuantizationArgs, preset_name_to_scheme
from compressed_tensors.quantization.lifecycle.forward import fake_quantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from torch import Tensor

PRESETS = {"nvfp4": "NVFP4A16", "mxfp4": "MXFP4A16", "fp8": "FP8_DYNAMIC"}
_PACKERS = {"nvfp4": NVFP4PackedCompressor, "mxfp4": MXFP4PackedCompressor}


@dataclass(frozen=True)
class PeerMatrix:
    """One matrix as compressed-tensors quantizes it; the scales are those of a min-max observer."""

    name: str
    weight: Tensor
    scale: Tensor
    shared: Tensor | None
    """The global scale of NVFP4."""
    zero: Tensor

    @classmethod
    def of(cls, name: str, weight: Tensor) -> PeerMatrix:
        args = _args(name)
        blocks = weight[:, None] if args.group_size is None else weight.unflatten(1, (-1, args.group_size))
        shared = generate_gparam(weight.min(), weight.max()) if name == "nvfp4" else None
        return cls(name, weight, *_reordered(calculate_qparams(blocks.amin(2), blocks.amax(2), args, shared), shared))

    @property
    def effective(self) -> Tensor:
        """The scale of a level, (out, groups)."""
        return self.scale if self.shared is None else self.scale / self.shared

    @property
    def levels(self) -> Tensor:
        """Levels, which are the codes."""
        return quantize(self.weight, self.scale, self.zero, _args(self.name), global_scale=self.shared)

    @property
    def dequantized(self) -> Tensor:
        return fake_quantize(self.weight, self.scale, self.zero, _args(self.name), global_scale=self.shared)

    @property
    def written(self) -> dict[str, Tensor]:
        """The tensors that its compressor writes; of 4-bit formats."""
        state = {"weight": self.weight, "weight_scale": self.scale}
        if self.shared is not None:
            state["weight_global_scale"] = self.shared
        found: dict[str, Tensor] = _PACKERS[self.name].compress(state, _scheme(self.name))
        return found


def _scheme(name: str):
    return preset_name_to_scheme(PRESETS[name], ["Linear"])


def _args(name: str) -> QuantizationArgs:
    return _scheme(name).weights


def _reordered(found: tuple[Tensor, Tensor], shared: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
    return found[0], shared, found[1]
