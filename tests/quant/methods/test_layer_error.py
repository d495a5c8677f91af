from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from quant.center import Center
from quant.hashing import token_hash
from quant.methods.block_stream import walk
from quant.methods.layer_error import LayerHessians, layer_error, layer_errors
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny
from tests.quant.methods.test_block_stream import ALL, recorded_inputs


def test_layer_error_by_hand() -> None:
    """One token x = (1, 2), ΔW = diag(3, 1): ΔWx = (3, 2), squared norm 13."""
    x, delta = torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    assert layer_error(delta, 2 * torch.outer(x, x)) == pytest.approx(13)


@ALL
def test_layer_errors_equal_the_outputs_differences(make: Callable[[], nn.Module]) -> None:
    model, windows = make(), tiny.windows(5)
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    points = {bits: rtn(space, center, QuantScheme(bits)) for bits in (2, 4)}
    with recorded_inputs(model, space) as inputs, torch.no_grad():
        for window in windows:
            model(input_ids=window[None])
    named = {str(bits): point for bits, point in points.items()}
    found = layer_errors(center, named, walk(model, space, windows))
    collected = LayerHessians.collect(model, space, windows)
    assert layer_errors(center, named, collected.shared) == found
    assert collected.tokens == token_hash(windows)
    for bits, point in points.items():
        for slot in space:
            delta = (point.tensor(slot) - center.tensor(slot)).double()
            x = torch.cat(inputs[slot.name])  # (tokens, in)
            outputs = x @ (delta if slot.transposed else delta.T)
            assert found[str(bits)][slot.name] == pytest.approx(
                float(outputs.square().sum()) / windows.numel(), rel=1e-4
            )


def test_layer_errors_of_w_itself_are_zero() -> None:
    model = tiny.llama()
    space = WeightSpace.of(model)
    w = Center.of(model, space)
    assert set(layer_errors(w, {"w": w}, walk(model, space, tiny.windows(2)))["w"].values()) == {0.0}
