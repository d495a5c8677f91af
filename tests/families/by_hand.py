"""A family's numbers by hand: its matrices taken from its parameters, its rounded weights, its loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from tests.families.family import Family

BITS = 4
_ONE_BELOW_THE_OTHER = {"DbrxExpertGLU": "moe_num_experts"}
"""Classes whose experts lie one below the other in parameters of two axes, and what holds their number."""


def matrices(family: Family, model: nn.Module) -> Iterator[tuple[str, int, Tensor]]:
    """Yield every matrix of w as (name of its parameter, its index in it, a view that writes into the model)."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{prefix}.{leaf}"
            if not name.startswith(f"{family.stack}.") or parameter.ndim < 2 or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if family.is_outside(name.removeprefix(f"{family.stack}.").split(".", 1)[1]):
                continue
            held = parameter.detach()
            count = _ONE_BELOW_THE_OTHER.get(type(module).__name__)
            if count is not None:
                held = held.view(getattr(module, count), -1, held.shape[1])
            for index, matrix in enumerate(held if held.ndim == 3 else [held]):
                yield name, index, matrix


def rounded(weight: Tensor) -> Tensor:
    """Round to the nearest of 15 multiples of max|w|/7, halves to even, in float64 from a scale in float32."""
    values = weight.double().numpy()
    largest = 2 ** (BITS - 1) - 1
    scale = float(np.float32(np.abs(values).max() / largest))
    return torch.from_numpy(np.clip(np.rint(values / scale), -largest, largest) * scale)


def token_nll(model: nn.Module, window: Tensor) -> Tensor:
    """Return −ln p of each scored token in float64, from the logits of a plain forward."""
    with torch.no_grad():
        logits = model(window[None], use_cache=False).logits[0, :-1].double()
    return torch.logsumexp(logits, dim=-1) - logits[torch.arange(len(window) - 1), window[1:]]


def mean_nll(model: nn.Module, text: Tensor) -> float:
    """Return the mean over all scored tokens, in nats."""
    return float(torch.stack([token_nll(model, window) for window in text]).mean())
