"""Compare the predictions of a model at other weights with its own at w, in the pass that gives the NLL.

The predictions at w are kept as the last hidden states that they follow from (``quant.nll.hidden_states``), a few
megabytes per window where its logits take hundreds: what follows the hidden states, final projection and head, never
moves. Both sides take the same path through the same code, so that at w itself every KL divergence is 0 to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quant.architecture import input_device, vocabulary_size
from quant.nll import HEAD_ROWS, Rows, WindowNLL, few_rows, hidden_states, log_sums, measure, nll, splits

LOGITS_AT_ONCE = 2**25
"""Logits that are compared at once on a card: each of the temporaries takes 128 MB in float32."""
TEMPORARIES = 6
"""Tensors as large as the logits that are compared at once: both logits, both log-probabilities, p, and one more."""


@dataclass(frozen=True)
class WindowFidelity:
    """Comparison of one window's predictions with those at w, summed over its scored tokens."""

    kl: float
    """Sum of KL(w ‖ here), in nats; not finite where the model's output is not."""
    agreeing: int
    """Number of tokens whose most probable id is the same as at w."""
    entropy: float
    """Sum of the entropies of the predictions here, in nats."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A measure of three numbers per token, (n, 3): KL(w ‖ here), whether the first choice agrees, and the entropy."""

    reference: Tensor
    """(B·(L − 1), d) hidden states at w of the windows that are measured, as ``hidden_states`` gives them."""

    def __call__(self, rows: Rows) -> Tensor:
        """Compare some rows; on a CPU as few at a time as stay in its cache."""
        own = rows.head(self.reference[rows.place])
        parts = zip(few_rows(own, LOGITS_AT_ONCE), few_rows(rows.logits, LOGITS_AT_ONCE), strict=True)
        return torch.cat([_compared(some_own, some) for some_own, some in parts])


def _compared(own: Tensor, here: Tensor) -> Tensor:
    """Return Σ p (log p − log q), whether the largest p and q are of one id, and −Σ q log q: (n, 3).

    Args:
        own: Logits at w, (n, V), from which p follows.
        here: Logits, (n, V), from which q follows.
    """
    sums = log_sums(here)
    log_p, log_q = own - log_sums(own)[:, None], here - sums[:, None]
    divergence = _expected(log_p, log_p - log_q)
    agree = (own.argmax(-1) == here.argmax(-1)) & sums.isfinite()  # argmax of an overflow is no choice
    return torch.stack([divergence, agree.to(divergence.dtype), -_expected(log_q, log_q)], dim=1)


def _expected(log_p: Tensor, values: Tensor) -> Tensor:
    """Return Σ p x along the rows, (n,), where words that a model rules out, with p = 0, count as nothing."""
    p = log_p.exp()
    return (p * values).masked_fill_(p == 0, 0.0).sum(-1)


@torch.inference_mode()
def batch_states(model: nn.Module, windows: Tensor) -> Tensor:
    """Return the last hidden states of windows that go through the model together, (B, L − 1, d)."""
    return hidden_states(model, windows.to(input_device(model))).view(len(windows), windows.shape[1] - 1, -1)


@torch.inference_mode()
def batch_fidelity(model: nn.Module, windows: Tensor, reference: Tensor) -> list[tuple[WindowNLL, WindowFidelity]]:
    """Return the NLL sums of windows, those of ``quant.nll.batch_nll`` to the bit, and their comparison with w.

    Args:
        model: A transformers causal LM, at any weights.
        windows: (B, L) token ids, which go through the model together.
        reference: (B, L − 1, d) their ``batch_states`` at w.
    """
    losses, compared = measure(model, windows.to(input_device(model)), nll, Comparison(reference.flatten(0, 1)))
    sums, tokens = compared.double().sum(1).tolist(), windows.shape[1] - 1
    return [
        (WindowNLL(total, tokens), WindowFidelity(kl, round(agreeing), entropy))
        for total, (kl, agreeing, entropy) in zip(losses.double().sum(1).tolist(), sums, strict=True)
    ]


def state_bytes(model: nn.Module, windows: Tensor) -> int:
    """Return the memory of the last hidden states of windows that go through the model together, (B, L)."""
    whole = not splits(model, windows.to(input_device(model)))
    embeddings = model.get_input_embeddings().weight  # type: ignore[operator, union-attr]
    width = vocabulary_size(model) if whole else embeddings.shape[1]
    return int(len(windows) * (windows.shape[1] - 1) * width * next(model.parameters()).element_size())


def comparison_bytes(vocabulary: int, ids: int, on_card: bool) -> int:
    """Return the memory of the temporaries of a comparison, where so many ids go through the model together."""
    rows = min(ids, HEAD_ROWS)
    at_once = min(rows * vocabulary, LOGITS_AT_ONCE) if on_card else 0
    return 4 * (rows * vocabulary + TEMPORARIES * at_once)
