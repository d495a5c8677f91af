"""How other tools store the weights of one linear layer: which tensors, and what they stand for.

A codec is made from the quantization config of a checkpoint. It says which tensors belong to a layer and turns them
into its weights. A layer with a plain float ``weight`` was left as it is by the tool, in every format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from quant.errors import PointError
from quant.external.packing import (
    GPTQ_BITS,
    WORD,
    awq_weight,
    gptq_weight,
    neighbours,
    scaled,
    signed_codes,
    signed_zeros,
)
from quant.space import Slot

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class StoredLayer:
    """The tensors of one linear layer in a folder."""

    names: Mapping[str, str]
    """The stored name of each field: ``qweight``, ``scales``, …"""
    read: Callable[[str], Tensor]
    """Reads a tensor by its stored name."""

    def __getitem__(self, field: str) -> Tensor:
        if field not in self.names:
            raise PointError(f"expected a tensor {field!r}, found {', '.join(sorted(self.names))}")
        return self.read(self.names[field])

    def get(self, field: str) -> Tensor | None:
        """The tensor of a field, None if the layer has none."""
        return self[field] if field in self.names else None


class Codec(Protocol):
    """One tool's way to store a layer."""

    @property
    def name(self) -> str:
        """What the format is called in the provenance."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """The tensors of a packed layer beside ``weight``; the first one is there if and only if it is packed."""
        ...

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """The weights of a packed layer, float32, in the stored shape of the slot.

        Raises:
            PointError: if the tensors do not fit together or into the slot.
        """
        ...


@dataclass(frozen=True)
class Plain:
    """No packed layers."""

    name: str = "safetensors"
    fields: tuple[str, ...] = ()

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Never called: it has no fields."""
        raise PointError(f"expected plain weights for {slot.name}")


@dataclass(frozen=True)
class Gptq:
    """AutoGPTQ and GPTQModel; the bits of a layer are read off its shapes, since ``dynamic`` rules may change them."""

    zeros_less_one: bool
    name: str = "gptq"
    fields: tuple[str, ...] = ("qweight", "qzeros", "scales", "g_idx")

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """See ``Codec``."""
        outputs, inputs = _sides(slot)
        qweight, qzeros, scales = layer["qweight"], layer["qzeros"], layer["scales"]
        bits = qweight.shape[0] * WORD // inputs
        if qweight.ndim != 2 or bits not in GPTQ_BITS or tuple(qweight.shape) != (inputs * bits // WORD, outputs):
            raise PointError(
                f"expected qweight of shape ({inputs} · bits / {WORD}, {outputs}) with bits of "
                f"{', '.join(map(str, GPTQ_BITS))}, got {tuple(qweight.shape)}"
            )
        groups = layer.get("g_idx")
        if groups is None:
            groups = neighbours(inputs, scales.shape[0])
        elif tuple(groups.shape) != (inputs,):
            raise PointError(f"expected g_idx of shape ({inputs},), got {tuple(groups.shape)}")
        weight = gptq_weight(qweight, qzeros, scales, groups, bits, zeros_less_one=self.zeros_less_one)
        return weight.T.contiguous() if slot.transposed else weight


@dataclass(frozen=True)
class Awq:
    """AutoAWQ's ``gemm``."""

    name: str = "awq"
    fields: tuple[str, ...] = ("qweight", "qzeros", "scales")

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """See ``Codec``."""
        weight = awq_weight(layer["qweight"], layer["qzeros"], layer["scales"], _sides(slot)[1])
        return weight.T.contiguous() if slot.transposed else weight


@dataclass(frozen=True)
class CompressedTensors:
    """``pack-quantized`` and ``int-quantized`` of compressed-tensors; one checkpoint may mix them."""

    bits: tuple[int, ...]
    """The widths of its config groups; which of them a layer has is read off its shapes."""
    name: str = "compressed-tensors"
    fields: tuple[str, ...] = ("weight_scale", "weight_packed", "weight_shape", "weight_zero_point", "weight_g_idx")

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """See ``Codec``."""
        scale, zeros = layer["weight_scale"], layer.get("weight_zero_point")
        bits = 8
        if "weight_packed" in layer.names:
            packed = layer["weight_packed"]
            shape = tuple(layer["weight_shape"].tolist())
            if shape != slot.shape:
                raise PointError(f"expected weight_shape {slot.shape}, got {shape}")
            bits = self._bits(packed, slot)
            codes = signed_codes(packed, bits, slot.shape)
        else:
            codes = layer["weight"]
            if codes.dtype != torch.int8:
                raise PointError(f"expected int8 weights beside weight_scale, got {codes.dtype}; floats are not read")
        if zeros is not None:
            grid = (1, 1) if scale.numel() == 1 else (slot.shape[0], scale.shape[-1])
            zeros = signed_zeros(zeros, bits, grid)
        return scaled(codes, scale, zeros, layer.get("weight_g_idx"))

    def _bits(self, packed: Tensor, slot: Slot) -> int:
        fitting = [bits for bits in self.bits if packed.shape[-1] == -(-slot.shape[1] * bits // WORD)]
        if len(fitting) != 1:
            raise PointError(
                f"expected {slot.shape[1]} inputs packed with bits of {', '.join(map(str, self.bits))}, "
                f"got {packed.shape[-1]} words a row"
            )
        return fitting[0]


def find_codec(config: Mapping[str, Any] | None) -> Codec:
    """The codec of a quantization config, as ``config.json`` has it; None is a checkpoint of plain floats.

    Raises:
        PointError: if the method or its variant is not known.
    """
    if config is None:
        return Plain()
    method = str(config.get("quant_method", "")).lower()
    if method == "gptq":
        form = str(config.get("checkpoint_format") or config.get("format") or "gptq").lower()
        _known("checkpoint_format", form, ("gptq", "gptq_v2"))
        return Gptq(form == "gptq")
    if method == "awq":
        _known("version", str(config.get("version") or config.get("format") or "gemm").lower(), ("gemm",))
        _known("bits", config.get("bits", 4), (4,))
        return Awq()
    if method == "compressed-tensors":
        return CompressedTensors(_compressed_bits(config))
    raise PointError(
        f"expected quant_method gptq, awq or compressed-tensors, got {method or 'none'!r}; "
        "dequantize the model with the tool that made it and save it as plain safetensors"
    )


def _compressed_bits(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The bit widths of the config groups; older releases of compressed-tensors pad odd widths, newer ones do not."""
    groups = [group for group in (config.get("config_groups") or {}).values() if group.get("weights")]
    for group in groups:
        form = group.get("format") or config.get("format")
        _known("format", form, ("pack-quantized", "int-quantized", "naive-quantized", "dense"))
        _known("weights of type", group["weights"].get("type", "int"), ("int",))
        _known("num_bits", group["weights"].get("num_bits"), (2, 4, 8) if form == "pack-quantized" else range(2, 9))
    return tuple(sorted({int(group["weights"]["num_bits"]) for group in groups}))


def _known(what: str, value: object, known: tuple[object, ...] | range) -> None:
    if value not in known:
        raise PointError(f"expected {what} {' or '.join(map(str, known))}, got {value!r}")


def _sides(slot: Slot) -> tuple[int, int]:
    """(out, in)."""
    rows, columns = slot.shape
    return (columns, rows) if slot.transposed else (rows, columns)
