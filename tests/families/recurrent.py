"""Families that are recurrent, wholly or in part: state-space layers, linear attention, gated recurrences."""

from __future__ import annotations

from tests.families.family import (
    DECAY,
    END,
    HEAD_BIAS,
    KERNEL,
    MIXING,
    ROUTER,
    VOCABULARY,
    Family,
    llama_like,
)


def _row(
    name: str,
    options: dict[str, object],
    outside: dict[str, str],
    features: str,
    *,
    model_type: str = "",
    **more: object,
) -> Family:
    return Family(
        name,
        "recurrent",
        model_type or name,
        options,
        outside=outside,
        features=features,
        **more,  # type: ignore[arg-type]
    )


_SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32}
_MAMBA = {**_SMALL, "state_size": 4, "num_hidden_layers": 2, "time_step_rank": 4}
_LINEAR_THEN_FULL = ["linear_attention", "full_attention"]
_MIXER_CONV = {"mixer.conv1d.weight": KERNEL}
_MAMBA_CONV = {"mamba.conv1d.weight": KERNEL}
_HYBRID_CONV = {**_MAMBA_CONV, "mamba_decoder.mamba.conv1d.weight": KERNEL}
_DELTA = {
    "head_dim": 8,
    "layer_types": _LINEAR_THEN_FULL,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_NEMOTRON = {
    **_SMALL,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "intermediate_size": 48,
    "ssm_state_size": 8,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "n_groups": 2,
    "chunk_size": 8,
    "pad_token_id": 0,
    **END,
}
_ZAMBA2 = {"mamba_d_state": 8, "n_mamba_heads": 4, "chunk_size": 8, "num_key_value_heads": 4, "pad_token_id": 0}

RECURRENT = (
    _row(
        "mamba",
        _MAMBA,
        {**_MIXER_CONV, "mixer.A_log": DECAY},
        "no attention, no positions; dt_proj is never called as a module",
        stack="backbone.layers",
        slow=False,
    ),
    _row(
        "falcon_mamba",
        _MAMBA,
        {**_MIXER_CONV, "mixer.A_log": DECAY},
        "norms inside the mixer",
        stack="backbone.layers",
    ),
    _row(
        "mamba2",
        {
            **_SMALL,
            "num_heads": 4,
            "head_dim": 16,
            "state_size": 8,
            "n_groups": 2,
            "num_hidden_layers": 2,
            "chunk_size": 8,
        },
        _MIXER_CONV,
        "one projection in",
        stack="backbone.layers",
    ),
    _row(
        "rwkv",
        {**_SMALL, "num_hidden_layers": 2, "context_length": 64, "rescale_every": 0},
        {"*.time_mix_*": MIXING},
        "no attention; the caller's state",
        stack="rwkv.blocks",
        slow=False,
    ),
    _row(
        "recurrent_gemma",
        {
            **_SMALL,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "lru_width": 32,
            "attention_window_size": 8,
            **END,
        },
        {
            "temporal_block.conv_1d.weight": KERNEL,
            "temporal_block.rg_lru.*_gate_bias": HEAD_BIAS,
        },
        "gated recurrences, their gates one matrix per head, and local attention",
    ),
    _row(
        "zamba",
        llama_like(
            num_hidden_layers=4,
            layers_block_type=["mamba", "hybrid", "mamba", "hybrid"],
            n_mamba_heads=2,
            mamba_d_state=4,
            mamba_dt_rank=4,
            pad_token_id=0,
            num_key_value_heads=4,
        ),
        {
            **_HYBRID_CONV,
            "*.A_log": DECAY,
            "*mamba.D": DECAY,
            "*mamba.dt_proj_bias": HEAD_BIAS,
        },
        "one attention block shared by layers, projections of one matrix per head",
    ),
    _row(
        "zamba2",
        llama_like(
            num_hidden_layers=4, layers_block_type=["mamba", "hybrid"] * 2, **_ZAMBA2, adapter_rank=8, use_mem_rope=True
        ),
        _HYBRID_CONV,
        "one shared block called by two layers, adapters of each call",
        slow=False,
    ),
    _row(
        "zamba2-two",
        llama_like(
            num_hidden_layers=6,
            layers_block_type=["mamba", "hybrid", "hybrid"] * 2,
            **_ZAMBA2,
            num_mem_blocks=2,
            adapter_rank=8,
            use_shared_attention_adapter=True,
        ),
        _HYBRID_CONV,
        "two shared blocks in turn",
        model_type="zamba2",
    ),
    _row(
        "bamba",
        llama_like(attn_layer_indices=[1], mamba_n_heads=4, mamba_d_state=8, mamba_chunk_size=8, pad_token_id=0),
        _MAMBA_CONV,
        "Mamba-2 and attention",
    ),
    _row(
        "jamba",
        llama_like(
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            num_experts=4,
            mamba_d_state=4,
            mamba_dt_rank=4,
            pad_token_id=0,
        ),
        {**_MAMBA_CONV, "mamba.A_log": DECAY, "feed_forward.router.weight": ROUTER},
        "Mamba, attention and experts",
        slow=False,
    ),
    _row(
        "nemotron_h",
        {**_NEMOTRON, "layers_block_type": ["mamba", "attention", "mlp"]},
        _MIXER_CONV,
        "one mixer per block",
    ),
    _row(
        "nemotron_h-moe",
        {
            **_NEMOTRON,
            "layers_block_type": ["mamba", "attention", "moe"],
            "n_routed_experts": 4,
            "moe_intermediate_size": 24,
            "moe_shared_expert_intermediate_size": 24,
        },
        {**_MIXER_CONV, "mixer.gate.weight": ROUTER},
        "experts without a gate: up_proj and down_proj",
        model_type="nemotron_h",
    ),
    _row(
        "qwen3_next",
        llama_like(**_DELTA, **_EXPERTS, shared_expert_intermediate_size=24),
        {"linear_attn.conv1d.weight": KERNEL, "mlp.gate.weight": ROUTER, "mlp.shared_expert_gate.weight": ROUTER},
        "gated delta rule and experts",
        slow=False,
    ),
    _row(
        "qwen3_5_moe_text",
        llama_like(**_DELTA, **_EXPERTS, shared_expert_intermediate_size=24, pad_token_id=0),
        {"linear_attn.conv1d.weight": KERNEL, "mlp.gate.weight": ROUTER, "mlp.shared_expert_gate.weight": ROUTER},
        "a token of zeros is routed like others",
    ),
    _row("olmo_hybrid", llama_like(**_DELTA), {"linear_attn.conv1d.weight": KERNEL}, "gated delta rule, norms after"),
    _row("qwen3_5_text", llama_like(**_DELTA), {"linear_attn.conv1d.weight": KERNEL}, "gated delta rule, dense"),
    _row(
        "lfm2",
        llama_like(layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False, pad_token_id=0),
        {"conv.conv.weight": KERNEL},
        "gated short convolutions",
    ),
    _row(
        "lfm2_moe",
        llama_like(layer_types=["conv", "full_attention"], **_EXPERTS, num_dense_layers=1, pad_token_id=0),
        {"conv.conv.weight": KERNEL, "feed_forward.gate.weight": ROUTER},
        "gated short convolutions and experts",
    ),
    _row(
        "granitemoehybrid",
        llama_like(
            layer_types=["mamba", "attention"],
            mamba_n_heads=4,
            mamba_d_state=8,
            mamba_chunk_size=8,
            num_local_experts=4,
            num_experts_per_tok=2,
            shared_intermediate_size=24,
        ),
        {**_MAMBA_CONV, "block_sparse_moe.router.weight": ROUTER},
        "Mamba-2, attention, experts and a shared MLP",
    ),
    _row(
        "falcon_h1",
        llama_like(mamba_d_ssm=32, mamba_n_heads=4, mamba_d_state=8, mamba_chunk_size=8, pad_token_id=0, head_dim=8),
        _MAMBA_CONV,
        "Mamba-2 beside attention in one block",
    ),
    _row(
        "minimax",
        llama_like(head_dim=8, layer_types=_LINEAR_THEN_FULL, num_local_experts=4, num_experts_per_tok=2, block_size=8),
        {"mlp.gate.weight": ROUTER},
        "lightning attention and experts",
    ),
    _row(
        "xlstm",
        {
            **_SMALL,
            "num_blocks": 2,
            "num_hidden_layers": 2,
            "num_heads": 4,
            "use_cache": False,
            "chunkwise_kernel": "chunkwise--native_autograd",
            "sequence_kernel": "native_sequence__native",
            "step_kernel": "native",
        },
        {},
        "matrix memories; blocks return their state; its native kernels fail with a cache",
        stack="backbone.blocks",
    ),
)
