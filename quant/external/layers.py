"""Decode one linear layer from the tensors in which other tools store its weights.

A codec is made from the quantization config of a checkpoint (``quant.external.formats``). It says which tensors belong
to a layer and turns them into its weights. A layer with a plain float ``weight`` was left as it is by the tool, in
every format.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from quant.errors import PointError
from quant.external.fields import check_field
from quant.external.packing import GPTQ_BITS, WORD, awq_weight, gptq_weight, neighbours
from quant.space import Slot

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class StoredLayer:
    """The tensors of one linear layer in a folder."""

    names: Mapping[str, str]
    """The stored name of each field: ``qweight``, ``scales``, …"""
    read: Callable[[str], Tensor]
    """Function that reads a tensor by its stored name."""

    def __getitem__(self, field: str) -> Tensor:
        if field not in self.names:
            raise PointError(f"expected a tensor {field!r}, found {', '.join(sorted(self.names))}")
        tensor = self.read(self.names[field])
        check_field(field, tensor)
        return tensor

    def get(self, field: str) -> Tensor | None:
        """Return the tensor of a field; None if the layer has none."""
        return self[field] if field in self.names else None


class Codec(Protocol):
    """One tool's way to store a layer."""

    @property
    def name(self) -> str:
        """Name of the format in the provenance."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """The tensors of a packed layer besides ``weight``."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """Fields of which a layer has one if and only if it is packed."""
        ...

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Return the weights of a packed layer, float32, in the stored shape of the slot.

        Raises:
            PointError: if the tensors do not fit together or into the slot.
        """
        ...


def is_packed(fields: Collection[str], codec: Codec) -> bool:
    """Return whether a layer with these fields is one that the tool quantized."""
    return any(mark in fields for mark in codec.marks)


def decoded(layer: StoredLayer, slot: Slot, codec: Codec) -> Tensor:
    """Return the weights of a layer, packed or not: float32, in the stored shape of the slot.

    Raises:
        PointError: if its tensors do not fit together or into the slot.
    """
    if is_packed(layer.names, codec):
        return codec.weight(layer, slot)
    return layer["weight"].float()


@dataclass(frozen=True)
class Plain:
    """No packed layers."""

    name: str = "safetensors"
    fields: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Refuse, since no layer is packed."""
        raise PointError(f"expected plain weights for {slot.name}")


@dataclass(frozen=True)
class Gptq:
    """AutoGPTQ, GPTQModel and AutoRound; a layer's shapes give its bits, since rules by name change them."""

    zeros_less_one: bool
    name: str = "gptq"
    fields: tuple[str, ...] = ("qweight", "qzeros", "scales", "g_idx")
    marks: tuple[str, ...] = ("qweight",)

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Decode the weights of one layer; see ``Codec``."""
        outputs, inputs = sides(slot)
        qweight, qzeros, scales = layer["qweight"], layer["qzeros"], layer["scales"]
        bits = qweight.shape[0] * WORD // inputs
        if bits not in GPTQ_BITS or tuple(qweight.shape) != (inputs * bits // WORD, outputs):
            raise PointError(
                f"expected qweight of shape ({inputs} · bits / {WORD}, {outputs}) with bits of "
                f"{', '.join(map(str, GPTQ_BITS))}, got {tuple(qweight.shape)}"
            )
        groups = layer.get("g_idx")
        if groups is None or not groups.numel():
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
    marks: tuple[str, ...] = ("qweight",)

    def weight(self, layer: StoredLayer, slot: Slot) -> Tensor:
        """Decode the weights of one layer; see ``Codec``."""
        weight = awq_weight(layer["qweight"], layer["qzeros"], layer["scales"], sides(slot)[1])
        return weight.T.contiguous() if slot.transposed else weight


def sides(slot: Slot) -> tuple[int, int]:
    """Return (out, in) of a slot."""
    rows, columns = slot.shape
    return (columns, rows) if slot.transposed else (rows, columns)
