"""Evaluate tasks in a process of its own, which holds a model: the actor of ``landscape.probing.engines.ray``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from landscape.positions.atlas import Atlas
from landscape.positions.directions import Family
from landscape.positions.drawing import HeldDirection
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.engines.shipping import PackedModel, PackedPlan, unpack_family, unpack_vector
from landscape.probing.plan import ProbeResult
from landscape.probing.references import References
from quant.architecture import vocabulary_size
from quant.center import Center
from quant.nll import EVALUATION, window_nll
from quant.numerics import matmul_precision
from quant.space import Vector, WeightSpace
from quant.versions import library_versions

_REPORT_SECONDS = 0.5
"""Time between two reports of results: each report costs the driver a millisecond."""

_TRIED, _STRIDE = 32, 7919  # tokens of the trial, and the step between their ids


@dataclass(frozen=True)
class Arithmetic:
    """Settings of torch that the last bits of a loss depend on."""

    threads: int
    """Number of threads of torch."""
    precision: str
    """Precision of float32 products: ``highest``, or with TF32 ``high``."""

    @classmethod
    def present(cls) -> Arithmetic:
        """Return that of this process."""
        return cls(torch.get_num_threads(), torch.get_float32_matmul_precision())

    def adopted(self) -> AbstractContextManager[None]:
        """Set the number of threads of this process, and return a context with this precision."""
        torch.set_num_threads(self.threads)
        return matmul_precision(self.precision)


def circumstances(model: nn.Module) -> dict[str, object]:
    """Describe what must be the same in two processes for their losses to be the same to the bit.

    Args:
        model: The model, at w: the kernels that a processor takes show in the loss of a few tokens alone.
    """
    device = str(next(model.parameters()).device)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else torch.backends.cpu.get_cpu_capability()
    return {
        **library_versions(),
        "evaluation": EVALUATION,
        "kind of device": f"{torch.device(device).type} {name}",
        "threads": torch.get_num_threads(),
        "precision of products": torch.get_float32_matmul_precision(),
        "loss of a trial": _trial(model).hex(),
    }


def _trial(model: nn.Module) -> float:
    """Return the NLL sum at w of tokens that any vocabulary has."""
    return window_nll(model, _STRIDE * torch.arange(_TRIED) % vocabulary_size(model)).total


class RayWorker:
    """A model at w that evaluates tasks by the inline engine."""

    def __init__(
        self, model: PackedModel, space: WeightSpace, device: str, arithmetic: Arithmetic, fetch: Callable[[Any], Any]
    ) -> None:
        """Unpack the model.

        Args:
            model: The model, at w.
            space: Its weight space.
            device: ``cpu`` or ``cuda``.
            arithmetic: The settings of the driver.
            fetch: Function that gets an object of the cluster from its reference.
        """
        self.stack = ExitStack()  # never closed: the process ends with the actor
        self.stack.enter_context(arithmetic.adopted())
        self.device, self.space, self.fetch = device, space, fetch
        self.model = model.restored(device)
        self.center = Center.of(self.model, space)
        self.points: dict[str, Vector] = {}
        self.families: dict[str, Family] = {}
        self.held = HeldDirection()
        self.references = References()

    def circumstances(self) -> dict[str, object]:
        """Return what the driver compares with its own."""
        return circumstances(self.model)

    def evaluate(
        self, plan: PackedPlan, points: Mapping[str, Any], families: Mapping[str, Any], batch: int
    ) -> Iterator[list[ProbeResult]]:
        """Evaluate a task, and yield its results every half second.

        Args:
            plan: The task.
            points: References to the points of the task, by label; each is fetched once.
            families: References to its families of directions, by name.
            batch: Number of windows in a forward pass.
        """
        for label in points.keys() - self.points.keys():
            self.points[label] = unpack_vector(self.fetch(points[label]), self.center)
        for name in families.keys() - self.families.keys():
            self.families[name] = unpack_family(self.fetch(families[name]), self.center)
        atlas = Atlas(self.center, self.points, self.families, self.held)
        engine = InlineEngine(self.model, self.space, atlas, batch, self.references)
        ready: list[ProbeResult] = []
        reported = time.monotonic()
        for result in engine.evaluate(plan.restored()):
            ready.append(result)
            if time.monotonic() - reported > _REPORT_SECONDS:
                yield ready
                ready, reported = [], time.monotonic()
        yield ready
