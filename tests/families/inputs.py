"""The inputs of every matrix in one whole forward pass, by hooks on modules and by what experts compute from theirs.

Products of tensors are not looked at, but for the few parameters that a family multiplies with outside of any module.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

Inputs = Mapping[tuple[str, int], Tensor]
"""By the parameter's name and the index in it: (tokens, in), float64."""
Add = Callable[[Tensor, int, Tensor], None]
_MATMULS = {torch.matmul, Tensor.matmul, Tensor.__matmul__}


@torch.no_grad()
def recorded_inputs(model: nn.Module, windows: Tensor) -> Inputs:
    """Run the model on each window and return what every matrix of it has read."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[tuple[str, int], list[Tensor]] = defaultdict(list)

    def add(parameter: Tensor, index: int, inputs: Tensor) -> None:
        found[names[id(parameter)], index].append(inputs.reshape(-1, inputs.shape[-1]).double())

    direct = _FactorsOnTheLeft(model)
    with _hooked(model, add), direct:
        for window in windows:
            model(input_ids=window[None], use_cache=False)
    by_hooks = {name for name, _ in found}
    for parameter, index, inputs in direct.found:
        if names[id(parameter)] not in by_hooks:
            add(parameter, index, inputs)
    return {key: torch.cat(rows) for key, rows in found.items()}


@contextmanager
def _hooked(model: nn.Module, add: Add) -> Iterator[None]:
    with ExitStack() as stack:
        for module in model.modules():
            observe = _observer(module)
            if observe is not None:

                def hook(m: nn.Module, args: Any, kwargs: Any, observe: Callable[..., None] = observe) -> None:
                    observe(add, m, *args, *kwargs.values())

                stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield


def _observer(module: nn.Module) -> Callable[..., None] | None:
    own = _BY_CLASS.get(type(module).__name__)
    if own is not None:
        return own
    if isinstance(module, nn.Linear | Conv1D):
        return _linear
    return _fused if hasattr(module, "is_transposed") and hasattr(module, "has_gate") else None


def _linear(add: Add, module: Any, x: Tensor) -> None:
    add(module.weight, 0, x)


def _fused(add: Add, module: Any, hidden: Tensor, chosen: Tensor, *scores: Tensor) -> None:
    """What transformers' own experts compute: their flags say how the weights are stored."""
    first = module.gate_up_proj if module.has_gate else module.up_proj
    for expert in range(len(first)):
        x = _routed(hidden, chosen, expert)
        between = x @ (first[expert] if module.is_transposed else first[expert].T)
        if module.has_bias:
            between = between + module.gate_up_proj_bias[expert]
        add(first, expert, x)
        add(module.down_proj, expert, module._apply_gate(between) if module.has_gate else module.act_fn(between))


def _llama4(add: Add, module: Any, hidden: Tensor, *_: object) -> None:
    """The whole layer: each token goes to its expert scaled by its score."""
    x = hidden.reshape(-1, hidden.shape[-1])
    logits = x @ module.router.weight.T
    best, chosen = logits.topk(module.top_k, dim=1)
    for expert in range(len(module.experts.down_proj)):
        rows, column = (chosen == expert).nonzero(as_tuple=True)
        scaled = x[rows] * torch.sigmoid(best[rows, column].float()).to(x.dtype)[:, None]
        gate, up = (scaled @ module.experts.gate_up_proj[expert]).chunk(2, dim=-1)
        add(module.experts.gate_up_proj, expert, scaled)
        add(module.experts.down_proj, expert, up * module.experts.act_fn(gate))


def _dbrx(add: Add, module: Any, hidden: Tensor, chosen: Tensor, *_: object) -> None:
    mlp, shape = module.mlp, (module.num_experts, module.ffn_hidden_size, module.hidden_size)
    for expert in range(module.num_experts):
        x = _routed(hidden, chosen, expert)
        w1, v1 = mlp.w1.view(shape)[expert], mlp.v1.view(shape)[expert]
        add(mlp.w1, expert, x)
        add(mlp.v1, expert, x)
        add(mlp.w2, expert, mlp.activation_fn(x @ w1.T) * (x @ v1.T))


def _jetmoe(add: Add, module: Any, inputs: Tensor, sizes: list[int]) -> None:
    for expert, rows in enumerate(inputs.split(sizes)):
        add(module.weight, expert, rows)


def _rglru(add: Add, module: Any, activations: Tensor, *_: object) -> None:
    heads = activations.reshape(-1, module.num_attention_heads, module.block_width)
    for parameter in (module.input_gate_weight, module.recurrent_gate_weight):
        for head in range(module.num_attention_heads):
            add(parameter, head, heads[:, head])


def _routed(hidden: Tensor, chosen: Tensor, expert: int) -> Tensor:
    """The tokens that have this expert among those chosen for them."""
    return hidden.reshape(-1, hidden.shape[-1])[(chosen == expert).any(-1)]


_BY_CLASS: dict[str, Callable[..., None]] = {
    "Llama4TextMoe": _llama4,
    "DbrxExperts": _dbrx,
    "JetMoeParallelExperts": _jetmoe,
    "RecurrentGemmaRglru": _rglru,
}


class _FactorsOnTheLeft(TorchFunctionMode):
    """Parameters that stand on the left of an ``@``: those of Mamba's step sizes, and Zamba's matrices by head."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, int, Tensor]] = []
        self._parameters = {p.untyped_storage().data_ptr(): p for p in model.parameters()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _MATMULS and args[0].untyped_storage().data_ptr() in self._parameters:
            parameter, right = self._parameters[args[0].untyped_storage().data_ptr()], args[1].mT
            for index, x in enumerate(right if parameter.ndim == 3 else [right]):
                self.found.append((parameter, index, x))
        return func(*args, **(kwargs or {}))
