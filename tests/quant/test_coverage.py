from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from quant.coverage import VECTORS, coverage
from quant.errors import CheckpointError, UsageError
from quant.space import WeightSpace
from tests import tiny


def moe(**changes: object) -> nn.Module:
    """Two blocks with four experts each."""
    options = {
        "vocab_size": tiny.VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "moe_intermediate_size": 8,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "num_experts": 4,
        "num_experts_per_tok": 2, "max_position_embeddings": 64, **changes,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Qwen3MoeForCausalLM(Qwen3MoeConfig(**options)).eval()


def test_a_dense_model_holds_all_but_vectors() -> None:
    model = tiny.llama()
    found = coverage(model, WeightSpace.of(model))
    matrices = sum(p.numel() for p in model.model.layers.parameters() if p.ndim == 2)
    assert (found.held, found.total) == (matrices, sum(p.numel() for p in model.model.layers.parameters()))
    assert [omission.kind for omission in found.outside] == [VECTORS]
    assert found.outside[0].weights == 4 * 16
    assert found.sentence == f"w holds {matrices:,} of {matrices + 64:,} weights of the blocks (98.36 %); outside: " + (
        "norms and biases (64)"
    )


def test_experts_are_held_and_routers_are_named() -> None:
    model = moe()
    found = coverage(model, WeightSpace.of(model))
    router = next(omission for omission in found.outside if omission.kind == "router")
    assert (router.names, router.weights) == (("mlp.gate.weight",), 2 * 4 * 16)
    assert found.held + router.weights + 2 * (2 * 16 + 2 * 8) == found.total
    assert found.held / (found.total - router.weights) > 0.97
    assert "router (mlp.gate.weight: 128)" in found.sentence


def test_excluded_parameters_are_reported_by_name() -> None:
    model = moe()
    whole = WeightSpace.of(model)
    space = WeightSpace.of(model, ["*.experts.3.*", "*.k_proj.weight"])
    found = coverage(model, space)
    left_out = next(omission for omission in found.outside if omission.kind == "excluded")
    assert left_out.names == ("self_attn.k_proj.weight", "mlp.experts.*.gate_up_proj", "mlp.experts.*.down_proj")
    assert space.dimension == whole.dimension - left_out.weights
    assert left_out.weights == 2 * (8 * 16 + 16 * 16 + 16 * 8)
    assert [slot.offset for slot in space][1] == space.slots[0].size
    assert space.fingerprint != whole.fingerprint


def test_a_name_that_matches_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"in --exclude, '\*\.lm_head' matches none"):
        WeightSpace.of(moe(), ["*.lm_head"])


class Unheard(nn.Module):
    """A layer with a matrix of an unknown kind."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.randn(4, 4))


def test_matrices_of_a_kind_that_is_not_known_are_refused_unless_excluded() -> None:
    model = tiny.llama()
    model.model.layers[1].mlp.extra = Unheard()
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.extra\.mixing, which the weight space does not hold"):
        WeightSpace.of(model)
    found = coverage(model, WeightSpace.of(model, ["*.mixing"]))
    assert ("excluded", 16) in [(omission.kind, omission.weights) for omission in found.outside]


def test_nothing_is_rounded_up_to_all() -> None:
    found = coverage(tiny.llama(), WeightSpace.of(tiny.llama()))
    assert "100 %" not in type(found)(10**9 - 1, 10**9, ()).sentence
    assert type(found)(10, 10, ()).sentence == "w holds 10 of 10 weights of the blocks (100 %)"
