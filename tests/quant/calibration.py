"""What the tests of the calibrated methods share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from quant.center import Center
from quant.grid import GridTensor
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny
from tests.quant.methods.test_block_stream import hooks

ALL = pytest.mark.parametrize("make", tiny.ARCHITECTURES.values(), ids=tiny.ARCHITECTURES.keys())


def prepared(
    make: Callable[[], nn.Module], bits: int = 3, **scheme: object
) -> tuple[nn.Module, WeightSpace, WeightPoint]:
    model = make()
    space = WeightSpace.of(model)
    return model, space, rtn(space, Center.of(model, space), QuantScheme(bits, **scheme))


def codes_of(point: WeightPoint) -> dict[str, Tensor]:
    return {name: part.codes for name, part in point.parts.items() if isinstance(part, GridTensor)}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def state(model: nn.Module) -> tuple:
    """Bytes of parameters and buffers, modes, gradient flags, hooks, and the global RNG."""
    digest = hashlib.sha256()
    for tensor in [*model.parameters(), *model.buffers(), torch.get_rng_state()]:
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    modes = [m.training for m in model.modules()]
    return digest.hexdigest(), modes, [p.requires_grad for p in model.parameters()], hooks(model)
