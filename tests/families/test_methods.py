"""Fine-tuning and directions reach every matrix, those of experts included."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from landscape.positions.atlas import Atlas
from landscape.positions.directions import Filter, Sphere
from landscape.positions.position import OnRay
from quant.center import Center
from quant.methods.gptq import gptq
from quant.methods.options import GPTQOptions, TrainingOptions
from quant.methods.qaft import qaft
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.space import Slot, norm
from tests.families import FAMILIES, Family, by_hand, windows
from tests.families.checks import RTN4, Subject
from tests.families.inputs import recorded_inputs

SOME = ("llama", "mixtral", "gpt_oss", "llama4_text", "dbrx", "jetmoe", "mamba", "recurrent_gemma", "zamba2")


@pytest.fixture(params=SOME, scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject(FAMILIES[request.param])


def tuned(subject: Subject, rate: float) -> tuple[WeightPoint, WeightPoint, Tensor]:
    """RTN, QAFT after one step from it on a window of three tokens, and that window."""
    center, text = Center.of(subject.model, subject.space), windows(1, length=3, seed=8)
    start = rtn(subject.space, center, RTN4)
    options = TrainingOptions(rates=(rate,), epochs=1)
    return start, qaft(subject.model, subject.space, start, text, text, options, center=center), text


def changed(subject: Subject, start: WeightPoint, end: WeightPoint) -> set[Slot]:
    return {
        slot for slot in subject.space if not torch.equal(start.grid_tensor(slot).codes, end.grid_tensor(slot).codes)
    }


def test_qaft_at_rate_zero_is_rtn(subject: Subject) -> None:
    start, end, _ = tuned(subject, 0.0)
    assert not changed(subject, start, end)
    assert end.fingerprint(subject.space) == start.fingerprint(subject.space)


def test_a_step_of_qaft_changes_the_codes_of_what_read_a_token_and_nothing_else(subject: Subject) -> None:
    start, end, text = tuned(subject, 3e-3)
    model = subject.copy()
    subject.space.write(model, start)
    inputs = recorded_inputs(model, text)
    reading = {slot for slot in subject.space if len(inputs[slot.parameter, slot.index])}
    moved = changed(subject, start, end)
    assert moved <= reading
    assert len(moved) > 0.6 * len(reading)
    experts = {slot for slot in subject.space if slot.expert}
    assert bool(moved & experts) == bool(experts)
    if subject.family.kind == "mixture":
        assert experts - reading, "every expert was called"


@pytest.mark.parametrize(
    "options",
    [GPTQOptions(inputs="fp"), GPTQOptions(), GPTQOptions(true_sequential=True)],
    ids=["fp", "quantized", "true sequential"],
)
def test_gptq_calibrates_on_the_tokens_that_come_and_else_keeps_rtn(subject: Subject, options: GPTQOptions) -> None:
    center, text = Center.of(subject.model, subject.space), windows(1, length=3, seed=8)
    start = rtn(subject.space, center, RTN4)
    point = gptq(subject.model, subject.space, start, text, options, center=center)
    records = point.provenance["layers"]
    if options.inputs == "fp":
        inputs = recorded_inputs(subject.model, text)
        expected = {slot.name: len(inputs[slot.parameter, slot.index]) for slot in subject.space}
        assert {name: record["tokens"] for name, record in records.items()} == expected
    idle = {slot for slot in subject.space if records[slot.name]["tokens"] == 0}
    assert bool(idle) == (subject.family.kind == "mixture" and subject.family.name != "dbrx")  # whose tokens spread
    assert all(slot.expert for slot in idle)
    assert idle <= set(subject.space) - changed(subject, start, point)
    assert point.provenance["experts"]["no tokens"] == len(idle)


@pytest.mark.parametrize("kind", [Sphere, Filter])
def test_a_ray_leads_into_every_matrix(subject: Subject, kind: type) -> None:
    model, center = subject.copy(), Center.of(subject.model, subject.space)
    family = kind(subject.space) if kind is Sphere else kind(subject.space, center)
    direction = family.draw(0)
    assert norm(subject.space, direction) == pytest.approx(1, abs=1e-6)
    atlas = Atlas(center, {}, {family.name: family})
    subject.space.write(model, atlas.vector(OnRay(family.name, 0, 2.0)))
    slots = {(slot.parameter, slot.index): slot for slot in subject.space}
    squares = []
    for (name, index, after), before in zip(
        by_hand.matrices(subject.family, model), plain(subject.family, subject.model), strict=True
    ):
        step = after.double() - before.double()
        torch.testing.assert_close(step, 2.0 * direction.tensor(slots[name, index]).double(), rtol=1e-3, atol=1e-6)
        assert step.norm() > 0
        squares.append(float(step.square().sum()))
    assert math.sqrt(math.fsum(squares)) == pytest.approx(2.0, abs=1e-4)


def plain(family: Family, model: nn.Module) -> list[Tensor]:
    return [matrix for _, _, matrix in by_hand.matrices(family, model)]
