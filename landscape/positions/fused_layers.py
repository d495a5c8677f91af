"""Group the matrices that servers load as one, so that they must be quantized alike.

vLLM and SGLang join q, k and v into one matrix, and gate and up, before they look up how a layer is quantized. They
read all experts of a layer with one scheme. Matrices of one group must thus share bit width and scheme, and in NVFP4
the scale of the whole tensor. llama.cpp keeps the matrices apart and needs none of this.

Sources: ``FUSED_LAYER_NAMES`` in llmcompressor/observers/helpers.py (llm-compressor 0.14.0.1); "Fused Modules in
Inference Engines" in the README of GPTQModel 7.7.0, for experts; ``packed_modules_mapping`` of vLLM's
models/qwen3_5.py, for the linear attention of Qwen3.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

FUSED = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
    ("q_a_proj", "kv_a_proj_with_mqa"),
    ("w1", "w3"),
    ("in_proj_qkv", "in_proj_z"),
    ("in_proj_b", "in_proj_a"),
)
"""Names of the matrices that are joined where they are parts of one module."""
ENGINE_NAMES = {
    "q_proj": ("qkv_proj",),
    "gate_proj": ("gate_up_proj",),
    "q_a_proj": ("fused_qkv_a_proj", "fused_qkv_a_proj_with_mqa"),
    "w1": ("gate_up_proj", "w13"),
    "in_proj_qkv": ("in_proj_qkvz",),
    "in_proj_b": ("in_proj_ba",),
}
"""Names that vLLM and SGLang give the joined matrix, by the first that they join: ``packed_modules_mapping`` of
vLLM's models/llama.py, deepseek_v2.py, internlm2.py, lfm2.py and qwen3_5.py, and SGLang's models/deepseek_v2.py."""
_LEADER = {name: names[0] for names in FUSED for name in names}
_EXPERTS = re.compile(r"(.*\.experts)\.")


def fused_group(name: str) -> str:
    """Name the group of a matrix: by its first member, whether the model has that or not, or by the experts' module.

    Args:
        name: Name of the parameter or module in the model, ``model.layers.0.self_attn.k_proj.weight``.
    """
    experts = _EXPERTS.match(name)
    if experts:
        return experts[1]
    module, dot, leaf = name.removesuffix(".weight").rpartition(".")
    return f"{module}{dot}{_LEADER.get(leaf, leaf)}"


def fused_groups(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Divide matrices into groups that must be quantized alike, in the order in which the groups begin.

    Args:
        names: Names as ``fused_group`` takes them. A matrix that is joined with no other is a group of its own.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(fused_group(name), []).append(name)
    return tuple(map(tuple, groups.values()))


def engine_names(name: str) -> tuple[str, ...]:
    """Return the names of the modules into which engines join a matrix; none where it stays alone.

    Args:
        name: See ``fused_group``.
    """
    group = fused_group(name)
    if _EXPERTS.fullmatch(f"{group}."):
        return (group,)
    module, dot, leaf = group.rpartition(".")
    return tuple(f"{module}{dot}{joined}" for joined in ENGINE_NAMES.get(leaf, ()))
