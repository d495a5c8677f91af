"""Compute the negative log-likelihood (NLL) of token windows under a causal language model.

Every NLL in this project follows this contract::

    window          t1  t2  t3  …  tL           L token ids; nothing is prepended
    given               t1  t1…t2   t1…t(L−1)   the tokens before it, in the same window
    scored              t2  t3  …  tL           L − 1 tokens, each once

With ``--bos`` (``quant.corpora.corpus``), the beginning-of-text token precedes the same L tokens. It is not scored, and
t1 is scored given it: L + 1 ids, L of them scored.

The NLL of a set of windows is the sum over all scored tokens divided by their count, in nats: a mean over tokens, never
a mean of window means.

The head runs on ``HEAD_ROWS`` tokens at a time, so no more logits than ``HEAD_ROWS`` times the vocabulary exist at once
(``quant.trunk`` says how, and for which models not). A measure is a number for each scored token that its logits give:
−ln p, the entropy, the KL divergence from other logits. Any number of measures are taken in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quant.architecture import input_device
from quant.trunk import Split, Whole, split

EVALUATION = 3
"""Version of the sum of a window's NLL, part of a store's settings, so that sums of two versions never mix.

1   ``cross_entropy`` on a strided vocabulary, which adds up serially in float32: −1.5e-4 nats per token on SmolLM2-135M
    (|V| = 49,152), −2.4e-4 on a random head of 262,144 words
2   ``logsumexp`` along rows, which adds up by halves: within 2e-8 on SmolLM2. ``cross_entropy`` along rows keeps one
    running sum for each vector lane: −8e-6 there, and −1.1e-5 at 262,144 words
3   the same on the logits of ``HEAD_ROWS`` tokens at a time: a matrix product of fewer rows adds up in another order
"""
HEAD_ROWS = 256
"""Tokens whose logits exist at once. Fewer make the head's matrix product slower, more gain nothing."""
_IN_CACHE = 2**19  # logits that are summed at once on a CPU: two megabytes stay in its cache


@dataclass(frozen=True)
class WindowNLL:
    """The contribution of one window to an NLL."""

    total: float
    """Sum of −ln p over its scored tokens, in nats; not finite where the model's output is not."""
    tokens: int
    """Number of scored tokens."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Some of the scored tokens of a batch, with their logits."""

    logits: Tensor
    """(n, V), float32 or better."""
    targets: Tensor
    """(n,) the tokens themselves."""
    place: slice
    """Places of these tokens among all scored tokens of the batch, window by window."""
    head: Callable[[Tensor], Tensor]
    """Gives the logits, (n, V), of these tokens from other hidden states at the same places, (n, d)."""


Measure = Callable[[Rows], Tensor]
"""A number for each of some scored tokens, (n,), or k of them, (n, k)."""


def nll(rows: Rows) -> Tensor:
    """Return −ln p of some tokens, (n,)."""
    return log_sums(rows.logits) - _chosen(rows.logits, rows.targets)


@torch.no_grad()
def hidden_states(model: nn.Module, windows: Tensor) -> Tensor:
    """Return the last hidden states that the scored tokens of windows are predicted from.

    Args:
        model: A transformers causal LM.
        windows: (B, L) token ids.

    Returns:
        (B·(L − 1), d), window by window: ``hidden[rows.place]`` is what ``rows.head`` takes. Where a model cannot be
        split, d is |V|, and they are its logits.
    """
    return _flat(_split(model, windows).hidden(windows))


@torch.no_grad()
def measure(model: nn.Module, windows: Tensor, *measures: Measure) -> tuple[Tensor, ...]:
    """Take several measures of every scored token in one pass.

    Args:
        model: A transformers causal LM.
        windows: (B, L) token ids.
        measures: The measures, such as ``nll``.

    Returns:
        (B, L − 1) for each measure; (B, L − 1, k) for one of k numbers.
    """
    found = [[each(rows) for each in measures] for rows in _rows(model, windows)]
    count, length = windows.shape
    return tuple(torch.cat(parts).view(count, length - 1, *parts[0].shape[1:]) for parts in zip(*found, strict=True))


def token_nll(model: nn.Module, windows: Tensor) -> Tensor:
    """Return −ln p of every scored token.

    Where a gradient is wanted, it goes through the hidden states, and its part in the head is computed with the logits,
    some rows at a time. It can then be taken once. Parameters after the trunk that require a gradient take the logits
    all at once, and so does ``whole_nll``.

    Args:
        model: A transformers causal LM.
        windows: (B, L) token ids.

    Returns:
        (B, L − 1) in float32 or better.
    """
    if not torch.is_grad_enabled():
        return measure(model, windows, nll)[0]
    parts = _split(model, windows)
    if isinstance(parts, Whole) or parts.trains:
        return whole_nll(model, windows)
    found: Tensor = _ByRows.apply(_flat(parts.hidden(windows)), windows, parts)  # type: ignore[no-untyped-call]
    return found.view(len(windows), -1)


