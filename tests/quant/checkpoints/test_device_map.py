"""Check models that accelerate spreads over devices: the same numbers, every weight where it lies, none offloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload, dispatch_model
from torch import nn

from landscape.positions.atlas import Atlas
from landscape.positions.directions import Sphere
from landscape.positions.position import At, OnRay, OnSegment
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, identified
from quant.architecture import input_device
from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.device import check_device_map, check_placement, devices_of
from quant.errors import UsageError
from quant.methods.gptq import gptq
from quant.methods.options import TrainingOptions
from quant.methods.qaft import qaft
from quant.methods.rtn import rtn
from quant.nll import window_nll
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny

Save = Callable[..., Path]
CPU = torch.device("cpu")


def spread(model: nn.Module) -> nn.Module:
    """Put accelerate's hooks on every module, as over several cards, though all are this CPU."""
    names = [name for name, module in model.named_modules() if name and not list(module.children())]
    dispatched: nn.Module = dispatch_model(model, dict.fromkeys(names, "cpu"), main_device="cpu", force_hooks=True)
    assert all(hasattr(model.get_submodule(name), "_hf_hook") for name in names)
    return dispatched


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_probes_of_a_spread_model_are_those_of_the_plain_one_to_the_bit(name: str) -> None:
    def losses(model: nn.Module) -> list[float]:
        space = WeightSpace.of(model)
        center, sphere = Center.of(model, space), Sphere(space)
        atlas = Atlas(center, {"q": rtn(space, center, QuantScheme(3))}, {sphere.name: sphere})
        positions = [At("w"), OnRay(sphere.name, 0, 0.7), At("q"), OnSegment("w", "q", 0.5)]
        plan = ProbePlan.of(positions, identified(tiny.windows(2)))
        return [result.total for result in InlineEngine(model, space, atlas).evaluate(plan)]

    make = tiny.ARCHITECTURES[name]
    found = losses(spread(make()))
    assert found == losses(make())
    assert len(set(found)) == len(found)


def test_points_of_a_spread_model_are_those_of_the_plain_one_to_the_bit() -> None:
    def points(model: nn.Module) -> list[str]:
        space, data = WeightSpace.of(model), tiny.windows(3)
        center = Center.of(model, space)
        start = rtn(space, center, QuantScheme(3))
        options = TrainingOptions(rates=(1e-3,), epochs=1)
        made = [gptq(model, space, start, data, center=center), qaft(model, space, start, data, data, options)]
        return [point.fingerprint(space) for point in made]

    assert points(spread(tiny.llama())) == points(tiny.llama())


def test_a_folder_is_loaded_through_a_map(saved: Save) -> None:
    folder = str(saved(tiny.llama()))
    plain = load_checkpoint(folder)
    for device_map in ("auto", {"": "cpu"}, {"model": "cpu", "lm_head": "cpu"}):
        if device_map == "auto" and torch.cuda.is_available():
            continue
        mapped = load_checkpoint(folder, device_map=device_map)
        assert (mapped.device, mapped.devices, mapped.identity) == ("cpu", (CPU,), plain.identity)
        window = tiny.windows(1)[0]
        assert window_nll(mapped.model, window) == window_nll(plain.model, window)


def test_offloaded_weights_are_refused() -> None:
    check_placement(tiny.llama())
    away = cpu_offload(tiny.llama(), execution_device=CPU)
    with pytest.raises(UsageError, match=r"expected a model that fits .*, \d+ of its parts are offloaded \(model\."):
        check_placement(away)
    on_disk = tiny.llama()
    on_disk.hf_device_map = {"model": 0, "lm_head": "disk"}  # type: ignore[assignment]
    with pytest.raises(UsageError, match=r"1 of its parts are offloaded \(lm_head"):
        check_placement(on_disk)


def test_a_checkpoint_that_would_be_offloaded_is_refused(saved: Save, tmp_path: Path) -> None:
    folder = str(saved(tiny.llama()))
    with pytest.raises(UsageError, match="are offloaded"):
        load_checkpoint(folder, device_map={"model": "disk", "lm_head": "cpu"})


def test_one_of_device_and_map_is_given() -> None:
    check_device_map(None, "cuda:0")
    check_device_map("auto", "auto")
    with pytest.raises(UsageError, match="expected one of --device and --device-map, got 'cuda:0' and a map"):
        check_device_map("auto", "cuda:0")
    with pytest.raises(UsageError, match="expected auto as --device-map, got 'balanced'"):
        check_device_map("balanced", "auto")


def test_inputs_go_to_the_embeddings_and_all_devices_are_named() -> None:
    model = tiny.opt()
    assert input_device(model) == CPU
    model.get_input_embeddings().to("meta")  # type: ignore[operator]
    assert input_device(model) == torch.device("meta")
    assert devices_of(model) == (torch.device("meta"), CPU)
    assert input_device(nn.Linear(2, 2)) == CPU
