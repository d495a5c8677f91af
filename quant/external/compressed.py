"""Decode the layers of compressed-tensors (llm-compressor), and FP8 and FP4 checkpoints of other tools.

The packing of a layer is inferred from its tensors, since one checkpoint may mix formats; the config gives the possible
bit widths and the size of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quant.errors import PointError
from quant.external.floats import FLOAT8, e2m1, e2m3, scaled_floats
from quant.external.layers import StoredLayer
from quant.external.packing import WORD, check_scales, scaled, signed_codes, signed_zeros
from quant.space import Slot

Block = tuple[int, int]
_STRADDLING = (3, 5, 6, 7)
"""Widths at which older releases pad each word, and newer ones let fields straddle two words."""


@dataclass(frozen=True)
class CompressedTensors:
    """Integers and floats of compressed-tensors; one checkpoint may mix them."""

    bits: tuple[int, ...]
    """The integer widths of its config groups; a layer's shapes say which one it has."""
    block: Block | None = None
    """Rows and inputs of a block of FP8."""
    name: str = "compressed-tensors"
    fields: tuple[str, ...] = (
        "weight_scale", "weight_packed", "weight_shape", "weight_zero_point", "weight_g_idx", "weight_global_scale",
    )  # fmt: skip
    marks: tuple[str, ...] = ("weight_scale", "weight_packed")

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Decode the weights of one layer; see ``Codec``."""
        stored = layer["weight_packed" if "weight_packed" in layer.names else "weight"]
        if stored.dtype == torch.uint8 or stored.dtype in FLOAT8:
            return self._floats(stored, layer, slot)
        return self._integers(stored, layer, slot)

    def _floats(self, stored: Tensor, layer: StoredLayer, slot: Slot) -> Tensor:
        if "weight_zero_point" in layer.names:
            raise PointError("expected floats without a zero-point, found weight_zero_point")
        scale, shared = layer["weight_scale"], layer.get("weight_global_scale")
        weight = scaled_floats(_values(stored, slot.shape), scale, slot.shape, self.block)
        return (weight if shared is None else weight / _single(shared, "weight_global_scale")).float()

    def _integers(self, stored: Tensor, layer: StoredLayer, slot: Slot) -> Tensor:
        scale, zeros = layer["weight_scale"], layer.get("weight_zero_point")
        bits = 8
        if "weight_packed" in layer.names:
            shape = tuple(layer["weight_shape"].tolist())
            if shape != slot.shape:
                raise PointError(f"expected weight_shape {slot.shape}, got {shape}")
            bits = self._bits(stored, slot)
            codes = signed_codes(stored, bits, slot.shape)
        elif stored.dtype != torch.int8 or tuple(stored.shape) != slot.shape:
            raise PointError(
                f"expected int8 or 8-bit float weights of shape {slot.shape} beside weight_scale, "
                f"got {stored.dtype} of shape {tuple(stored.shape)}"
            )
        else:
            codes = stored
        if zeros is not None:
            grid = (1, 1) if scale.numel() == 1 else (slot.shape[0], scale.shape[-1])
            zeros = signed_zeros(zeros, bits, grid)
        return scaled(codes, scale, zeros, layer.get("weight_g_idx"))

    def _bits(self, packed: Tensor, slot: Slot) -> int:
        inputs = slot.shape[1]
        fitting = [bits for bits in self.bits if packed.shape[-1] == -(-inputs * bits // WORD)]
        if len(fitting) != 1:
            raise PointError(
                f"expected {inputs} inputs packed with bits of {', '.join(map(str, self.bits))}, "
                f"got {packed.shape[-1]} words a row"
            )
        if fitting[0] in _STRADDLING and inputs * fitting[0] % WORD:
            raise PointError(
                f"expected whole words of {fitting[0]}-bit fields, got {inputs} inputs, which two releases of "
                "compressed-tensors pack in two ways"
            )
        return fitting[0]


@dataclass(frozen=True)
class Floats:
    """FP8 of DeepSeek, transformers, FBGEMM and GPTQModel, and FP8 and NVFP4 of ModelOpt."""

    name: str
    block: Block | None = None
    """Rows and inputs of a block that shares a scale."""
    inverse: bool = False
    """Whether the scales divide the numbers, as those of GPTQModel do; DeepSeek's ``weight_scale_inv`` multiplies."""
    fields: tuple[str, ...] = ("weight_scale", "weight_scale_inv", "weight_scale_2")
    marks: tuple[str, ...] = ("weight_scale", "weight_scale_inv")

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Decode the weights of one layer; see ``Codec``."""
        stored, shared = layer["weight"], layer.get("weight_scale_2")
        names = [name for name in self.marks if name in layer.names]
        if len(names) != 1:
            raise PointError(f"expected one of {', '.join(self.marks)}, found {', '.join(names)}")
        weight = scaled_floats(_values(stored, slot.shape), layer[names[0]], slot.shape, self.block, self.inverse)
        return (weight if shared is None else weight * _single(shared, "weight_scale_2")).float()


@dataclass(frozen=True)
class StackedMxfp4:
    """MXFP4 of GPT-OSS: the experts' blocks of 32 numbers, and an exponent for each block."""

    name: str = "mxfp4"
    fields: tuple[str, ...] = ("blocks", "scales")
    marks: tuple[str, ...] = ("blocks",)

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Decode one expert from blocks, (out, groups, 16) bytes, and scales, (out, groups) bytes; see ``Codec``."""
        outputs, inputs = slot.shape[1 - slot.input_dim], slot.inputs
        blocks, scales = layer["blocks"], layer["scales"]
        if tuple(blocks.shape) != (outputs, *scales.shape[1:], 16) or scales.dtype != torch.uint8:
            raise PointError(
                f"expected blocks of shape ({outputs}, groups, 16) and bytes as scales ({outputs}, groups), got "
                f"{tuple(blocks.shape)} and {scales.dtype} {tuple(scales.shape)}"
            )
        weight = scaled_floats(e2m1(blocks.flatten(1)), scales, (outputs, inputs)).float()
        return weight.T.contiguous() if slot.transposed else weight


def _values(stored: Tensor, shape: Block) -> Tensor:
    """Return the numbers of a stored tensor, bytes unpacked; their count says how they are packed."""
    if stored.dtype == torch.uint8 and stored.ndim == 2:
        if stored.shape[1] * 2 == shape[1]:
            return e2m1(stored)
        if stored.shape[1] * 4 == shape[1] * 3:
            return e2m3(stored)
    elif stored.dtype in FLOAT8:
        return stored
    raise PointError(
        f"expected floats of 8, 6 or 4 bits for weights of shape {shape}, got {stored.dtype} of shape "
        f"{tuple(stored.shape)}"
    )


def _single(scale: Tensor, name: str) -> float:
    check_scales(name, scale)
    if scale.numel() != 1:
        raise PointError(f"expected one {name} for the tensor, got shape {tuple(scale.shape)}")
    return float(scale.double())
