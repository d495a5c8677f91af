"""Check model and text of a run: a causal model, its own samples, and its beginning-of-text token."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.formatting import with_minus
from landscape.health.checks import CACHED, unchecked
from landscape.probing.plan import Window
from landscape.session.run_record import Check
from quant.architecture import input_device
from quant.checkpoints.checkpoint import Checkpoint
from quant.corpora.corpus import Corpus
from quant.corpora.texts import SELF
from quant.corpora.tokens import beginning_of_text
from quant.nll import Rows, measure, token_nll

OWN, BEGINNING, SPLITS, CAUSAL = "own samples", "beginning of text", "splits of the text", "causal model"

OWN_SIGMAS = 4.0
"""Largest accepted Σ(nll − H)/√ΣVar; samples of the model exceed it 6 times in 100,000."""
OWN_WINDOWS = 8
"""Largest number of windows for that sum."""
GAIN = 0.3
"""Largest accepted gain from the beginning-of-text token, nats per token, for a model that is measured without it.
Models that were always trained with it (Gemma) gain 1.8; GPT-2, OPT and SmolLM2 next to nothing."""
GAIN_WINDOWS = 4
"""Largest number of windows on which the gain is measured."""
LOOKS_AHEAD = 256.0
"""Largest change of a token's −ln p by a later token that counts as rounding, in spacings of the dtype times the
largest −ln p: a mixture of experts batches other tokens together. Attention to a later token changes it by far more."""
_ROWS = 32  # rows of logits at once: in float64 each takes |V| × 8 bytes


@dataclass(frozen=True, eq=False)
class ProbedText:
    """Text of a run."""

    windows: tuple[Window, ...]
    """Windows that were evaluated, some or all."""
    own: bool
    """Whether the model wrote it."""
    beginning: int | None
    """Beginning-of-text token of the tokenizer if the windows lack it; None if they have it or there is none."""
    notes: tuple[str, ...] = ()
    """Notes on how the splits were made: see ``quant.corpora.corpus.Corpus``."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, corpus: Corpus, windows: tuple[Window, ...]) -> ProbedText:
        """Describe the text of a corpus, given the windows that were evaluated."""
        own = corpus.name == SELF
        beginning = None if own or corpus.bos is not None else beginning_of_text(checkpoint)
        return cls(windows, own, beginning, corpus.notes)


def text_checks(text: ProbedText, model: nn.Module, evaluated: bool) -> tuple[Check, ...]:
    """Check a text with the model at w.

    Args:
        text: The text.
        model: The model as the run leaves it.
        evaluated: Whether the run evaluated anything; if not, the model is not called.
    """
    checks = [causal(model, text.windows[0]) if evaluated else unchecked(CAUSAL, CACHED)]
    if text.own:
        windows = text.windows[:OWN_WINDOWS]
        checks.append(own_samples(*surprise(model, windows)) if evaluated else unchecked(OWN, CACHED))
    if text.beginning is not None and len(text.windows[0].tokens) > 2:
        windows = text.windows[:GAIN_WINDOWS]
        gain = beginning_gain(model, windows, text.beginning) if evaluated else None
        checks.append(unchecked(BEGINNING, CACHED) if gain is None else beginning(gain, len(windows)))
    return (*checks, *(Check(SPLITS, None, note) for note in text.notes))


@torch.inference_mode()
def causal(model: nn.Module, window: Window) -> Check:
    """Check that no token's loss depends on later tokens: exchange the last token and compare.

    A model whose attention sees both ways (BERT without ``is_decoder``) is scored on tokens that it has read.
    """
    tokens = window.tokens.to(input_device(model))
    changed = tokens.clone()
    changed[-1] = tokens[0] if tokens[0] != tokens[-1] else (tokens[-1] + 1) % int(tokens.max() + 1)
    before, after = (token_nll(model, ids[None])[0, :-1].double() for ids in (tokens, changed))
    largest = max(1.0, float(before.abs().max())) if len(before) else 1.0
    moved = float((after - before).abs().max()) if len(before) else 0.0
    dtype = next(model.parameters()).dtype
    passed = not moved > LOOKS_AHEAD * torch.finfo(dtype).eps * largest
    measured = f"a change of {moved:.2g} nats at most in earlier tokens when the last token is changed"
    words = f"The model reads from left to right: {measured}."
    if not passed:
        words = (
            f"The model sees the tokens that it should predict: {measured}. Its losses are those of no language "
            "model; use a causal one."
        )
    return Check(CAUSAL, passed, words)


