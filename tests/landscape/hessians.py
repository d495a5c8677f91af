"""Models so small that the Hessian of their loss is an explicit matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from landscape.curvature.hessian import FlatVector
from landscape.probing.plan import identified
from quant.center import Center
from quant.space import Slot, WeightSpace

VOCABULARY = 11
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
CONFIGS = {  # about a hundred coordinates; weights of order 1, so that the loss is far from flat
    "gpt2": (GPT2LMHeadModel, GPT2Config(
        n_positions=16, n_embd=4, n_inner=4, n_layer=1, n_head=2, initializer_range=0.4, **COMMON,
    )),
    "opt": (OPTForCausalLM, OPTConfig(
        hidden_size=4, word_embed_proj_dim=4, ffn_dim=4, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, init_std=0.4, **COMMON,
    )),
    "llama": (LlamaForCausalLM, LlamaConfig(
        hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=16, initializer_range=0.4, **COMMON,
    )),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    model: nn.Module
    space: WeightSpace
    windows: tuple
    matrix: Tensor
    """The explicit Hessian."""
    precision: float
    """How exact its own forward is: transformers' RMSNorm works in float32 whatever the weights are."""


@cache
def case(name: str) -> Case:
    """In float64, with windows of different lengths: a mean of window means would be another matrix."""
    kind, config = CONFIGS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = kind(config).double().eval()
    space = WeightSpace.of(model)
    rows = [torch.randint(0, VOCABULARY, (n,), generator=torch.Generator().manual_seed(n)) for n in (12, 7, 4)]
    windows = tuple(identified(row[None])[0] for row in rows)
    return Case(model, space, windows, explicit_hessian(model, space, rows), 1e-5 if name == "llama" else 1e-9)


def explicit_hessian(model: nn.Module, space: WeightSpace, rows: list[Tensor]) -> Tensor:
    """Of a loss written down once more, by torch's own function, in one flat vector."""

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([slot.size for slot in space])
        weights = {slot.name: part.view(slot.shape) for slot, part in zip(space, parts, strict=True)}
        total = torch.zeros((), dtype=flat.dtype)
        for row in rows:
            logits = functional_call(model, weights, kwargs={"input_ids": row[None], "use_cache": False}).logits[0]
            total = total - logits[:-1].log_softmax(-1).gather(1, row[1:, None]).sum()
        return total / sum(len(row) - 1 for row in rows)

    flat = torch.cat([p.detach().flatten() for _, p in space.weights(model)])
    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.functional.hessian(loss, flat)


def random_vector(dimension: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> FlatVector:
    return FlatVector(
        torch.randn(dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    )


@dataclass(frozen=True)
class Line:
    start: Center
    v: FlatVector
    lam: float

    def tensor(self, slot: Slot) -> Tensor:
        return self.start.tensor(slot) + self.lam * self.v.tensor(slot)
