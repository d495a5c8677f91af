"""Dense families: every matrix of a block is a linear layer that each token passes."""

from __future__ import annotations

from tests.families.family import END, SLIDING_THEN_FULL, VOCABULARY, Family, gpt_like, llama_like


def _opt(**options: object) -> dict[str, object]:
    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "ffn_dim": 48,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "word_embed_proj_dim": 32,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 2,
    }
    return {**common, **options}


def _falcon(**options: object) -> dict[str, object]:
    return (
        {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4} | END | options
    )


def _row(name: str, options: dict[str, object], features: str, *, model_type: str = "", **more: object) -> Family:
    return Family(name, "dense", model_type or name, options, features=features, **more)  # type: ignore[arg-type]


_GEMMA = llama_like(head_dim=12, pad_token_id=0)
_WINDOWED = {"sliding_window": 6}
_MIXED = {**_WINDOWED, "layer_types": SLIDING_THEN_FULL}
_SHARING = {**_WINDOWED, "num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": SLIDING_THEN_FULL * 2}
_PER_LAYER = {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8}
_MLA = {"q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}

DENSE = (
    _row("gpt2", gpt_like(), "transposed Conv1D, tied", stack="transformer.h", slow=False),
    _row("opt", _opt(), "learned positions, biases, tied", stack="model.decoder.layers"),
    _row(
        "opt-350m",
        _opt(word_embed_proj_dim=16, do_layer_norm_before=False),
        "norms after the residual, projections outside the stack",
        model_type="opt",
        stack="model.decoder.layers",
        slow=False,
    ),
    _row(
        "openai-gpt",
        {k: v for k, v in gpt_like().items() if k not in END},
        "no cache of keys and values, blocks return a list",
        stack="transformer.h",
        slow=False,
    ),
    _row("gptj", gpt_like(rotary_dim=4), "parallel blocks, a bias in the head", stack="transformer.h"),
    _row("codegen", gpt_like(rotary_dim=4, n_ctx=64), "parallel blocks, fused keys", stack="transformer.h"),
    _row("gpt_bigcode", gpt_like(multi_query=True), "multi-query attention", stack="transformer.h"),
    _row(
        "gpt_neo",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "max_position_embeddings": 64,
            "window_size": 6,
            "attention_types": [[["global", "local"], 1]],
            **END,
        },
        "every second layer local",
        stack="transformer.h",
    ),
    _row("gpt_neox", llama_like(), "parallel blocks, partly rotary", stack="gpt_neox.layers"),
    _row(
        "gpt_neox-sequential",
        llama_like(use_parallel_residual=False),
        "sequential blocks",
        model_type="gpt_neox",
        stack="gpt_neox.layers",
    ),
    _row("llama", llama_like(), "grouped queries", slow=False),
    _row("mistral", llama_like(**_WINDOWED), "sliding window"),
    _row("qwen2", llama_like(tie_word_embeddings=True), "biases of q, k and v, tied"),
    _row("qwen3", llama_like(head_dim=12), "norms of q and k, heads wider than the stream"),
    _row("gemma", _GEMMA, "scaled embeddings, tied"),
    _row("gemma2", {**_GEMMA, **_WINDOWED, "query_pre_attn_scalar": 12}, "soft caps, sliding and full"),
    _row("gemma3_text", {**_GEMMA, **_MIXED, "query_pre_attn_scalar": 12}, "two rotary bases", slow=False),
    _row(
        "gemma3",
        {
            "text_config": {**_GEMMA, **_MIXED, "query_pre_attn_scalar": 12},
            "vision_config": _VISION,
            "mm_tokens_per_image": 1,
        },
        "multimodal: the text's settings in text_config, a second stack that text does not pass",
        stack="model.language_model.layers",
    ),
    _row(
        "gemma3n_text",
        {
            **_GEMMA,
            **_SHARING,
            **_PER_LAYER,
            "laurel_rank": 8,
            "altup_num_inputs": 2,
            "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
        },
        "inputs per layer, shared keys and values, two streams",
        between_blocks="keys and values",
        slow=False,
    ),
    _row(
        "gemma4_text",
        {**_GEMMA, **_SHARING, **_PER_LAYER, "global_head_dim": 16},
        "inputs per layer, shared keys and values, two head sizes",
        between_blocks="keys and values",
        slow=False,
    ),
    _row("phi", llama_like(), "parallel blocks, biases everywhere"),
    _row("phi3", llama_like(**_WINDOWED), "fused q, k, v and gate, up"),
    _row("stablelm", llama_like(use_qkv_bias=True), "partly rotary, layer norms"),
    _row("cohere", llama_like(), "parallel blocks, scaled logits, tied", steps=90),
    _row("cohere2", llama_like(head_dim=12, **_MIXED), "layers without positions", steps=90),
    _row("olmo", llama_like(clip_qkv=8.0), "norms without weights, clipped q, k, v"),
    _row("olmo2", llama_like(), "norms after the sublayers", steps=60),
    _row("olmo3", llama_like(**_MIXED), "norms after the sublayers, sliding window", steps=60),
    _row(
        "granite",
        llama_like(attention_multiplier=0.3, residual_multiplier=0.8, logits_scaling=2.0, embedding_multiplier=4.0),
        "four multipliers of the configuration",
    ),
    _row("falcon", _falcon(), "parallel, multi-query", stack="transformer.h"),
    _row(
        "falcon-new",
        _falcon(num_kv_heads=2, new_decoder_architecture=True),
        "grouped queries, two norms",
        model_type="falcon",
        stack="transformer.h",
    ),
    _row(
        "falcon-alibi",
        _falcon(alibi=True, multi_query=False, parallel_attn=False, bias=True),
        "ALiBi, sequential",
        model_type="falcon",
        stack="transformer.h",
    ),
    _row(
        "bloom",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4, **END},
        "ALiBi, no limit of positions",
        stack="transformer.h",
        slow=False,
    ),
    _row(
        "mpt",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": 64},
        "ALiBi, max_seq_len is the limit",
        stack="transformer.blocks",
    ),
    _row("starcoder2", llama_like(**_WINDOWED), "sliding window, biases, tied"),
    _row("glm", llama_like(head_dim=8), "interleaved rotary, fused gate and up"),
    _row("glm4", llama_like(head_dim=8), "norms before and after the sublayers", steps=60),
    _row("nemotron", llama_like(), "squared ReLU, norms of 1 + weight"),
    _row("smollm3", llama_like(num_hidden_layers=4, tie_word_embeddings=True), "every fourth layer without positions"),
    _row(
        "exaone4", llama_like(num_hidden_layers=4, sliding_window=6, sliding_window_pattern=4), "norms after", steps=90
    ),
    _row(
        "xglm",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "ffn_dim": 48,
            "num_layers": 2,
            "attention_heads": 4,
            "max_position_embeddings": 64,
        },
        "sinusoidal positions, mask given by position",
    ),
    _row("persimmon", llama_like(), "fused q, k, v with norms, squared ReLU"),
    _row("diffllama", llama_like(), "differential attention", steps=60),
    _row("minicpm3", llama_like(num_key_value_heads=4, head_dim=4, **_MLA), "latent attention, dense"),
    _row("ministral", llama_like(head_dim=8, **_MIXED), "sliding and full"),
    _row(
        "modernbert-decoder",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "local_attention": 12,
            "global_attn_every_n_layers": 3,
            "pad_token_id": 0,
            **END,
        },
        "its head is called a decoder, local and global attention",
        steps=45,
    ),
    _row(
        "ctrl",
        {"vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 32, "dff": 48, "n_layer": 2, "n_head": 4},
        "sinusoidal positions, tied",
        stack="transformer.h",
    ),
)
