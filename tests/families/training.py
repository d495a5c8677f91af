"""Train a tiny model for a moment on an easy text, so that its loss is well below chance and its weights matter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.families.family import VOCABULARY

LENGTH = 16
BATCH = 8
NOISE = 0.1


def windows(count: int, length: int = LENGTH, seed: int = 0) -> Tensor:
    """Return (count, length) tokens: each calls for one that follows it, except that one in ten is drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    following = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(7))
    token = torch.randint(0, VOCABULARY, (count,), generator=generator)
    tokens = [token]
    for _ in range(length - 1):
        stray = torch.randint(0, VOCABULARY, (count,), generator=generator)
        token = torch.where(torch.rand(count, generator=generator) < NOISE, stray, following[token])
        tokens.append(token)
    return torch.stack(tokens, dim=1)


def train_briefly(model: nn.Module, steps: int = 30, learning_rate: float = 1e-2) -> None:
    """Take a few steps of Adam, without dropout: the same model for the same start."""
    text = windows(BATCH * steps, seed=1).split(BATCH)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    model.eval()
    for batch in text:
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1].float()
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    optimizer.zero_grad()
