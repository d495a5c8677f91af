"""Find which matrices of the weight space the model's logits depend on.

A decoder that was cut out of an encoder-decoder keeps matrices for the missing encoder. No loss depends on them, yet
they would count in D, and a random direction would spend a part of its length on them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from quant.architecture import input_device
from quant.errors import CheckpointError
from quant.space import WeightSpace

_TOKENS = 4
_NAMED = 3  # matrices that a message lists


def check_reach(model: nn.Module, space: WeightSpace) -> None:
    """Check that the logits of a few tokens depend on every matrix of the space, except experts.

    No gradient is computed; only its graph is walked. A model that cannot run on so few tokens is not checked here.

    Raises:
        CheckpointError: if there is a matrix that no logit depends on.
    """
    try:
        used = _used(model)
    except Exception:  # the first evaluation raises any error again, with a name
        return
    idle = [slot.name for slot in space if not slot.expert and id(model.get_parameter(slot.parameter)) not in used]
    if idle:
        module = idle[0].split(".")[-3]
        raise CheckpointError(
            f"expected every matrix of the blocks to have a part in the logits of {type(model).__name__}, {len(idle)} "
            f"have none: {', '.join(idle[:_NAMED])}{', …' if len(idle) > _NAMED else ''}; leave them out with "
            f"--exclude '*.{module}.*'"
        )


def _used(model: nn.Module) -> set[int]:
    """Return the ids of the parameters that the logits of a few tokens depend on."""
    own = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        model.requires_grad_(True)
        with torch.enable_grad():
            ids = torch.arange(_TOKENS, device=input_device(model))[None]
            return _leaves(model(input_ids=ids, use_cache=False).logits.grad_fn)
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(own[name])


def _leaves(root: Any) -> set[int]:
    """Return the ids of the tensors at the ends of a graph of gradients."""
    found, seen, open_nodes = set[int](), {root}, [root]
    while open_nodes:
        node = open_nodes.pop()
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        for after, _ in node.next_functions:
            if after is not None and after not in seen:
                seen.add(after)
                open_nodes.append(after)
    return found
