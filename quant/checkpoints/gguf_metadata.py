"""Compare the keys of GGUF's metadata that change what a model computes with its configuration.

A key that is not listed here may change the function or not: it counts as not followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_IN_SHAPES = frozenset(
    {
        "vocab_size", "context_length", "embedding_length", "block_count", "feed_forward_length", "tensor_data_layout",
        "expert_count", "expert_feed_forward_length", "expert_shared_feed_forward_length", "attention.value_length",
        "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count",
        "shortconv.l_cache", "nextn_predict_layers", "rope.dimension_sections",
        "rope.scaling.finetuned", "rope.scaling.original_context_length",
    }
)  # fmt: skip
"""Sizes that the shapes of the tensors also hold, and keys without a meaning of their own."""
_SAME: dict[str, tuple[str, ...]] = {
    "attention.head_count": ("num_attention_heads",),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_eps"),
    "attention.layer_norm_epsilon": ("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
    "final_logit_softcapping": ("final_logit_softcapping",),
    "logit_scale": ("logit_scale",),
    "use_parallel_residual": ("use_parallel_residual",),
    "expert_used_count": ("num_experts_per_tok",),
    "expert_shared_count": ("n_shared_experts", "num_shared_experts"),
    "expert_weights_norm": ("norm_topk_prob",),
    "full_attention_interval": ("full_attention_interval",),
}
"""Keys, and the names that a configuration may have for the same value."""
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "rope.scaling.attn_factor": (1,),
    "rope.scale_linear": (1,),
    "residual_scale": (1,),
    "embedding_scale": (1,),
    "expert_weights_scale": (1,),
    "expert_gating_func": (0, 1),  # softmax
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "pooling_type": (0,),
    "ssm.dt_b_c_rms": (False,),
}
"""Keys that change nothing at these values; at others the model does not follow them."""


def unfollowed(architecture: str, metadata: Mapping[str, Any], config: Any) -> list[str]:
    """Return the keys that a model does not follow, sorted.

    Args:
        architecture: As GGUF names it.
        metadata: The keys of this architecture, without its name, and their values.
        config: The configuration of the model that was made from the file.
    """
    return sorted(key for key, value in metadata.items() if not _follows(architecture, key, value, config))


def _follows(architecture: str, key: str, value: Any, config: Any) -> bool:
    if key in _IN_SHAPES or (key.startswith("expert_") and not value):  # some files give a dense model 0 experts
        return True
    if key in _SAME:
        return _is_one_of(value, (getattr(config, name, None) for name in _SAME[key]))
    if key in _SPECIAL:
        return _SPECIAL[key](value, config)
    if key == "expert_gating_func" and hasattr(config, "scoring_func"):
        return isinstance(value, int) and bool(config.scoring_func == {1: "softmax", 2: "sigmoid"}.get(value))
    if key == "attention.max_alibi_bias":
        return _is_one_of(value, (8,)) if architecture == "bloom" else not value
    return key in _NEUTRAL and _is_one_of(value, _NEUTRAL[key])


def _is_one_of(value: Any, wanted: Iterable[Any]) -> bool:
    """Return whether a number, or each non-zero number of a list with one per layer, is a wanted one, to float32."""
    values = [entry for entry in value if entry] if isinstance(value, list) else [value]
    if not all(isinstance(entry, bool | int | float) for entry in values):
        return False
    known = [float(entry) for entry in wanted if isinstance(entry, bool | int | float)]
    return all(any(math.isclose(entry, one, rel_tol=1e-6) for one in known) for entry in values)


def _head_size(config: Any) -> Any:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _rope(config: Any) -> list[dict[str, Any]]:
    """Return the rotary parameters, one entry for each kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [entry for entry in parameters.values() if isinstance(entry, dict)]
    return nested or [parameters]


def _key_heads(value: Any, config: Any) -> bool:
    one = bool(getattr(config, "multi_query", False)) and not getattr(config, "new_decoder_architecture", False)
    names = ("num_key_value_heads", "num_kv_heads")
    found = [getattr(config, name) for name in names if getattr(config, name, None) is not None]
    return _is_one_of(value, [1] if one else found or [config.num_attention_heads])


def _rotary_size(value: Any, config: Any) -> bool:
    rotary = getattr(config, "rotary_dim", None)
    whole = getattr(config, "partial_rotary_factor", None)
    shares = [entry.get("partial_rotary_factor") or whole for entry in _rope(config)]
    sizes = [rotary] if isinstance(rotary, int) else [int(_head_size(config) * (share or 1)) for share in shares]
    return _is_one_of(value, sizes)


def _scaling_type(value: Any, config: Any) -> bool:
    found = {entry.get("rope_type", "default") for entry in _rope(config)}
    return isinstance(value, str) and {"none": "default"}.get(value, value) in found


def _scaling_factor(value: Any, config: Any) -> bool:
    return _is_one_of(value, [entry.get("factor", 1) for entry in _rope(config)])


def _attention_scale(value: Any, config: Any) -> bool:
    per_head = getattr(config, "query_pre_attn_scalar", None) or _head_size(config)
    return _is_one_of(value, [getattr(config, "attention_multiplier", None) or per_head**-0.5])


def _window(value: Any, config: Any) -> bool:
    if not value:
        return not getattr(config, "sliding_window", None)
    longest = getattr(config, "max_position_embeddings", None)
    return _is_one_of(value, [getattr(config, "sliding_window", None)]) or (
        isinstance(longest, int)
        and isinstance(value, int)
        and value >= longest
        and not getattr(config, "sliding_window", None)
    )


_SPECIAL: dict[str, Callable[[Any, Any], bool]] = {
    "attention.head_count_kv": _key_heads,
    "attention.key_length": lambda v, c: _is_one_of(v, [getattr(c, "global_head_dim", None) or _head_size(c)]),
    "attention.scale": _attention_scale,
    "attention.sliding_window": _window,
    "rope.dimension_count": _rotary_size,
    "rope.freq_base": lambda v, c: _is_one_of(v, [entry.get("rope_theta") for entry in _rope(c)]),
    "rope.scaling.type": _scaling_type,
    "rope.scaling.factor": _scaling_factor,
}
