"""Folders as AutoAWQ, llm-compressor and SmoothQuant write them: scales folded into norms and into other matrices.

The places of the folds are written out by name, one table an architecture, so that nothing is shared with the search
for them in ``quant.external``. Rounding is to nearest, in groups of 8 inputs, with zero-points.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from quant.checkpoints.checkpoint import Checkpoint
from tests.quant.external import packers

Folds = Mapping[str, Sequence[str]]
GROUP = 8
LLAMA: Folds = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
PHI3: Folds = {"input_layernorm": ("self_attn.qkv_proj",), "post_attention_layernorm": ("mlp.gate_up_proj",)}
GEMMA2: Folds = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "pre_feedforward_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
OPT: Folds = {
    "self_attn_layer_norm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "final_layer_norm": ("fc1",),
}
GPT2: Folds = {"ln_1": ("attn.c_attn",), "ln_2": ("mlp.c_fc",)}
UP_DOWN, V_O = ("mlp.up_proj", "mlp.down_proj"), ("self_attn.v_proj", "self_attn.o_proj")


def lively(model: nn.Module, seed: int = 7) -> nn.Module:
    """The model with norms and biases that are not all ones and zeros, and wider matrices: its losses say something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.mul_(5)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.add_(0.5 * torch.rand(parameter.shape, generator=generator))
    return model


def fold(
    model: nn.Module,
    norms: Folds,
    pairs: Sequence[tuple[str, str]] = (),
    offset: float = 0.0,
    head: int | None = None,
    last_rows: bool = False,
) -> dict[str, Tensor]:
    """Fold random scales into every block of a copy of the model; the scale of each fold by the name of its source."""
    generator = torch.Generator().manual_seed(3)
    scales: dict[str, Tensor] = {}
    _, blocks = max(
        ((n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList)), key=lambda item: len(item[1])
    )
    with torch.no_grad():
        for index, block in enumerate(blocks):
            for name, readers in norms.items():
                norm = block.get_submodule(name)
                scale = 0.3 + 2 * torch.rand(norm.weight.shape, generator=generator)
                norm.weight.copy_((norm.weight + offset) / scale - offset)
                if getattr(norm, "bias", None) is not None:
                    norm.bias.div_(scale)
                for reader in readers:
                    scale_inputs(block.get_submodule(reader), scale)
                scales[f"{index}.{name}"] = scale
            for first, second in pairs:
                scales[f"{index}.{first}"] = fold_pair(block, first, second, generator, head, last_rows)
    return scales


def fold_pair(
    block: nn.Module, first: str, second: str, generator: torch.Generator, head: int | None, last_rows: bool
) -> Tensor:
    """AutoAWQ's ``scale_fc_fc``; with ``head``, each row of a grouped value feeds several query heads of that width."""
    one, two = block.get_submodule(first), block.get_submodule(second)
    count = sides(two)[1] if last_rows else sides(one)[0]
    scale = 0.3 + 2 * torch.rand(count, generator=generator)
    weight = one.weight.T if isinstance(one, Conv1D) else one.weight
    weight[-count:].div_(scale[:, None])
    if one.bias is not None:
        one.bias[-count:].div_(scale)
    wide = scale if head is None else torch.cat([s.repeat(sides(two)[1] // count) for s in scale.split(head)])
    scale_inputs(two, wide)
    return scale


def scale_inputs(module: nn.Module, scale: Tensor) -> None:
    """Multiply the inputs of a linear layer."""
    module.weight.mul_(scale[:, None] if isinstance(module, Conv1D) else scale[None, :])


def sides(module: nn.Module) -> tuple[int, int]:
    """(out, in) of a linear layer."""
    rows, columns = module.weight.shape
    return (columns, rows) if isinstance(module, Conv1D) else (rows, columns)


def quantized(weight: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """AutoAWQ's and compressed-tensors' tensors of a matrix (out, in), and the weights that both stand for."""
    grouped = weight.double().reshape(len(weight), -1, GROUP)
    low, high = grouped.amin(-1).clamp(max=0), grouped.amax(-1).clamp(min=0)
    scale = ((high - low) / 15).half().double()
    zero = torch.round(-low / scale).clamp(0, 15)
    codes = torch.round(grouped / scale[..., None] + zero[..., None]).clamp(0, 15)
    values = ((codes - zero[..., None]) * scale[..., None]).reshape(weight.shape)
    integers, zeros = codes.reshape(weight.shape).long().numpy(), zero.long().numpy()
    awq = {**packers.awq(integers, zeros), "scales": scale.half().T.contiguous()}
    compressed = {**packers.compressed(integers - 8, 4, zeros - 8), "weight_scale": scale.half()}
    return awq, compressed, values


AWQ_CONFIG = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
COMPRESSED_CONFIG = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "int", "symmetric": False, "group_size": GROUP, "strategy": "group"},
        }
    },
}
CONFIGS: dict[str, dict[str, Any] | None] = {"awq": AWQ_CONFIG, "compressed": COMPRESSED_CONFIG, "plain": None}


def write(
    folder: Path,
    checkpoint: Checkpoint,
    form: str,
    change: Callable[[nn.Module], object],
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Write what a tool makes of the checkpoint after ``change``.

    Args:
        folder: Where to.
        checkpoint: The original, which stays as it is.
        form: ``awq``, ``compressed`` or ``plain``.
        change: Folds scales into a copy of the model.
        dtype: What everything that is not packed is stored in.

    Returns:
        The folded model at the values that are stored, float64: plain transformers, which no code of ours is part of.
    """
    model = copy.deepcopy(checkpoint.model)
    change(model)
    slots = {slot.name.removesuffix(".weight"): slot for slot in checkpoint.space}
    tensors: dict[str, Tensor] = {}
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            module, _, field = name.rpartition(".")
            if module in slots and field == "weight" and form != "plain":
                slot = slots[module]
                weight = parameter.T if slot.transposed else parameter
                awq, compressed, values = quantized(weight.detach())
                fields = awq if form == "awq" else compressed
                tensors |= {f"{module}.{key}": tensor for key, tensor in fields.items()}
                exact.get_parameter(name).copy_(values.T if slot.transposed else values)
            else:
                tensors[name] = parameter.detach().to(dtype).contiguous()
                exact.get_parameter(name).copy_(tensors[name].double())
    folder.mkdir()
    config = checkpoint.model.config.to_dict() | ({"quantization_config": CONFIGS[form]} if CONFIGS[form] else {})
    (folder / "config.json").write_text(json.dumps(config, default=str))
    save_file({n: t.clone() for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    return exact


def loss(model: nn.Module, tokens: Tensor) -> float:
    """Mean NLL of transformers' own logits, in float64."""
    with torch.no_grad():
        logits = model(input_ids=tokens).logits.double()
    return float(nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()))


def at(checkpoint: Checkpoint, point: Any) -> nn.Module:
    """The checkpoint's own model, float64, at the weights of a point."""
    model = copy.deepcopy(checkpoint.model).double()
    checkpoint.space.write(model, point)
    return model


def relative_distance(checkpoint: Checkpoint, point: Any) -> float:
    """‖Δw‖ / ‖w‖ by hand."""
    moved = norm = 0.0
    for slot, parameter in checkpoint.space.weights(checkpoint.model):
        own = parameter.double()
        moved += float((point.tensor(slot).double() - own).square().sum())
        norm += float(own.square().sum())
    return math.sqrt(moved / norm)
