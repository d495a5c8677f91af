"""Mixtures of experts: transformers fuses the experts of a block into one parameter of three dimensions."""

from __future__ import annotations

from tests.families.family import END, EXPERT_BIAS, KERNEL, ROUTER, SLIDING_THEN_FULL, VOCABULARY, Family, llama_like


def _row(
    name: str,
    options: dict[str, object],
    routers: tuple[str, ...],
    features: str,
    *,
    model_type: str = "",
    **more: object,
) -> Family:
    outside = {**dict.fromkeys(routers, ROUTER), **more.pop("outside", {})}  # type: ignore[dict-item]
    return Family(
        name,
        "mixture",
        model_type or name,
        options,
        outside=outside,
        features=features,
        **more,  # type: ignore[arg-type]
    )


_LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
_NARROW = {**_EXPERTS, "moe_intermediate_size": 24}
_ROUTED = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 1,
}
_MLA = {"q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8}
_SHARED = {"shared_expert_intermediate_size": 40, "decoder_sparse_step": 1}
_GATE = "mlp.gate.weight"
_WINDOW = {"sliding_window": 6, "layer_types": SLIDING_THEN_FULL}
_GEMMA4 = {
    "head_dim": 12,
    "global_head_dim": 16,
    "sliding_window": 6,
    "pad_token_id": 0,
    "layer_types": SLIDING_THEN_FULL,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 0,
    "enable_moe_block": True,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 24,
    "attention_k_eq_v": True,
}

MIXTURES = (
    _row("mixtral", llama_like(**_LOCAL), (_GATE,), "gate and up fused", slow=False),
    _row(
        "qwen2_moe",
        llama_like(**_NARROW, **_SHARED),
        (_GATE, "mlp.shared_expert_gate.weight"),
        "a shared expert with a gate of its own",
    ),
    _row(
        "qwen3_moe",
        llama_like(**_NARROW, head_dim=8, mlp_only_layers=[0]),
        (_GATE,),
        "a dense block, then a sparse one",
        slow=False,
    ),
    _row("olmoe", llama_like(**_EXPERTS), (_GATE,), "norms of q and k"),
    _row(
        "gpt_oss",
        llama_like(**_LOCAL, head_dim=8, sliding_window=6, layer_types=SLIDING_THEN_FULL),
        ("mlp.router.weight",),
        "experts stored (in, out), gate and up interleaved, biases, attention sinks",
        outside={"mlp.experts.*_bias": EXPERT_BIAS},
        slow=False,
    ),
    _row(
        "deepseek_v2",
        llama_like(num_key_value_heads=4, **_MLA, **_ROUTED),
        (_GATE,),
        "latent attention, shared experts, first block dense",
    ),
    _row(
        "deepseek_v3",
        llama_like(
            num_key_value_heads=4,
            **_MLA,
            **{**_ROUTED, "n_routed_experts": 8},
            n_group=2,
            topk_group=1,
            num_mtp_layers=0,
        ),
        (_GATE,),
        "routing by groups, latent attention",
        slow=False,
    ),
    _row("granitemoe", llama_like(**_LOCAL), ("block_sparse_moe.router.weight",), "multipliers"),
    _row("phimoe", llama_like(**_LOCAL), ("mlp.router.weight",), "the router is an nn.Linear; layer norms"),
    _row(
        "llama4_text",
        llama_like(
            head_dim=8,
            intermediate_size_mlp=64,
            num_local_experts=4,
            num_experts_per_tok=1,
            interleave_moe_layer_step=2,
            no_rope_layer_interval=2,
            attention_chunk_size=8,
        ),
        ("feed_forward.router.weight",),
        "experts stored (in, out), every expert sees every token scaled by its score, a shared expert",
        slow=False,
    ),
    _row("glm4_moe", llama_like(head_dim=8, **_ROUTED, n_group=1, topk_group=1), (_GATE,), "first block dense"),
    _row(
        "dbrx",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "n_heads": 4,
            "n_layers": 2,
            "max_seq_len": 64,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
            "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2},
        },
        ("ffn.router.layer.weight",),
        "all experts in one 2-D parameter; w2 is stored (in, out), w1 and v1 (out, in)",
        stack="transformer.blocks",
        slow=False,
    ),
    _row(
        "jetmoe",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "kv_channels": 8,
            "intermediate_size": 24,
            "max_position_embeddings": 64,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            **END,
        },
        ("*.router.layer.weight",),
        "attention heads are experts too",
    ),
    _row(
        "ernie4_5_moe",
        llama_like(
            head_dim=8,
            pad_token_id=0,
            moe_num_experts=4,
            moe_k=2,
            moe_intermediate_size=24,
            moe_num_shared_experts=1,
            moe_layer_start_index=1,
        ),
        (_GATE, "mlp.gate.moe_statics.*"),
        "the router's corrections are a parameter (1, E) without a gradient",
    ),
    _row("hunyuan_v1_moe", llama_like(head_dim=8, num_experts=4, moe_topk=2), ("mlp.gate.wg.weight",), "shared expert"),
    _row(
        "gemma4_text-moe",
        llama_like(**_GEMMA4),
        ("router.proj.weight",),
        "a dense MLP beside the experts; keys are values",
        model_type="gemma4_text",
        steps=45,
    ),
    _row("flex_olmo", llama_like(**_EXPERTS), (_GATE,), "norms after the sublayers", steps=60),
    _row("minimax_m2", llama_like(head_dim=8, **_LOCAL), (_GATE,), "corrections of the router are a buffer"),
    _row(
        "aria_text",
        llama_like(moe_num_experts=4, moe_topk=2, moe_num_shared_experts=1),
        ("mlp.router.weight",),
        "experts stored (in, out), gate then up",
    ),
    _row(
        "afmoe",
        llama_like(head_dim=8, num_dense_layers=1, num_shared_experts=1, **_WINDOW, **_NARROW),
        ("mlp.router.gate.weight",),
        "gated attention, four norms a block",
        steps=60,
    ),
    _row(
        "longcat_flash",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "num_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "ffn_hidden_size": 48,
            "head_dim": 4,
            "moe_topk": 2,
            "n_routed_experts": 4,
            "zero_expert_num": 2,
            "expert_ffn_hidden_size": 24,
            **_MLA,
            **END,
        },
        ("mlp.router.classifier.weight",),
        "experts that do nothing hold rows of gate_up_proj that no token reads",
        refusal="expected one stack of 4 decoder blocks in LongcatFlashForCausalLM, found 0",
    ),
    _row(
        "zaya",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 64,
            "moe_intermediate_size": 24,
            "num_experts": 4,
            "router_hidden_size": 16,
            **END,
        },
        ("mlp.gate.*",),
        "blocks hand the router's state to the next block",
        outside={"self_attn.qkv_proj.conv_*.weight": KERNEL},
        steps=40,
    ),
    _row(
        "deepseek_v4",
        llama_like(num_key_value_heads=4, **_MLA, **_ROUTED),
        (_GATE,),
        "hyper-connections between streams are matrices of a kind of their own",
        refusal="found model.layers.0.attn_hc.fn, model.layers.0.ffn_hc.fn",
    ),
)
