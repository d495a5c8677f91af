"""Folders that other tools could have made of a model, and the weights that they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint
from quant.external.load import load_external
from quant.space import Slot
from tests.quant.external import packers

Save = Callable[..., Path]
Layer = tuple[dict[str, Tensor], Tensor]
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 8, "checkpoint_format": "gptq"}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 8, "version": "gemm", "zero_point": True}


def compressed(form: str = "pack-quantized", bits: int = 4, **weights: object) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"num_bits": bits, "type": "int", **weights}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}


def drawn(slot: Slot, bits: int, groups: int) -> tuple[packers.Ints, packers.Ints, Tensor, packers.Ints]:
    """Codes and zero-points from 1 up, half-precision scales, and shuffled groups; everything (out, …)."""
    rows, columns = slot.shape
    outputs, inputs = (columns, rows) if slot.transposed else (rows, columns)
    generator = np.random.default_rng(slot.offset)
    codes = generator.integers(0, 2**bits, (outputs, inputs))
    zeros = generator.integers(1, 2**bits, (outputs, groups))
    scales = torch.from_numpy(generator.uniform(0.01, 0.1, (outputs, groups))).half()
    return codes, zeros, scales, generator.permutation(np.arange(inputs) * groups // inputs)


def weights(slot: Slot, codes: packers.Ints, zeros: packers.Ints, scales: Tensor, groups: packers.Ints) -> Tensor:
    """In float64, then as stored."""
    weight = torch.from_numpy(codes - zeros[:, groups]).double() * scales.double()[:, groups]
    return (weight.T if slot.transposed else weight).float()


def gptq_layer(slot: Slot, bits: int = 4, less_one: bool = True) -> Layer:
    codes, zeros, scales, groups = drawn(slot, bits, 2)
    packed = packers.gptq(codes, zeros, bits, less_one)
    tensors = {**packed, "scales": scales.T.contiguous(), "g_idx": torch.from_numpy(groups).int()}
    return tensors, weights(slot, codes, zeros, scales, groups)


def awq_layer(slot: Slot) -> Layer:
    codes, zeros, scales, groups = drawn(slot, 4, 2)
    return {**packers.awq(codes, zeros), "scales": scales.T.contiguous()}, weights(
        slot, codes, zeros, scales, np.sort(groups)
    )


def compressed_layer(slot: Slot, bits: int = 4) -> Layer:
    codes, zeros, scales, groups = drawn(slot, bits, 2)
    half = 2 ** (bits - 1)
    packed = packers.compressed(codes - half, bits, zeros - half)
    tensors = {**packed, "weight_scale": scales, "weight_g_idx": torch.from_numpy(groups).int()}
    return tensors, weights(slot, codes, zeros, scales, groups)


def integer_layer(slot: Slot) -> Layer:
    codes, _, scales, groups = drawn(slot, 8, 1)
    tensors = {"weight": torch.from_numpy(codes - 128).to(torch.int8), "weight_scale": scales}
    return tensors, weights(slot, codes - 128, np.zeros_like(scales, int), scales, groups)


def write(
    folder: Path, checkpoint: Checkpoint, config: dict[str, Any], make: Callable[[Slot], Layer]
) -> dict[str, Tensor]:
    """A folder that another tool could have made of the model; the weights that it stands for."""
    tensors = {name: tensor.clone() for name, tensor in load_file(Path(checkpoint.name) / "model.safetensors").items()}
    expected = {}
    for slot in checkpoint.space:
        module = slot.name.removesuffix(".weight")
        del tensors[slot.name]
        fields, expected[slot.name] = make(slot)
        tensors |= {f"{module}.{field}": tensor for field, tensor in fields.items()}
    folder.mkdir()
    plain = json.loads((Path(checkpoint.name) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**plain, "quantization_config": config}))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return expected


def edit(folder: Path, change: Callable[[dict[str, Tensor]], object], file: str = "model.safetensors") -> None:
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file, {"format": "pt"})


def assert_is(folder: Path, checkpoint: Checkpoint, expected: dict[str, Tensor]) -> None:
    point = load_external(folder, checkpoint, "theirs")
    for slot in checkpoint.space:
        tensor = point.tensor(slot)
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert torch.equal(tensor, expected[slot.name]), slot.name


KINDS = {
    "gptq": (GPTQ, gptq_layer),
    "gptq 8 bits": ({**GPTQ, "bits": 8}, lambda slot: gptq_layer(slot, 8)),
    "gptq_v2": ({**GPTQ, "checkpoint_format": "gptq_v2"}, lambda slot: gptq_layer(slot, less_one=False)),
    "awq": (AWQ, awq_layer),
    "auto-round": ({"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq", "data_type": "int"},
                   gptq_layer),
    "auto-round of older releases": ({"quant_method": "intel/auto-round", "backend": "auto_round:gptq:exllamav2"},
                                     gptq_layer),
    "auto-round's own": ({"quant_method": "auto-round", "packing_format": "auto_round"},
                         lambda slot: gptq_layer(slot, less_one=False)),
    "auto-round for gptqmodel": ({"quant_method": "auto-round", "packing_format": "auto_round:gptqmodel"},
                                 lambda slot: gptq_layer(slot, less_one=False)),
    "auto-round for awq": ({"quant_method": "auto-round", "packing_format": "auto_round:auto_awq", "bits": 4},
                           awq_layer),
    "pack-quantized": (compressed(), compressed_layer),
    "pack-quantized 8 bits": (compressed(bits=8), lambda slot: compressed_layer(slot, 8)),
    "int-quantized": (compressed("int-quantized", 8), integer_layer),
    "naive-quantized": (compressed("naive-quantized", 8), integer_layer),
}  # fmt: skip
BESIDE = {
    "quantize_config.json": ({"bits": 4, "group_size": 8, "desc_act": True, "sym": False}, gptq_layer),
    "quant_config.json": ({"zero_point": True, "q_group_size": 8, "w_bit": 4, "version": "GEMM"}, awq_layer),
}
