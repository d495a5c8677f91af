"""Fused experts: what each is calibrated on, however the model multiplies them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from quant.center import Center
from quant.methods.block_stream import walk
from quant.methods.gptq import gptq
from quant.methods.hessians import SharedHessian
from quant.methods.options import GPTQOptions
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests.families import FAMILIES, windows

TOKENS = windows(3, length=40)
MIXTURES = ("qwen3_moe", "mixtral", "olmoe")


def fallback(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> None:
    """What transformers does where torch has no grouped product."""
    monkeypatch.setattr("transformers.integrations.moe._can_use_grouped_mm", lambda *_: False)


def eager(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> None:
    model.set_experts_implementation("eager")


def grouped(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> None:
    assert model.config._experts_implementation == "grouped_mm"  # transformers' default


def routed(model: nn.Module) -> dict[str, Tensor]:
    """The inputs of every expert's matrices, (tokens, in) in float64, by hand from what their layer is given."""
    given: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def record(name: str) -> Callable:
        return lambda module, args: given.setdefault(name, []).append((args[0].detach(), args[1]))

    layers = {name: m for name, m in model.named_modules() if hasattr(m, "gate_up_proj") and hasattr(m, "down_proj")}
    layers = {name: m for name, m in layers.items() if m.gate_up_proj.ndim == 3}
    handles = [module.register_forward_pre_hook(record(name)) for name, module in layers.items()]
    with torch.no_grad():
        for window in TOKENS:
            model(window[None])
    for handle in handles:
        handle.remove()
    inputs = {}
    for name, module in layers.items():
        for expert in range(len(module.gate_up_proj)):
            x = torch.cat([states[(chosen == expert).any(1)] for states, chosen in given[name]]).double()
            gate, up = (x @ module.gate_up_proj[expert].double().T).chunk(2, -1)
            inputs[f"{name}.{expert}.gate_up_proj"] = x
            inputs[f"{name}.{expert}.down_proj"] = (module.act_fn(gate) * up).detach()
    return inputs


def by_slot(hessians: list[SharedHessian]) -> dict[str, SharedHessian]:
    return {slot.name: shared for shared in hessians for slot in shared.slots}


@pytest.mark.parametrize("implementation", [grouped, fallback, eager])
@pytest.mark.parametrize("family", MIXTURES)
def test_hessians_are_those_of_the_tokens_routed_to_an_expert(
    family: str, implementation: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FAMILIES[family].build()
    implementation(monkeypatch, model)
    expected = routed(model)
    found = by_slot(list(walk(model, WeightSpace.of(model), TOKENS)))
    assert expected
    assert min(len(x) for x in expected.values()) > 0
    for name, x in expected.items():
        assert found[name].tokens == len(x)
        torch.testing.assert_close(found[name].hessian.double(), 2 / len(x) * x.T @ x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("implementation", [grouped, fallback, eager])
def test_experts_that_no_token_reaches_keep_rtn_and_are_counted(
    implementation: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FAMILIES["mixtral"].build()
    implementation(monkeypatch, model)
    space = WeightSpace.of(model)
    start = rtn(space, Center.of(model, space), QuantScheme(3))
    same = torch.full((1, 8), 5)  # a token that sees itself only: all take the same two experts of four
    point = gptq(model, space, start, same, GPTQOptions((0.01,)))
    seen = {slot.name: point.provenance["layers"][slot.name]["tokens"] for slot in space}
    for slot in space:
        assert seen[slot.name] in ((0, 8) if slot.expert else (8,))
        kept = torch.equal(point.grid_tensor(slot).codes, start.grid_tensor(slot).codes)
        assert kept or seen[slot.name]
    assert [seen[slot.name] for slot in space if slot.expert].count(0) == 8
    assert point.provenance["experts"] == {"matrices": 16, "fewer tokens than inputs": 8, "no tokens": 8}
