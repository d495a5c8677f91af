from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from quant.center import Center
from quant.methods.block_stream import walk
from quant.methods.gptq import gptq
from quant.methods.rtn import rtn
from quant.numerics import full_float32, matmul_precision
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


@pytest.mark.parametrize(("level", "tf32"), [("highest", False), ("high", True)])
def test_a_precision_holds_for_products_and_convolutions_and_is_given_back(level: str, tf32: bool) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    assert before == ("highest", True)  # torch's own defaults differ
    with matmul_precision(level):
        assert torch.get_float32_matmul_precision() == level
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
        with full_float32():  # a Hessian inside a run in TF32
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32 == tf32
    with pytest.raises(KeyboardInterrupt), matmul_precision(level):
        raise KeyboardInterrupt
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "rnn"), reason="this torch has no flag for each operation")
def test_the_newer_flags_change_nothing_inside_and_are_given_back() -> None:
    code = """
import torch
from quant.numerics import matmul_precision
operations = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]
def words(): return [operation.fp32_precision for operation in operations]
for rnn in ("tf32", "ieee"):
    torch.backends.fp32_precision = "tf32"
    torch.backends.cudnn.rnn.fp32_precision = rnn
    before = words()
    assert before == ["tf32", "tf32", rnn], before
    with matmul_precision("highest"):
        assert words() == ["ieee"] * 3, words()
    assert words() == before, words()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
