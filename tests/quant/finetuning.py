"""What the tests of fine-tuning share: tiny models that depend on their matrices, and looks at the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from quant.center import Center
from quant.grid import GridTensor, fake_quantize
from quant.methods.options import TrainingOptions
from quant.methods.qaft import qaft
from quant.methods.rtn import rtn
from quant.nll import mean_nll, window_nll
from quant.point import WeightPoint
from quant.scheme import QuantScheme, StraightThrough
from quant.space import Slot, WeightSpace
from tests.tiny import ARCHITECTURES, windows

TRAIN, OTHER = windows(4), windows(3, seed=1)

INT2, INT4 = QuantScheme(2), QuantScheme(4)


@dataclass
class Setting:
    model: nn.Module
    space: WeightSpace
    start: WeightPoint


def make(name: str = "llama", scheme: QuantScheme = INT2, dtype: torch.dtype = torch.float32) -> Setting:
    """A tiny model whose matrices are ten times transformers' initial ones: else its output hardly depends on them."""
    model = ARCHITECTURES[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10 if parameter.ndim == 2 else 1)
    model = model.to(dtype)
    space = WeightSpace.of(model)
    return Setting(model, space, rtn(space, Center.of(model, space), scheme))


def run(at: Setting, options: TrainingOptions, validation: Tensor = TRAIN, **more: object) -> WeightPoint:
    return qaft(at.model, at.space, at.start, TRAIN, validation, options, **more)


def contents(point: WeightPoint, space: WeightSpace) -> list[bytes]:
    return [point.tensor(slot).contiguous().numpy().tobytes() for slot in space]


def state_of(model: nn.Module) -> dict[str, bytes]:
    return {n: t.detach().view(torch.uint8).numpy().tobytes() for n, t in model.state_dict().items()}


def nll_of(at: Setting, point: WeightPoint, tokens: Tensor) -> float:
    at.space.write(at.model, point)
    return mean_nll([window_nll(at.model, window) for window in tokens])


@dataclass(frozen=True)
class Recorded:
    """A parametrization that keeps the masters themselves, so that a test can look at them."""

    start: WeightPoint
    ste: StraightThrough = "identity"
    extra: dict[str, Tensor] = field(default_factory=dict)

    def weight(self, slot: Slot, master: Tensor) -> Tensor:
        part = self.start.parts[slot.name]
        assert isinstance(part, GridTensor)
        return fake_quantize(master, part.grid, self.ste)

    def kept(self, slot: Slot, master: Tensor) -> Tensor:
        return master.clone()