def whole_nll(model: nn.Module, windows: Tensor) -> Tensor:
    """Return −ln p of every scored token, from all logits at once, differentiable any number of times.

    Args:
        model: A transformers causal LM.
        windows: (B, L) token ids.

    Returns:
        (B, L − 1) in float32 or better.
    """
    logits = _full(_flat(Whole(model).hidden(windows)))
    chosen = logits.gather(-1, windows[:, 1:].reshape(-1, 1))[:, 0]
    return (torch.logsumexp(logits, -1) - chosen).view(len(windows), -1)


@torch.inference_mode()
def batch_nll(model: nn.Module, windows: Tensor) -> list[WindowNLL]:
    """Return the NLL sums of windows of shape (B, L), which go through the model together, accumulated in float64."""
    totals = token_nll(model, windows.to(input_device(model))).double().sum(1)
    return [WindowNLL(total, windows.shape[1] - 1) for total in totals.tolist()]


def window_nll(model: nn.Module, window: Tensor) -> WindowNLL:
    """Return the NLL sum of one window of shape (L,), accumulated in float64.

    One window is one forward pass: its result then does not depend, even in the last bit, on other windows, and a
    resumed run repeats the interrupted one exactly.
    """
    return batch_nll(model, window[None])[0]


def mean_nll(windows: Sequence[WindowNLL]) -> float:
    """Return nats per token over all windows: total sum over total count."""
    return sum(w.total for w in windows) / sum(w.tokens for w in windows)


class _ByRows(torch.autograd.Function):
    """−ln p from hidden states; each row of the gradient is computed with the row's logits, which are then released."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, windows: Tensor, parts: Split) -> Tensor:
        slopes = torch.empty_like(hidden)
        found = []
        for place, given, targets in _chunks(windows):
            with torch.enable_grad():
                state = hidden[place].detach().requires_grad_()
                logits = parts.logits(state, given)
            full = _full(logits.detach())
            sums = log_sums(full)
            found.append(sums - _chosen(full, targets))
            p = (full - sums[:, None]).exp_()
            p.scatter_add_(1, targets[:, None], p.new_full((len(targets), 1), -1.0))
            (slopes[place],) = torch.autograd.grad(logits, state, p.to(logits.dtype))
        ctx.save_for_backward(slopes)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # the slopes have no graph: a second derivative would lack the head's part
            raise RuntimeError("expected a gradient that is taken once, got create_graph=True; use quant.nll.whole_nll")
        (slopes,) = ctx.saved_tensors
        return (upstream.to(slopes.device)[:, None] * slopes).to(slopes.dtype), None, None


def _split(model: nn.Module, windows: Tensor) -> Split:
    """Split a model, unless a few rows of logits are all that there are."""
    count, length = windows.shape
    return Whole(model) if count * (length - 1) <= HEAD_ROWS else split(model, windows[0])


def _rows(model: nn.Module, windows: Tensor) -> Iterator[Rows]:
    """Yield the scored tokens of windows with their logits, some at a time."""
    parts = _split(model, windows)
    hidden = _flat(parts.hidden(windows))
    for place, given, targets in _chunks(windows):

        def head(states: Tensor, given: Tensor = given) -> Tensor:
            return _full(parts.logits(states, given))

        yield Rows(head(hidden[place]), targets, place, head)


def _chunks(windows: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield places among the scored tokens, the ids of the tokens before them, and their own."""
    given, targets = windows[:, :-1].reshape(-1), windows[:, 1:].reshape(-1)
    for start in range(0, len(targets), HEAD_ROWS):
        place = slice(start, min(start + HEAD_ROWS, len(targets)))
        yield place, given[place], targets[place]


def _flat(states: Tensor) -> Tensor:
    """Turn (B, L, d) into the rows of the scored tokens, (B·(L − 1), d)."""
    return states[:, :-1].reshape(-1, states.shape[-1])


def _full(logits: Tensor) -> Tensor:
    """Return logits in float32 or better."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def log_sums(logits: Tensor) -> Tensor:
    """Return the logarithms of the sums of exp along the rows, (n,); on a CPU a few rows at a time."""
    if logits.device.type != "cpu":
        return torch.logsumexp(logits, -1)
    return torch.cat([torch.logsumexp(few, -1) for few in few_rows(logits)])


def few_rows(logits: Tensor, on_card: int | None = None) -> tuple[Tensor, ...]:
    """Cut logits, (n, V), into some rows at a time: on a CPU as few as stay in its cache.

    Args:
        logits: The logits.
        on_card: Number of logits at once on another device; None for all.
    """
    at_once = _IN_CACHE if logits.device.type == "cpu" else on_card
    return (logits,) if at_once is None else torch.split(logits, max(1, at_once // logits.shape[1]))


def splits(model: nn.Module, windows: Tensor) -> bool:
    """Return whether hidden states of windows, (B, L), are those of the trunk; if not, they are the logits."""
    return not isinstance(_split(model, windows), Whole)


def _chosen(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logits of the tokens themselves, (n,)."""
    return logits.gather(-1, targets[:, None])[:, 0]