@torch.inference_mode()
def surprise(model: nn.Module, windows: tuple[Window, ...]) -> tuple[float, float]:
    """Measure by how much a text surprises the model more than its own samples would: Σ(nll − H).

    H is the entropy of the model's distribution at each step, and Var the variance of −ln p under it. On samples of the
    model the terms have mean zero and are uncorrelated, whatever the tokens before them.

    Returns:
        Σ(nll − H) in nats, and ΣVar, over all scored tokens.
    """
    excess, variance = 0.0, 0.0
    device = input_device(model)
    for window in windows:
        terms, variances = measure(model, window.tokens.to(device)[None], _excess, _variance)
        excess, variance = excess + float(terms.sum()), variance + float(variances.sum())
    return excess, variance


def _excess(rows: Rows) -> Tensor:
    """Return −ln p less the entropy, for each token."""
    return _by_few(rows, lambda own, p, surprisal: own - (p * surprisal).sum(-1))


def _variance(rows: Rows) -> Tensor:
    """Return the variance of −ln p under the model's distribution, for each token."""
    return _by_few(rows, lambda own, p, surprisal: (p * surprisal.square()).sum(-1) - (p * surprisal).sum(-1).square())


def _by_few(rows: Rows, term: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Compute a term in float64, from the token's own −ln p and from p and −ln p of the whole vocabulary."""
    found = []
    for logits, targets in zip(torch.split(rows.logits, _ROWS), torch.split(rows.targets, _ROWS), strict=True):
        log_p = torch.log_softmax(logits.double(), dim=-1)
        surprisal = -torch.where(log_p.isneginf(), 0.0, log_p)  # p ln p is 0 where p is 0
        found.append(term(-log_p.gather(-1, targets[:, None])[:, 0], log_p.exp(), surprisal))
    return torch.cat(found)


def own_samples(excess: float, variance: float) -> Check:
    """Compare Σ(nll − H) of the model's alleged own text with its standard deviation on such text.

    The slope at w would not reveal text from another distribution: the gradient there has hardly any component along a
    few random directions.
    """
    if variance == 0:
        return unchecked(OWN, "The model is certain of every token, so there is nothing to compare its text with.")
    score = excess / math.sqrt(variance) if math.isfinite(variance) and variance > 0 else math.nan
    measured = f"Σ(nll − H)/√ΣVar = {with_minus(f'{score:+.2g}')}"
    passed = abs(score) <= OWN_SIGMAS
    words = f"The model is as surprised by its own text as it expects to be: {measured}."
    if not passed:
        words = (
            f"This is not the model's own text: {measured}, where samples of the model stay within ±{OWN_SIGMAS:g}. It "
            "was drawn wrongly, by other weights, or in another --dtype, and w is no minimum of it; use another "
            "--store, in which it is drawn again, or another --data."
        )
    return Check(OWN, passed, words)


@torch.inference_mode()
def beginning_gain(model: nn.Module, windows: tuple[Window, ...], beginning_token: int) -> float:
    """Measure how far the loss falls, in nats per token, with the beginning-of-text token before each window.

    The last token of a window makes room for it, so that no window is longer than the model accepts. The first token is
    not counted, since without it no token comes before.
    """
    device, without, with_it, count = input_device(model), 0.0, 0.0, 0
    for window in windows:
        tokens = window.tokens[:-1].to(device)
        extended = torch.cat([tokens.new_tensor([beginning_token]), tokens])
        without += float(token_nll(model, tokens[None]).double().sum())
        with_it += float(token_nll(model, extended[None])[:, 1:].double().sum())
        count += len(tokens) - 1
    return (without - with_it) / count


def beginning(gain: float, n_windows: int) -> Check:
    """Judge the gain from the beginning-of-text token for a model that is measured without it."""
    measured = f"{with_minus(f'{gain:+.2g}')} nats per token gained with it, on {n_windows} windows"
    words = f"The model does not need its beginning-of-text token, which no window has: {measured}."
    passed = not gain > GAIN
    if not passed:
        words = (
            f"The model needs its beginning-of-text token, which no window has: {measured}. All losses here "
            "are those of a model used in a way it was not trained for; use --bos, which prepends the token."
        )
    return Check(BEGINNING, passed, words)
