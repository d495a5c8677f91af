"""Check the numbers of single matrices in a survey against hooks on the model, and that nothing is measured twice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from landscape import PRESETS, SurveyRequest, SurveyResult, probe
from landscape.session.forecast import Forecast
from landscape.session.progress import Silent
from landscape.session.session import Session
from quant.errors import PointError
from quant.methods.options import PAPER_GPTQ
from quant.point import WeightPoint
from quant.space import Slot
from tests.quant.methods.test_block_stream import recorded_inputs

PRESET = replace(
    PRESETS["quick"], train_windows=2, validation_windows=2, test_windows=3, seq_len=32, lambdas=4, alphas=3,
    refinements=0, calibration_windows=4, qaft_examples=4,
)  # fmt: skip
METHODS = ("rtn", "gptq", "qaft")


def request(store: Path, **changes: Any) -> SurveyRequest:
    settings = {"bits": (3,), "methods": METHODS, "directions": 1, "layers": True, "preset": PRESET, **changes}
    return SurveyRequest("opt-nano", store=store, **settings)


@dataclass
class ByHand:
    """The model of a survey with its points and windows, opened by themselves."""

    slots: tuple[Slot, ...]
    weights: dict[str, Tensor]
    points: dict[str, WeightPoint]
    inputs: dict[str, dict[str, Tensor]]
    """Inputs of every matrix, (tokens, in) in float64, by split."""
    counts: dict[str, int]

    @classmethod
    def of(cls, asked: SurveyRequest) -> ByHand:
        with Session.open(asked) as session:
            subject = session.subject
            model, space = subject.model, subject.space
            rows = {
                "train": subject.corpus.windows("train", 4, asked.seed),
                "test": torch.stack([window.tokens for window in subject.windows["test"]]),
            }
            inputs = {}
            for split, windows in rows.items():
                with recorded_inputs(model, space) as seen, torch.no_grad():
                    for window in windows:
                        model(input_ids=window[None])
                inputs[split] = {name: torch.cat(each) for name, each in seen.items()}
            return cls(
                slots=space.slots,
                weights={slot.name: weight.double().clone() for slot, weight in space.weights(model)},
                points={spec.name: session.point(spec) for spec in asked.specs},
                inputs=inputs,
                counts={split: windows.numel() for split, windows in rows.items()},
            )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def surveyed(store: Path) -> SurveyResult:
    return probe(request(store))


@pytest.fixture(scope="module")
def by_hand(surveyed: SurveyResult, store: Path) -> ByHand:
    return ByHand.of(request(store))


def test_layer_wise_errors_are_those_of_the_outputs(surveyed: SurveyResult, by_hand: ByHand) -> None:
    assert [point.name for point in surveyed.points] == list(by_hand.points)
    for point in surveyed.points:
        assert [layer.name for layer in point.layers] == [slot.name for slot in by_hand.slots]
        for slot, layer in zip(by_hand.slots, point.layers, strict=True):
            delta = by_hand.points[point.name].tensor(slot).double() - by_hand.weights[slot.name]
            for split, inputs in by_hand.inputs.items():
                outputs = inputs[slot.name] @ delta.T
                expected = float(outputs.square().sum()) / by_hand.counts[split]
                assert layer.error[split] == pytest.approx(expected, rel=1e-4), (point.name, slot.name, split)
            assert set(layer.error) == {"train", "test"}


def test_distances_zeros_and_clipping_are_counted(surveyed: SurveyResult, by_hand: ByHand) -> None:
    for point in surveyed.points:
        made = by_hand.points[point.name]
        for slot, layer in zip(by_hand.slots, point.layers, strict=True):
            weight, moved = by_hand.weights[slot.name], made.tensor(slot).double()
            assert (layer.block, layer.weights) == (int(slot.name.split(".")[3]), weight.numel())
            assert f".{layer.block}.{layer.kind}.weight" in layer.name
            assert layer.norm == pytest.approx(float(weight.norm()))
            assert layer.distance == pytest.approx(float((moved - weight).norm()), rel=1e-5)
            if made.scheme is None:
                assert (layer.zeros, layer.clipped) == (None, None)
                continue
            scale = float(made.parts[slot.name].scale)
            assert layer.zeros == float((moved == 0).double().mean())
            beyond = float((weight.abs() > 3.5 * scale).double().mean())  # int3 ends at 3
            assert layer.clipped == pytest.approx(beyond, abs=2 / weight.numel())
        total = math.hypot(*(layer.distance for layer in point.layers))
        assert total == pytest.approx(point.distance, rel=1e-6)
    assert max(layer.clipped for layer in surveyed.points[0].layers) > 0


def test_dampings_are_those_of_gptq(surveyed: SurveyResult) -> None:
    rtn, gptq, qaft, control = surveyed.points
    assert all(layer.damping in PAPER_GPTQ.dampings for layer in gptq.layers)
    assert len({layer.damping for layer in gptq.layers}) > 1
    assert {layer.damping for point in (rtn, qaft, control) for layer in point.layers} == {None}


def test_the_training_and_its_test_loss_are_in_the_result(surveyed: SurveyResult) -> None:
    rtn, _, qaft, control = surveyed.points
    assert rtn.training is None
    for point in (qaft, control):
        assert point.training is not None
        assert [row.epoch for row in point.training.epochs] == [0, 1]
        assert point.training.chosen.test_nll == pytest.approx(point.nll["test"], rel=1e-6)


class Noting(Silent):
    def forecast(self, forecast: Forecast) -> None:
        self.seen = forecast


def refuse(*_: object) -> Any:
    raise AssertionError("the model was walked through")


def test_a_second_survey_walks_through_nothing(
    surveyed: SurveyResult, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landscape.survey.layer_walks.walk", refuse)
    progress = Noting()
    again = probe(request(store), progress)
    assert (progress.seen.work, progress.seen.seconds) == (0, 0)
    assert [point.layers for point in again.points] == [point.layers for point in surveyed.points]


def test_a_survey_that_does_not_ask_measures_none(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landscape.survey.layer_walks.walk", refuse)
    assert {point.layers for point in probe(request(store, layers=False)).points} == {()}


def test_only_points_without_errors_are_walked_for(
    surveyed: SurveyResult, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from landscape.survey import layer_walks

    seen: list[set[str]] = []
    plain = layer_walks.layer_errors

    def noted(center: Any, points: Any, hessians: Any) -> Any:
        seen.append(set(points))
        return plain(center, points, hessians)

    monkeypatch.setattr(layer_walks, "layer_errors", noted)
    more = probe(request(store, bits=(3, 2), methods=("rtn", "gptq")))
    assert [len(points) for points in seen] == [2, 2]  # the two of int2, on train and on test
    assert more.points[0].layers == surveyed.points[0].layers


def test_without_calibration_the_training_windows_are_those_that_are_probed(store: Path) -> None:
    alone = probe(request(store, methods=("rtn",)))
    (rtn,) = alone.points
    assert alone.run.settings["layer-wise errors"] == "2 train windows, 3 test windows"
    with Session.open(request(store, methods=("rtn",))) as session:
        windows, slot = session.subject.windows["train"], session.subject.space.slots[5]
        with recorded_inputs(session.subject.model, session.subject.space) as seen, torch.no_grad():
            for window in windows:
                session.subject.model(input_ids=window.tokens[None])
        (spec,) = request(store, methods=("rtn",)).specs
        delta = session.point(spec).tensor(slot).double() - session.subject.center.tensor(slot).double()
        outputs = torch.cat(seen[slot.name]) @ delta.T
    assert len(windows) == 2
    tokens = sum(window.tokens.numel() for window in windows)
    assert rtn.layers[5].error["train"] == pytest.approx(float(outputs.square().sum()) / tokens, rel=1e-4)


def test_a_model_that_cannot_be_walked_through_has_no_errors_and_the_survey_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Any:
        raise PointError("expected 0.q to read an input of 0.k in every window or in none, it does in some")

    monkeypatch.setattr("landscape.survey.layer_walks.walk", refused)
    progress = Silent()
    (rtn,) = probe(request(tmp_path, methods=("rtn",), scales=("absmax",)), progress).points
    assert [line for line in progress.warnings if "layer-wise" in line] == [
        f"layer-wise errors on the {split} windows are not available: expected 0.q to read an input of 0.k in every "
        "window or in none, it does in some"
        for split in ("train", "test")
    ]
    assert [dict(layer.error) for layer in rtn.layers] == [{}] * len(rtn.layers)
    assert rtn.layers[0].distance > 0
