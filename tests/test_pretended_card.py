"""Check that all that computes takes its device from the model: on a pretended card no tensor of the host gets in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from landscape.curvature.hessian import lent_hessian
from landscape.health.text_checks import beginning_gain, causal, surprise
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Along, Family, Filter, Layers, Profile, Shrink, Sphere
from landscape.positions.parts import part_statistics
from landscape.positions.position import At, OnParts, OnPlane, OnRay, OnSegment, Position
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, identified
from quant.center import Center
from quant.grid import GridTensor
from quant.identity import fingerprint
from quant.methods.awq import awq
from quant.methods.gptq import gptq
from quant.methods.options import GPTQOptions, SignRoundOptions, TrainingOptions
from quant.methods.qaft import finetune, qaft
from quant.methods.rtn import rtn
from quant.methods.signround import signround
from quant.nll import batch_nll
from quant.point import WeightPoint
from quant.reach import check_reach
from quant.scheme import QuantScheme
from quant.space import Difference, WeightSpace, distance, dot, norm
from quant.statistics import grid_statistics
from tests import tiny
from tests.pretended_card import OnCard, host, on_card, pretended_card

CPU = torch.device("cpu")
ONE_EPOCH = TrainingOptions(rates=(1e-3,), epochs=1)
pytestmark = pytest.mark.skipif(tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9), reason="needs newer hooks")


@pytest.fixture(autouse=True)
def torch_on_the_pretended_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what torch has for its own devices alone: fused steps, and inference without a graph's bookkeeping."""
    plain = batch_nll.__wrapped__  # type: ignore[attr-defined]
    monkeypatch.setattr("quant.nll.batch_nll", plain)
    monkeypatch.setattr("landscape.probing.references.batch_nll", plain)
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *args, fused, **options: adamw(*args, foreach=False, **options))


class Work:
    """A model, the vectors of its space, and a point that lies on the host, as stored points do."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.data = model, tiny.windows(3)
        self.windows, self.space = identified(self.data), WeightSpace.of(model)
        self.center = Center.of(model, self.space)
        made = rtn(self.space, self.center, QuantScheme(3))
        parts = {s.name: made.grid_tensor(s) for s in self.space}
        stored = {name: GridTensor(host(part.codes), part.grid.to(CPU)) for name, part in parts.items()}
        self.made, self.point = made, WeightPoint("rtn", made.scheme, stored)
        self.delta = Difference(self.center, self.point)

    def probes(self, *positions: Position, family: Family | None = None) -> list[float]:
        families = {} if family is None else {family.name: family}
        atlas = Atlas(self.center, {"q": self.point, "p": self.made}, families)
        engine = InlineEngine(self.model, self.space, atlas, batch=2)
        return [result.total for result in engine.evaluate(ProbePlan.of(positions, self.windows))]

    def along(self, family: Family) -> list[float]:
        return self.probes(OnRay(family.name, 0, 0.5), OnRay(family.name, 0, -1.0), family=family)

    def losses_at(self, point: WeightPoint) -> list[float]:
        """A point made with other last bits may differ in a code or two: its losses hardly do."""
        self.point = point
        return self.probes(At("q"))

    def curvature(self) -> list[float]:
        direction = Sphere(self.space).draw(0, self.center)
        with lent_hessian(self.model, self.space, self.windows) as hessian:
            image = hessian.product(direction).values
            return [*hessian.forms(direction).tolist(), float(image.double().norm())]


JOBS: dict[str, Callable[[Work], Any]] = {
    "places": lambda w: w.probes(
        At("w"), At("q"), OnSegment("w", "q", 0.3), OnSegment("q", "p", 0.3), OnPlane("q", "p", 0.2, 0.3),
        OnParts("q", ("shrink",), "*", "w"),
    ),
    "sphere": lambda w: w.along(Sphere(w.space)),
    "filter": lambda w: w.along(Filter(w.space, w.center)),
    "profile": lambda w: w.along(Profile(w.space, w.delta, "d")),
    "shrink": lambda w: w.along(Shrink(w.space, w.center, w.delta, "d")),
    "layer": lambda w: w.along(Layers(w.space, "block=1")),
    "along": lambda w: w.along(Along(w.space, w.delta, "d")),
    "norms": lambda w: [
        norm(w.space, w.center), distance(w.space, w.center, w.point), distance(w.space, w.point, w.made),
    ],
    "products": lambda w: [dot(w.space, w.center, w.point), dot(w.space, w.point, w.center)],
    "statistics": lambda w: [s.squared_error for s in grid_statistics(w.space, w.center, w.point).values()],
    "parts": lambda w: [s.shrink for s in part_statistics(w.space, w.center, w.point).values()],
    "channels": lambda w: w.losses_at(rtn(w.space, w.center, QuantScheme(3, "exact", "channel"))),
    "groups": lambda w: w.losses_at(rtn(w.space, w.center, QuantScheme(3, "absmax", "group:8", symmetric=False))),
    "gptq": lambda w: w.losses_at(gptq(w.model, w.space, w.point, w.data, GPTQOptions(), center=w.center)),
    "awq": lambda w: w.losses_at(awq(w.model, w.space, w.center, QuantScheme(3, "absmax", "channel"), w.data)),
    "signround": lambda w: w.losses_at(
        signround(w.model, w.space, w.point, w.data, SignRoundOptions(steps=4), center=w.center)
    ),
    "qaft": lambda w: w.losses_at(qaft(w.model, w.space, w.point, w.data, w.data, ONE_EPOCH)),
    "w_ft": lambda w: w.losses_at(finetune(w.model, w.space, w.data, w.data, ONE_EPOCH)),
    "identity": lambda w: fingerprint(w.model),
    "reach": lambda w: check_reach(w.model, w.space),
    "causal": lambda w: causal.__wrapped__(w.model, w.windows[0]).passed,
    "surprise": lambda w: surprise.__wrapped__(w.model, w.windows),
    "gain": lambda w: beginning_gain.__wrapped__(w.model, w.windows, 0),
    "curvature": lambda w: w.curvature(),
}  # fmt: skip


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_every_job_runs_on_the_card_with_the_numbers_of_the_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for place in ("host", "card"):
        with pretended_card(monkeypatch) if place == "card" else nullcontext(), torch.no_grad():
            model = tiny.ARCHITECTURES[name]()
            model = on_card(model) if place == "card" else model
            for job, run in JOBS.items():
                found[place, job] = run(Work(model))
    for job in JOBS:
        if isinstance(found["host", job], list | tuple | float):
            assert found["card", job] == pytest.approx(found["host", job], rel=1e-3), job
        else:
            assert found["card", job] == found["host", job], job


def test_the_pretended_card_takes_no_tensor_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_card(monkeypatch):
        there, here = OnCard(torch.ones(2, 2)), torch.ones(2, 2)
        assert there.device != here.device
        assert (there * 2 + here.to(there.device)).device == there.device
        assert torch.equal(there.cpu(), here)
        with pytest.raises(RuntimeError, match="expected all tensors on one device in aten::add"):
            there + here
