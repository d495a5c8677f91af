import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from quant.center import Center, preserved
from quant.errors import CheckpointError
from quant.space import Difference, WeightSpace, distance, dot, norm
from tests.tiny import ARCHITECTURES

# Shapes by hand from the configurations in tests/tiny.py: hidden 16, two blocks each.
GPT2_BLOCK = {"attn.c_attn": (16, 48), "attn.c_proj": (16, 16), "mlp.c_fc": (16, 64), "mlp.c_proj": (64, 16)}
OPT_BLOCK = {
    "self_attn.k_proj": (16, 16), "self_attn.v_proj": (16, 16), "self_attn.q_proj": (16, 16),
    "self_attn.out_proj": (16, 16), "fc1": (32, 16), "fc2": (16, 32),
}  # fmt: skip
LLAMA_BLOCK = {
    "self_attn.q_proj": (16, 16), "self_attn.k_proj": (8, 16), "self_attn.v_proj": (8, 16),
    "self_attn.o_proj": (16, 16), "mlp.gate_proj": (24, 16), "mlp.up_proj": (24, 16), "mlp.down_proj": (16, 24),
}  # fmt: skip
BY_HAND = {
    "gpt2": ("transformer.h", GPT2_BLOCK, 6144),
    "opt": ("model.decoder.layers", OPT_BLOCK, 4096),
    "opt-350m": ("model.decoder.layers", OPT_BLOCK, 4096),
    "llama": ("model.layers", LLAMA_BLOCK, 3840),
}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(architecture: str) -> nn.Module:
    return ARCHITECTURES[architecture]()


def flat(space: WeightSpace, vector: Center) -> np.ndarray:
    return np.concatenate([vector.tensor(slot).double().numpy().reshape(-1) for slot in space])


def test_slots_and_dimension_by_hand(architecture: str, model: nn.Module) -> None:
    stack, block, dimension = BY_HAND[architecture]
    space = WeightSpace.of(model)
    expected = [(f"{stack}.{i}.{name}.weight", shape, i) for i in (0, 1) for name, shape in block.items()]
    assert [(s.name, s.shape, s.block) for s in space] == expected
    assert space.dimension == dimension
    assert {s.transposed for s in space} == {architecture == "gpt2"}


def test_offsets_index_the_flat_order(model: nn.Module) -> None:
    space = WeightSpace.of(model)
    everything = flat(space, Center.of(model, space))
    assert everything.size == space.dimension
    for slot, parameter in space.weights(model):
        part = everything[slot.offset : slot.offset + slot.size]
        np.testing.assert_array_equal(part, parameter.detach().numpy().reshape(-1))


def test_channels_and_inputs_follow_the_stored_layout() -> None:
    linear, conv1d = WeightSpace.of(ARCHITECTURES["llama"]()).slots[1], WeightSpace.of(ARCHITECTURES["gpt2"]()).slots[0]
    assert linear.input_dim == 1
    assert conv1d.input_dim == 0


def test_embeddings_head_norms_and_biases_are_outside(model: nn.Module) -> None:
    inside = {slot.name for slot in WeightSpace.of(model)}
    outside = {name for name, _ in model.named_parameters()} - inside
    matrices = {name for name in outside if model.get_parameter(name).ndim == 2}
    assert all(any(word in name for word in ("embed", "wte", "wpe", "lm_head", "project")) for name in matrices)
    assert all(".bias" in name or "norm" in name or ".ln_" in name for name in outside - matrices)


def test_projections_of_opt_350m_are_outside() -> None:
    model = ARCHITECTURES["opt-350m"]()
    assert model.get_parameter("model.decoder.project_in.weight").shape == (16, 8)
    assert not [s.name for s in WeightSpace.of(model) if "project" in s.name]


def test_a_shared_matrix_counts_once() -> None:
    model = ARCHITECTURES["llama"]()
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    space = WeightSpace.of(model)
    assert space.dimension == 3840 - 24 * 16
    assert [s.name for s in space if "up_proj" in s.name] == ["model.layers.0.mlp.up_proj.weight"]


