"""Compute a window's loss with plain torch, and time the matrix products that no implementation can do without."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

ROWS = 256  # of the head at once


def trunk(model: nn.Module, window: Tensor) -> Tensor:
    """Return the last hidden states of one window, (L, width)."""
    states: Tensor = model.base_model(input_ids=window[None], use_cache=False).last_hidden_state[0]
    return states


def chunked_loss(states: Tensor, head: nn.Module, window: Tensor) -> Tensor:
    """Return the sum of −ln p of one window's scored tokens, from chunks of the logits.

    The head must be a plain linear layer on the last hidden states.
    """
    total, last = torch.zeros((), dtype=torch.float64), len(window) - 1
    for start in range(0, last, ROWS):
        stop = min(start + ROWS, last)
        logits = linear(states[start:stop], head.weight, head.bias)
        chosen = logits.gather(-1, window[start + 1 : stop + 1, None])[:, 0]
        total = total + (torch.logsumexp(logits, -1) - chosen).double().sum()
    return total


def bare_loss(model: nn.Module, window: Tensor) -> Tensor:
    """Return the same sum for one window: the trunk, then head and loss in chunks."""
    return chunked_loss(trunk(model, window), model.get_output_embeddings(), window)


def floor(model: nn.Module, length: int) -> Callable[[], None]:
    """Return a function that does the products of one window: every linear layer by ``torch.mm``, and attention.

    Inputs and outputs are allocated once and everything between the products is left out.
    """
    weights = [module.weight.detach() for module in model.modules() if isinstance(module, nn.Linear)]
    inputs = {weight.shape[1]: torch.randn(length, weight.shape[1]) for weight in weights}
    outputs = {weight.shape[0]: torch.empty(length, weight.shape[0]) for weight in weights}
    heads, blocks = model.config.num_attention_heads, model.config.num_hidden_layers
    query, keys, values = torch.randn(3, 1, heads, length, model.config.hidden_size // heads)

    @torch.inference_mode()
    def products() -> None:
        for weight in weights:
            torch.mm(inputs[weight.shape[1]], weight.t(), out=outputs[weight.shape[0]])
        for _ in range(blocks):
            scaled_dot_product_attention(query, keys, values, is_causal=True)

    return products
