"""Name the models that are fetched: the one from PyPI, and short names of models on the Hub. No torch is imported."""

from __future__ import annotations

WHEEL = "smollm2-135m"
"""The model that comes from PyPI, as a GGUF file."""
ALIASES = {
    "distilgpt2": "distilbert/distilgpt2",
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "opt-125m": "facebook/opt-125m",
    "opt-350m": "facebook/opt-350m",
    "opt-1.3b": "facebook/opt-1.3b",
    "opt-2.7b": "facebook/opt-2.7b",
    "opt-6.7b": "facebook/opt-6.7b",
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
}
"""Ids on the Hub by short name: the models of Xu et al. 2024, §4, and a small one."""