def test_a_model_without_one_stack_is_refused() -> None:
    model = ARCHITECTURES["llama"]()
    stackless = nn.Module()
    stackless.config = model.config
    with pytest.raises(CheckpointError, match="found 0"):
        WeightSpace.of(stackless)
    model.model.second = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    with pytest.raises(CheckpointError, match="found 2"):
        WeightSpace.of(model)


def test_a_stack_without_matrices_is_refused() -> None:
    model = ARCHITECTURES["llama"]()
    model.model.layers = nn.ModuleList([nn.LayerNorm(4), nn.LayerNorm(4)])
    with pytest.raises(CheckpointError, match="found none"):
        WeightSpace.of(model)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_equal_those_of_flat_vectors(architecture: str, dtype: torch.dtype) -> None:
    make = ARCHITECTURES[architecture]
    space = WeightSpace.of(make())
    a, b = Center.of(make(0).to(dtype), space), Center.of(make(1).to(dtype), space)
    u, v = flat(space, a), flat(space, b)
    assert norm(space, a) == pytest.approx(np.linalg.norm(u), rel=1e-12)
    assert dot(space, a, b) == pytest.approx(u @ v, rel=1e-10, abs=1e-12 * np.linalg.norm(u) * np.linalg.norm(v))
    assert distance(space, a, b) == pytest.approx(np.linalg.norm(v - u), rel=1e-6)
    slot = space.slots[0]
    assert torch.equal(Difference(a, b).tensor(slot), b.tensor(slot).float() - a.tensor(slot).float())


def test_norm_does_not_overflow_in_half_precision() -> None:
    model = ARCHITECTURES["opt"]().half()
    space = WeightSpace.of(model)
    with torch.no_grad():
        for _, parameter in space.weights(model):
            parameter.fill_(1000.0)
    assert norm(space, Center.of(model, space)) == 1000.0 * math.sqrt(4096)


@pytest.mark.parametrize("dtype", DTYPES)
def test_write_rounds_to_the_models_dtype(dtype: torch.dtype) -> None:
    model = ARCHITECTURES["opt"]().to(dtype)
    space = WeightSpace.of(model)
    vector = Center({s.name: torch.full(s.shape, 1 / 3) for s in space})
    space.write(model, vector)
    for _, parameter in space.weights(model):
        assert parameter.dtype == dtype
        assert bool((parameter == torch.tensor(1 / 3).to(dtype)).all())


def snapshot(model: nn.Module) -> tuple[dict, ...]:
    """Bytes of every tensor, gradient flags, gradients, modes."""
    tensors = {n: t.detach().view(torch.uint8).numpy().tobytes() for n, t in model.state_dict().items()}
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    grads = {n: p.grad is None for n, p in model.named_parameters()}
    return tensors, flags, grads, {n: m.training for n, m in model.named_modules()}


def _return() -> None:
    return


def _raise() -> None:
    raise ValueError("inside")


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("own_copy", [True, False])
@pytest.mark.parametrize(("end", "error"), [(_return, None), (_raise, ValueError), (_interrupt, KeyboardInterrupt)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_preserved_restores_to_the_bit(
    dtype: torch.dtype, end: Callable[[], None], error: type[BaseException] | None, own_copy: bool
) -> None:
    model = ARCHITECTURES["gpt2"]().to(dtype)
    space = WeightSpace.of(model)
    model.train()
    model.transformer.h[1].eval()
    model.transformer.wte.weight.requires_grad_(False)
    before, center = snapshot(model), Center.of(model, space)

    def lend() -> None:
        with preserved(model, space, center if own_copy else None) as lent:
            assert lent is center or not own_copy
            assert not any(module.training for module in model.modules())
            model.requires_grad_(True)
            model(input_ids=torch.arange(6)[None], use_cache=False).logits.float().sum().backward()
            model.transformer.wte.weight.requires_grad_(True)
            for _, parameter in space.weights(model):
                parameter.requires_grad_(False)
                parameter.fill_(math.nan)
            end()

    if error is None:
        lend()
    else:
        with pytest.raises(error):
            lend()
    assert snapshot(model) == before


def test_center_is_a_copy_in_the_models_dtype() -> None:
    model = ARCHITECTURES["opt"]().bfloat16()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    slot, parameter = next(space.weights(model))
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.zero_()
    assert center.tensor(slot).dtype == torch.bfloat16
    assert torch.equal(center.tensor(slot), before)
