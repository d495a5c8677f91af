"""Check what a run is expected to take, and that no command starts what cannot fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from landscape.advice.advise import advise
from landscape.advice.request import AdviceRequest
from landscape.anatomy.dissect import dissect
from landscape.anatomy.request import AnatomyRequest
from landscape.curvature.anharmonicity import measure_curvature
from landscape.curvature.request import CurvatureRequest
from landscape.positions.position import CENTER
from landscape.probing.plan import identified, point_plan
from landscape.quantize import QuantizeRequest, quantize
from landscape.radius import RadiusRequest, measure_radius
from landscape.report.work import forecast_lines
from landscape.session.forecast import Forecast
from landscape.session.memory import (
    activation_bytes,
    evaluation_need,
    largest,
    logit_bytes,
    making_need,
    walk_need,
)
from landscape.session.point_specs import PointSpec
from landscape.session.presets import PRESETS
from landscape.session.progress import Silent
from landscape.session.session import Session
from landscape.survey.probe import probe
from landscape.survey.request import SurveyRequest
from quant import memory
from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import UsageError
from quant.fidelity import batch_states
from quant.memory import MemoryNeed
from quant.methods.block_stream import walk
from quant.nll import HEAD_ROWS
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny

TINY = replace(
    PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=1, seq_len=32, calibration_windows=2
)


class Noting(Silent):
    """Shrink the memory once the model is loaded and the text is read."""

    def __init__(self, shrink: Callable[[], None]) -> None:
        self._shrink = shrink

    def stage(self, name: str) -> None:
        if name == "reading the text":
            self._shrink()


def jobs(store: Path) -> dict[str, Callable[[Noting], object]]:
    anatomy = AnatomyRequest(bits=4, method="rtn", preset=TINY, store=store)
    point = QuantizeRequest(bits=4, method="gptq", preset=TINY, store=store)
    return {
        "probe": lambda p: probe(SurveyRequest(bits=(4,), methods=("rtn",), preset=TINY, store=store), p),
        "radius": lambda p: measure_radius(RadiusRequest(seq_len=32, store=store), p),
        "curvature": lambda p: measure_curvature(CurvatureRequest(seq_len=32, store=store), p),
        "anatomy": lambda p: dissect(anatomy, p),
        "advise": lambda p: advise(AdviceRequest(bits=(4,), preset=TINY, store=store), p),
        "gptq": lambda p: quantize(point, p),
    }


@pytest.mark.parametrize("name", jobs(Path()))
def test_every_command_refuses_what_cannot_fit(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left = [10**12]
    monkeypatch.setattr(memory, "available_host_memory", lambda: left[0])
    evaluated = partial(pytest.fail, "the model was evaluated in a run that cannot fit")
    for measured in ("batch_nll", "batch_states"):
        monkeypatch.setattr(f"landscape.probing.references.{measured}", lambda *_: evaluated())
    with pytest.raises(UsageError, match=r"expected this run to fit in the 1 MB of host memory that are left"):
        jobs(tmp_path)[name](Noting(lambda: left.__setitem__(0, 10**6)))


def test_rounding_alone_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = load_checkpoint()
    monkeypatch.setattr("landscape.session.opening.load_checkpoint", lambda *_, **__: checkpoint)
    monkeypatch.setattr(memory, "available_host_memory", lambda: 10**6)
    with pytest.raises(UsageError, match="the pristine copy of w"):
        quantize(QuantizeRequest(bits=4, method="rtn"))


def test_a_model_is_refused_before_its_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_host_memory", lambda: 10**6)
    monkeypatch.setattr("quant.checkpoints.pretrained._load", lambda *_: pytest.fail("the weights were read"))
    with pytest.raises(UsageError, match=r"expected the model in .* to fit in the 1 MB of host memory .*weights in"):
        load_checkpoint()


def test_what_is_in_the_cache_needs_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    request, left = RadiusRequest(seq_len=32, store=tmp_path), [10**12]
    monkeypatch.setattr(memory, "available_host_memory", lambda: left[0])
    with Session.open(request) as session:
        session.evaluate(point_plan([CENTER], session.windows[:1]))
    with Session.open(request) as session:
        left[0] = 10**6
        session.evaluate(point_plan([CENTER], session.windows[:1]))
        with pytest.raises(UsageError, match="expected this run to fit"):
            session.evaluate(point_plan([CENTER], session.windows[:2]))


# ---- the numbers ----------------------------------------------------------------------------------------------------


@dataclass
class Subject:
    """What the estimates read of a subject, on any device."""

    device: str
    seq_len: int = 2047
    vocabulary: int = tiny.VOCABULARY

    def __post_init__(self) -> None:
        self.model = tiny.llama()
        self.space = WeightSpace.of(self.model)
        self.checkpoint = SimpleNamespace(devices=(torch.device(self.device),), space=self.space, dtype="float32")


def test_on_a_cpu_all_is_host_memory_and_one_direction_is_held() -> None:
    subject = Subject("cpu")
    need = evaluation_need(subject)  # type: ignore[arg-type]
    assert need.device == {}
    assert need.host["one direction"] == 4 * subject.space.dimension
    assert evaluation_need(subject, batch=3).host["activations"] == 3 * need.host["activations"]  # type: ignore[arg-type]
    assert need.host["logits"] == 3 * 4 * HEAD_ROWS * tiny.VOCABULARY  # of 2048 ids, HEAD_ROWS at once


def test_on_a_card_the_host_holds_one_matrix_and_no_direction_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject("cuda:0")
    monkeypatch.setattr("landscape.session.memory.made_on", lambda device: device.type == "cuda")
    need = evaluation_need(subject)  # type: ignore[arg-type]
    assert need.host == {"one matrix of a point": 4 * 16 * 24}  # the greatest of the tiny Llama
    assert need.device["one direction"] == 0
    assert need.device["logits"] > 0
    monkeypatch.setattr("landscape.session.memory.made_on", lambda device: False)  # a card without Triton
    assert evaluation_need(subject).device["one direction"] == 4 * subject.space.dimension  # type: ignore[arg-type]


def test_compared_predictions_are_kept_and_counted() -> None:
    subject = Subject("cpu", seq_len=59)
    for length in (60, 30):  # of ids: five windows of 60 give more rows than the head takes at once, of 30 they do not
        subject.windows = {"validation": identified(tiny.windows(5, length))}  # type: ignore[attr-defined]
        kept = evaluation_need(subject, batch=5, compared=20).host["predictions at w of 20 windows"]  # type: ignore[arg-type]
        assert kept == 4 * batch_states(subject.model, tiny.windows(5, length)).nbytes
    assert not any("predictions" in name for name in evaluation_need(subject).host)  # type: ignore[arg-type]
    on_card = Subject("cuda:0")
    on_card.windows = subject.windows  # type: ignore[attr-defined]
    assert evaluation_need(on_card, compared=20).device["predictions at w of 20 windows"] > 0  # type: ignore[arg-type]


def test_training_holds_six_vectors_and_rounding_the_codes() -> None:
    subject = Subject("cpu")
    trained = making_need(subject, PointSpec("qaft", QuantScheme(4)), 3).host  # type: ignore[arg-type]
    rounded = making_need(subject, PointSpec("rtn", QuantScheme(4)), 3).host  # type: ignore[arg-type]
    calibrated = making_need(subject, PointSpec("gptq", QuantScheme(4)), 3).host  # type: ignore[arg-type]
    assert trained["training's masters, gradients and moments"] == 6 * 4 * subject.space.dimension
    assert rounded["codes of the point"] == subject.space.dimension
    assert calibrated["hidden states of the calibration windows"] == 2 * 3 * 2048 * 16 * 4


@pytest.mark.parametrize("make", tiny.ARCHITECTURES.values(), ids=tiny.ARCHITECTURES.keys())
def test_a_walk_holds_the_hessians_of_one_block_and_the_hidden_states(make: Callable[[], torch.nn.Module]) -> None:
    subject = Subject("cpu")
    subject.model = make()
    subject.space = WeightSpace.of(subject.model)
    held: dict[int, int] = {}
    for shared in walk(subject.model, subject.space, tiny.windows(2)):
        block = shared.slots[0].block
        held[block] = held.get(block, 0) + shared.hessian.nbytes
    need = walk_need(subject, 5)  # type: ignore[arg-type]
    assert max(held.values()) <= need.host["Hessians of one block"] <= 2 * max(held.values())
    width = subject.model.get_input_embeddings().weight.shape[1]  # type: ignore[operator, union-attr]
    assert need.host["hidden states of the windows"] == 2 * 5 * 2048 * width * 4


def test_activations_are_those_that_hooks_see() -> None:
    model = tiny.llama()
    space, seen = WeightSpace.of(model), [0]
    for _, module in model.model.layers.named_modules():  # type: ignore[union-attr]
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(
                lambda m, args, output: seen.__setitem__(0, seen[0] + args[0].nbytes + output.nbytes)
            )
    model(input_ids=tiny.windows(1, length=12))
    assert activation_bytes(model, space, 12, graph=True) == seen[0]
    assert activation_bytes(model, space, 12) == seen[0] // 2  # of two blocks alike


def test_short_windows_have_few_logits_and_the_largest_task_counts_in_each_place() -> None:
    assert logit_bytes(1000, 10) == 3 * 4 * 10 * 1000
    a, b = MemoryNeed({"x": 5}, {"y": 1}), MemoryNeed({"x": 2}, {"y": 3})
    assert largest([a, b]) == MemoryNeed({"x": 5}, {"y": 3})


def test_the_forecast_reports_layer_wise_errors_also_where_all_probes_are_known() -> None:
    forecast = Forecast(0, 644, (), work=70.0, seconds=7.0, searching=0.0, memory=10**9, disk=640, layer_errors=120)
    line, _ = forecast_lines(forecast)
    assert line == "to do: evaluate about 0 probes (644 are in the cache); measure 120 layer-wise errors"


def test_the_forecast_reports_a_card_where_there_is_one() -> None:
    forecast = Forecast(10, 0, (), work=10.0, seconds=75.0, searching=0.0, memory=2 * 10**9, disk=640)
    assert "2.0 GB of memory, 640 B of disk" in list(forecast_lines(forecast))[1]
    on_card = replace(forecast, device_memory=3 * 10**9)
    assert "2.0 GB of memory, 3.0 GB on the device, 640 B of disk" in list(forecast_lines(on_card))[1]
