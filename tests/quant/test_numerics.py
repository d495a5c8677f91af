from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from quant.center import Center
from quant.methods.block_stream import walk
from quant.methods.gptq import gptq
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny


@pytest.fixture
def careless() -> Iterator[None]:
    """A process that has set fast matrix products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("fails", [False, True])
def test_hessians_and_gptq_are_made_in_full_float32(careless: None, fails: bool) -> None:
    model = tiny.opt()
    space = WeightSpace.of(model)
    start = rtn(space, Center.of(model, space), QuantScheme(3))
    seen: set[str] = set()

    def look(*_: object) -> None:
        seen.add(torch.get_float32_matmul_precision())
        if fails:
            raise KeyboardInterrupt

    handle = model.model.decoder.layers[1].fc1.register_forward_hook(look)
    for work in (lambda: list(walk(model, space, tiny.windows(2))), lambda: gptq(model, space, start, tiny.windows(2))):
        seen.clear()
        if fails:
            with pytest.raises(KeyboardInterrupt):
                work()
        else:
            work()
        assert seen == {"highest"}
        assert torch.get_float32_matmul_precision() == "medium"
    handle.remove()
