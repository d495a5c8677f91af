"""Sample windows from a causal language model, token by token, and check that they are samples of it.

A model that keeps its keys and values gives one token at a time. Some models keep no such memory and ignore it in
silence, or keep one that disagrees with their full forward pass, with which every loss is computed: each token is then
drawn from another distribution. So the steps are compared with one full pass over the sample. Where they differ, each
token is drawn from a full pass: slow, and right for every model whose output does not depend on later tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from transformers import DynamicCache

from quant.architecture import input_device
from quant.checkpoints.checkpoint import Checkpoint
from quant.errors import CorpusError

PEAK, SPREAD = 256.0, 16.0
"""Largest and root-mean-square difference allowed between −ln p of the drawn tokens in steps and in a full pass, in
units of the dtype's spacing times the largest −ln p. Rounding alone gives up to 12 and 2.5 of these units in float32,
2.4 and 0.6 in bfloat16 (opt-nano and SmolLM2-135M); tokens drawn without their past differ by nats."""

NextLogits = Callable[[Tensor], Tensor]
"""Function from the token ids so far, (B, t), to the logits of the next token, (B, V), on the host."""


@torch.inference_mode()
def sample(checkpoint: Checkpoint, first: int, drawn: Tensor, warn: Callable[[str], None]) -> Tensor:
    """Sample windows, each token from one uniform.

    Args:
        checkpoint: The model.
        first: First id of every window.
        drawn: (B, L − 1) uniforms in [0, 1), float64.
        warn: Function for one line if the model must be sampled by full forward passes.

    Returns:
        (B, L) int64 on the host.

    Raises:
        CorpusError: if the model's output is not finite, or depends on later tokens.
    """
    why = "gives another distribution with its memory of past tokens than in a full forward pass"
    try:
        windows, steps = _drawn(_with_memory(checkpoint), first, drawn)
        if _agree(checkpoint, windows, steps):
            return windows
    except Exception as error:  # any error of a model without such memory; a full pass repeats an error of its own
        why = f"cannot be sampled token by token ({type(error).__name__})"
    warn(f"{checkpoint.name} {why}: the corpus self is sampled by full passes, {drawn.shape[1]} for each window")
    rows = [_drawn(_by_full_passes(checkpoint, drawn.shape[1] + 1), first, row[None]) for row in drawn]
    windows, steps = (torch.cat(parts) for parts in zip(*rows, strict=True))
    if not _agree(checkpoint, windows, steps):
        raise CorpusError(
            f"expected a causal model to sample the corpus self from, but what {checkpoint.name} predicts depends on "
            "later tokens; use another --data, and do not trust its losses"
        )
    return windows


def _drawn(step: NextLogits, first: int, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Return windows (B, L), and ln p of the tokens drawn at each step, (B, L − 1)."""
    ids, log_p = torch.full((len(drawn), 1), first), []
    for uniform in drawn.T:
        logits = step(ids)
        new = inverse_cdf(logits, uniform)[:, None]
        log_p.append(torch.log_softmax(logits.double(), dim=-1).gather(1, new))
        ids = torch.cat([ids, new], dim=1)
    return ids, torch.cat(log_p, dim=1)


def _with_memory(checkpoint: Checkpoint) -> NextLogits:
    """Ask for one token at a time; the model keeps keys and values of those before."""
    model = checkpoint.model
    memory = DynamicCache(config=model.config)

    def step(ids: Tensor) -> Tensor:
        output = model(input_ids=ids[:, -1:].to(input_device(model)), past_key_values=memory, use_cache=True)
        logits: Tensor = output.logits[:, -1]
        return logits.cpu()

    return step


def _by_full_passes(checkpoint: Checkpoint, length: int) -> NextLogits:
    """Ask for the whole window each time, filled up to its length.

    Later tokens do not count in a causal model, and a model whose positions scale with the length sees the right one.
    """

    def step(ids: Tensor) -> Tensor:
        filled = torch.cat([ids, ids[:, -1:].expand(-1, length - ids.shape[1])], dim=1)
        return torch.stack([logits[ids.shape[1] - 1] for logits in _full(checkpoint, filled)])

    return step


def _full(checkpoint: Checkpoint, windows: Tensor) -> Iterator[Tensor]:
    """Yield the logits (L, V) of each window as every loss is computed: one pass per window, no memory."""
    for window in windows:
        output = checkpoint.model(input_ids=window[None].to(input_device(checkpoint.model)), use_cache=False)
        yield output.logits[0].cpu()


def _agree(checkpoint: Checkpoint, windows: Tensor, steps: Tensor) -> bool:
    """Return whether ln p of the drawn tokens, (B, L − 1), is that of full passes over the windows, up to rounding."""
    full = torch.stack(
        [
            -torch.nn.functional.cross_entropy(logits[:-1].double(), window[1:], reduction="none")
            for window, logits in zip(windows, _full(checkpoint, windows), strict=True)
        ]
    )
    unit = torch.finfo(checkpoint.model.dtype).eps * max(1.0, float(full.abs().max()))
    apart = (steps - full) / unit
    return float(apart.abs().max()) <= PEAK and float(apart.square().mean().sqrt()) <= SPREAD


def inverse_cdf(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return the id k of each row with F(k − 1) ≤ u < F(k), F the cumulative softmax, in float64.

    Args:
        logits: (B, V).
        uniform: (B,) in [0, 1), float64.

    Returns:
        (B,) int64; an id of probability zero is never chosen.

    Raises:
        CorpusError: if a row is not finite.
    """
    cumulative = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)
    total = cumulative[:, -1:]
    if not bool(torch.isfinite(total).all()):
        raise CorpusError(
            "expected finite logits while sampling the corpus self, got NaN or infinity; try --dtype float32"
        )
    below = uniform[:, None] * total  # u ≤ 1 − 2⁻⁵³, so that u·total rounds to less than total
    return torch.searchsorted(cumulative, below, right=True)[:, 0]
