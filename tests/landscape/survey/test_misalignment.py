"""M against the t interval of scipy on the windows' own differences, and a survey that trains its control."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from landscape import PRESETS, SurveyRequest, probe, to_json
from landscape.probing.losses import Probes
from landscape.probing.plan import Probe, ProbeResult, Window
from landscape.session.point_specs import AnySpec, FreeSpec, PointSpec
from landscape.survey.analysis import method_gaps, misalignments
from quant.scheme import QuantScheme

TOKENS = 31
WINDOWS = tuple(Window(f"w{i}", torch.zeros(TOKENS + 1, dtype=torch.int64)) for i in range(12))
INT2, INT4 = QuantScheme(2), QuantScheme(4)
LABELS: dict[AnySpec, str] = {
    PointSpec("gptq", INT2): "point/gptq2",
    PointSpec("qaft", INT2): "point/qaft2",
    PointSpec("gptq", INT4): "point/gptq4",
    PointSpec("qaft", INT4): "point/qaft4",
    FreeSpec("w_ft", (8, 4)): "point/free84",
    FreeSpec("w_ft", (2,)): "point/free2",
}


@pytest.fixture
def losses() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {label: TOKENS * random.uniform(2, 4, len(WINDOWS)) for label in ("w", *LABELS.values())}


@pytest.fixture
def probes(losses: dict[str, np.ndarray]) -> Probes:
    known = {
        (key := Probe(label, window.identity)): ProbeResult(key, float(total), TOKENS)
        for label, totals in losses.items()
        for window, total in zip(WINDOWS, totals, strict=True)
    }
    return Probes(known, {"test": WINDOWS})


@pytest.mark.parametrize(("bits", "control"), [(2, "free2"), (4, "free84")])
def test_m_is_net_of_the_control_with_the_same_rates(
    bits: int, control: str, losses: dict[str, np.ndarray], probes: Probes
) -> None:
    found = {each.grid: each for each in misalignments(probes, LABELS)}[f"int{bits}-exact"]
    gptq, qaft, free = (losses[f"point/{name}"] for name in (f"gptq{bits}", f"qaft{bits}", control))
    for estimate, totals in ((found.net["test"], gptq - losses["w"] - qaft + free), (found.raw["test"], gptq - qaft)):
        nats = totals / TOKENS
        low, high = stats.t.interval(0.95, len(nats) - 1, nats.mean(), stats.sem(nats))
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((nats.mean(), low, high), rel=1e-9)


def test_a_grid_without_its_control_has_no_m(probes: Probes) -> None:
    without = {spec: label for spec, label in LABELS.items() if label != "point/free2"}
    assert [each.grid for each in misalignments(probes, without)] == ["int4-exact"]


def test_the_raw_difference_needs_no_control_and_is_that_of_each_grid(
    losses: dict[str, np.ndarray], probes: Probes
) -> None:
    without = {spec: label for spec, label in LABELS.items() if not isinstance(spec, FreeSpec)}
    found = {each.grid: each.difference["test"] for each in method_gaps(probes, without)}
    assert set(found) == {"int2-exact", "int4-exact"}
    for bits in (2, 4):
        nats = (losses[f"point/gptq{bits}"] - losses[f"point/qaft{bits}"]) / TOKENS
        low, high = stats.t.interval(0.95, len(nats) - 1, nats.mean(), stats.sem(nats))
        own = found[f"int{bits}-exact"]
        assert (own.value, own.low, own.high) == pytest.approx((nats.mean(), low, high), rel=1e-9)


def overflowed(probes: Probes, label: str) -> Probes:
    return Probes(
        {key: replace(r, total=float("inf")) if key.position == label else r for key, r in probes.known.items()},
        probes.windows,
    )


def test_a_gptq_that_overflowed_has_no_bound_and_a_qaft_that_did_no_difference(probes: Probes) -> None:
    gptq, _ = method_gaps(overflowed(probes, "point/gptq2"), LABELS)
    assert (gptq.difference["test"].value, gptq.difference["test"].low) == (np.inf, -np.inf)
    qaft, _ = method_gaps(overflowed(probes, "point/qaft2"), LABELS)
    assert qaft.difference == {}


@pytest.mark.parametrize("label", ["point/qaft2", "point/free2"])
def test_training_that_overflowed_has_no_m(label: str, probes: Probes) -> None:
    assert [each.grid for each in misalignments(overflowed(probes, label), LABELS)] == ["int4-exact"]


def test_m_of_a_gptq_that_overflowed_has_no_bound(probes: Probes) -> None:
    first = misalignments(overflowed(probes, "point/gptq2"), LABELS)[0].net["test"]
    assert (first.value, first.low) == (np.inf, -np.inf)


def test_a_survey_that_trains_makes_the_control_and_m(tmp_path: Path) -> None:
    numbers = {"train_windows": 2, "validation_windows": 2, "test_windows": 3, "seq_len": 32, "lambdas": 4, "alphas": 2}
    making = {"calibration_windows": 2, "qaft_examples": 2, "refinements": 0}
    request = SurveyRequest(
        bits=(2,), directions=2, preset=replace(PRESETS["quick"], **numbers, **making), store=tmp_path
    )
    result = probe(request)
    assert [point.name for point in result.points] == [
        "rtn-int2-exact", "gptq-int2-exact", "qaft-int2-exact", "w_ft-int2",
    ]  # fmt: skip
    nll = {point.method: point.nll["test"] for point in result.points} | {"w": result.center["test"]}
    (found,) = result.misalignments
    by_hand = nll["gptq"] - nll["w"] - (nll["qaft"] - nll["w_ft"])
    assert found.net["test"].value == pytest.approx(by_hand, abs=1e-12)
    (written,) = to_json(result)["misalignments"]
    assert written["net"]["test"]["value"] == found.net["test"].value
    assert probe(request).run.probes.evaluated == 0
