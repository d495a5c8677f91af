"""Compute the negative log-likelihood (NLL) of token windows under a causal language model.

Every NLL in this project follows this contract::

    window          t1  t2  t3  …  tL           L token ids; nothing is prepended
    given               t1  t1…t2   t1…t(L−1)   the tokens before it, in the same window
    scored              t2  t3  …  tL           L − 1 tokens, each once

With ``--bos`` (``quant.corpora.corpus``), the beginning-of-text token precedes the same L tokens. It is not scored, and
t1 is scored given it: L + 1 ids, L of them scored.

The NLL of a set of windows is the sum over all scored tokens divided by their count, in nats: a mean over tokens, never
a mean of window means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EVALUATION = 2
"""Version of the sum of a window's NLL, part of a store's settings, so that sums of two versions never mix.

1   ``cross_entropy`` on a strided vocabulary, which adds up serially in float32: −1.5e-4 nats per token on SmolLM2-135M
    (|V| = 49,152), −2.4e-4 on a random head of 262,144 words
2   ``logsumexp`` along rows, which adds up by halves: within 2e-8 on SmolLM2. ``cross_entropy`` along rows keeps one
    running sum for each vector lane: −8e-6 there, and −1.1e-5 at 262,144 words
"""


@dataclass(frozen=True)
class WindowNLL:
    """The contribution of one window to an NLL."""

    total: float
    """Sum of −ln p over its scored tokens, in nats; not finite where the model's output is not."""
    tokens: int
    """Number of scored tokens."""


def token_nll(model: nn.Module, windows: Tensor) -> Tensor:
    """Return −ln p of every scored token.

    Args:
        model: A transformers causal LM.
        windows: (B, L) token ids.

    Returns:
        (B, L − 1) in float32 or better; differentiable.
    """
    logits = model(input_ids=windows, use_cache=False).logits  # (B, L, V)
    logits = logits[:, :-1].float() if logits.dtype in (torch.float16, torch.bfloat16) else logits[:, :-1]
    chosen = logits.gather(-1, windows[:, 1:, None])[..., 0]
    nll: Tensor = torch.logsumexp(logits, -1) - chosen
    return nll


@torch.inference_mode()
def window_nll(model: nn.Module, window: Tensor) -> WindowNLL:
    """Return the NLL sum of one window of shape (L,), accumulated in float64.

    One window is one forward pass: its result then does not depend, even in the last bit, on other windows, and a
    resumed run repeats the interrupted one exactly.
    """
    device = next(model.parameters()).device
    losses = token_nll(model, window.to(device)[None])
    return WindowNLL(float(losses.double().sum()), losses.numel())


def mean_nll(windows: Sequence[WindowNLL]) -> float:
    """Return nats per token over all windows: total sum over total count."""
    return sum(w.total for w in windows) / sum(w.tokens for w in windows)
