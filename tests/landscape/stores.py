"""Stores of a small model, points to keep in them, and processes that use them."""

from __future__ import annotations

import math
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from landscape.probing.plan import Probe, ProbeResult
from landscape.probing.store import Store
from quant.grid import GridTensor, make_grid
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace

MODEL = "ab" * 32
SPACE = WeightSpace(
    (
        Slot("0.q.weight", (3, 4), False, 0, 0),
        Slot("0.fc.weight", (5, 3), True, 0, 12),
        Slot("1.q.weight", (2, 4), False, 1, 27),
    )
)


def quiet(line: str) -> None:
    raise AssertionError(f"unexpected warning: {line}")


def store(path: Path, warn: Callable[[str], None] = quiet) -> Store:
    return Store(path, MODEL, "float32", warn=warn)


def result(position: str, total: float = 1.5, window: str = "w0") -> ProbeResult:
    return ProbeResult(Probe(position, window), total, 7)


def shard_files(path: Path) -> list[Path]:
    return sorted((path / f"{MODEL[:16]}-float32" / "probes").glob("*.h5"))


def grid_point(granularity: str, symmetric: bool = True) -> WeightPoint:
    generator = torch.Generator().manual_seed(0)
    scheme = QuantScheme(4, "absmax", granularity, symmetric)
    parts = {}
    for slot in SPACE:
        shape = scheme.scale_shape(slot)
        codes = torch.randint(-7, 8, slot.shape, generator=generator, dtype=torch.int8)
        zero = None if symmetric else torch.randint(-8, 8, shape, generator=generator).float()
        parts[slot.name] = GridTensor(codes, make_grid(slot, scheme, torch.rand(shape, generator=generator), zero))
    return WeightPoint("gptq", scheme, parts, {"damping": 0.1, "data": "é"})


def fp8_point() -> WeightPoint:
    generator = torch.Generator().manual_seed(0)
    scheme = QuantScheme.of_format("fp8")
    parts = {}
    for slot in SPACE:
        codes = torch.randint(-126, 127, slot.shape, generator=generator, dtype=torch.int8)
        scale = torch.rand(scheme.scale_shape(slot), generator=generator)
        parts[slot.name] = GridTensor(codes, make_grid(slot, scheme, scale))
    return WeightPoint("gptq", scheme, parts, {"damping": 0.1})


def off_grid_point() -> WeightPoint:
    return WeightPoint("awq", QuantScheme(4, "absmax", "channel"), float_point().parts)


def float_point() -> WeightPoint:
    parts = {slot.name: torch.randn(slot.shape, generator=torch.Generator().manual_seed(1)) for slot in SPACE}
    parts["0.q.weight"][0, :3] = torch.tensor([math.nan, math.inf, -0.0])
    return WeightPoint("w_ft", None, parts, {"epochs": 1})


def forked(work: Callable[[], object]) -> int:
    """A child process at work; forked, because importing torch in a new one takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python ≥ 3.12 on torch's threads: the child uses none
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def exit_codes(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
