from __future__ import annotations

import copy
import hashlib
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from landscape.curvature.hessian import lent_hessian
from landscape.probing.plan import identified
from quant.center import Center
from quant.errors import CheckpointError, UsageError
from quant.space import WeightSpace
from tests import tiny
from tests.families import FAMILIES
from tests.landscape.hessians import CONFIGS, Case, Line, case, random_vector


@pytest.fixture(params=list(CONFIGS))
def small(request) -> Case:
    return case(request.param)


# --- products ---------------------------------------------------------------------------------------------------------


def test_products_are_those_of_the_explicit_hessian(small):
    v = random_vector(small.space.dimension)
    expected = small.matrix @ v.values
    assert expected.norm() > 0.1
    with lent_hessian(small.model, small.space, small.windows) as hessian:
        assert hessian.tokens.tolist() == [11, 6, 3]
        assert float((hessian.product(v).values - expected).norm() / expected.norm()) < small.precision
        forms = hessian.forms(v)
    assert forms.shape == (3,)
    assert forms.sum() / 20 == pytest.approx(float(v.values @ expected), rel=small.precision)


@pytest.mark.parametrize("name", [*tiny.ARCHITECTURES, "mixtral"])
def test_products_are_derivatives_of_gradients_through_the_fused_kernel(name):
    """Central differences of ordinary gradients: no second derivative, and no math kernel, in the reference."""
    model = (tiny.ARCHITECTURES | {"mixtral": FAMILIES["mixtral"].build})[name]().double()
    if name == "mixtral":
        model.set_experts_implementation("eager")  # as load_checkpoint does; the grouped product has no float64
    # Llama's float32 inside asks for a larger step; kinks, of ReLU or routing, for a step that crosses none of them.
    single = name in ("llama", "mixtral")
    space, windows, step = WeightSpace.of(model), identified(tiny.windows(2)), 1e-4 if single else 1e-6
    v, start = random_vector(space.dimension), Center.of(model, space)

    def gradient(lam: float) -> Tensor:
        space.write(model, Line(start, v, lam))
        tokens = torch.stack([window.tokens for window in windows])
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        grads = torch.autograd.grad(loss, space.parameters(model))
        return torch.cat([g.flatten() for g in grads])

    expected = (gradient(step) - gradient(-step)) / (2 * step)
    space.write(model, start)
    with lent_hessian(model, space, windows) as hessian:
        found = hessian.product(v).values
    assert float((found - expected).norm() / expected.norm()) < (1e-4 if single else 1e-7)


def test_products_in_float32():
    small = case("llama")
    v = random_vector(small.space.dimension)
    with lent_hessian(copy.deepcopy(small.model).float(), small.space, small.windows) as hessian:
        found = hessian.product(v).values
    assert found.dtype == torch.float32
    expected = small.matrix @ v.values
    assert float((found - expected).norm() / expected.norm()) < 1e-5


# --- the model is lent ------------------------------------------------------------------------------------------------


def fingerprint(model: nn.Module) -> str:
    bits = hashlib.sha256()
    for name, value in model.state_dict().items():
        bits.update(name.encode() + value.numpy().tobytes())
    for name, parameter in model.named_parameters():
        bits.update(f"{name}{parameter.requires_grad}{parameter.grad is None}".encode())
    for name, module in model.named_modules():
        bits.update(f"{name}{module.training}".encode())
    return bits.hexdigest()


class Stopped(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", list(tiny.ARCHITECTURES))
def test_the_model_is_as_it_was(name, fails):
    model = tiny.ARCHITECTURES[name]().train()
    space = WeightSpace.of(model)
    next(model.parameters()).requires_grad_(False)
    model.get_parameter(space.slots[0].name).requires_grad_(False)
    before, random = fingerprint(model), torch.get_rng_state()
    with (
        pytest.raises(Stopped) if fails else torch.no_grad(),
        lent_hessian(model, space, identified(tiny.windows(1))) as h,
    ):
        assert not any(module.training for module in model.modules())
        wanted = {n for n, p in model.named_parameters() if p.requires_grad}
        assert wanted == {slot.name for slot in space}
        h.product(random_vector(space.dimension, dtype=torch.float32))
        assert torch.backends.cuda.flash_sdp_enabled()  # the math kernel is for the products alone
        if fails:
            space.write(model, random_vector(space.dimension))
            raise Stopped
    assert fingerprint(model) == before
    assert torch.equal(random, torch.get_rng_state())


class TwoFaced(nn.Module):
    """A model whose loss depends on the attention kernel."""

    def __init__(self, model: nn.Module, difference: float) -> None:
        super().__init__()
        self.inner, self.config, self.difference = model, model.config, difference

    def forward(self, input_ids: Tensor, use_cache: bool) -> SimpleNamespace:
        logits = self.inner(input_ids=input_ids, use_cache=use_cache).logits
        gold = nn.functional.one_hot(input_ids.roll(-1, 1), logits.shape[-1])
        # A lower logit of the right token alone; the loss itself is about ln 61 = 4.1.
        return SimpleNamespace(
            logits=logits - gold * (0 if torch.backends.cuda.flash_sdp_enabled() else self.difference)
        )


@pytest.mark.parametrize(("difference", "accepted"), [(1e-5, True), (1e-4, False), (math.nan, False)])
def test_a_loss_that_depends_on_the_kernel_is_an_error(difference, accepted):
    model = TwoFaced(tiny.opt(), difference)
    space, windows = WeightSpace.of(model), identified(tiny.windows(2))
    if accepted:
        with lent_hessian(model, space, windows):
            return
    before = fingerprint(model)
    with pytest.raises(CheckpointError, match="attn_implementation"), lent_hessian(model, space, windows):
        pytest.fail("the block was entered")
    assert fingerprint(model) == before


def test_requests_that_cannot_be_met():
    model = tiny.opt()
    space, windows = WeightSpace.of(model), identified(tiny.windows(1))
    for bad in ([], identified(tiny.windows(1, length=1))):
        with pytest.raises(UsageError, match="window"), lent_hessian(model, space, bad):
            pass
    with pytest.raises(UsageError, match="float32"), lent_hessian(model.bfloat16(), space, windows):
        pass
