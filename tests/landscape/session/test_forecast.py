"""Check that the time of the search for scales is forecast, wherever RTN is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from landscape.advice.advise import _pace, advise
from landscape.advice.request import AdviceRequest
from landscape.anatomy.dissect import dissect
from landscape.anatomy.request import AnatomyRequest
from landscape.quantize import QuantizeRequest, quantize
from landscape.session.forecast import Forecast, Walks, forecast_of, search_seconds
from landscape.session.memory import evaluation_need, walk_need
from landscape.session.point_specs import PointSpec
from landscape.session.presets import PRESETS
from landscape.session.progress import Progress, Silent
from landscape.session.request import ProbingRequest
from landscape.session.session import Session
from landscape.session.work_shard import WorkShard
from landscape.survey.probe import probe
from landscape.survey.request import SurveyRequest
from landscape.survey.shard import probe_shard
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.scheme import QuantScheme

TINY = replace(
    PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=1, seq_len=32, calibration_windows=2
)
GROUPED = QuantScheme(4, granularity="group:7")
TAKEN = {
    QuantScheme(4): 0.13,
    QuantScheme(2, granularity="channel"): 0.91,
    QuantScheme(5, granularity="channel"): 6.8,
    QuantScheme(3, granularity="group:128"): 2.8,
    QuantScheme(5, granularity="group:32"): 32.0,
    QuantScheme(4, "histogram", "channel"): 6.0,
    QuantScheme(4, "mse", "group:32"): 0.31,
    QuantScheme(4, "mse"): 0.23,
}
"""Seconds of one core that the search took on opt-nano, on the machine of the other measured costs."""


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    return load_checkpoint("opt-nano")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


class ForecastGiven(Exception):  # noqa: N818 - no error
    """A forecast, after which nothing is to be done."""


class Asking(Silent):
    def forecast(self, forecast: Forecast) -> None:
        raise ForecastGiven(forecast)


def forecast_by(job: Callable[[Progress], object]) -> Forecast:
    with pytest.raises(ForecastGiven) as given:
        job(Asking())
    (forecast,) = given.value.args
    assert isinstance(forecast, Forecast)
    return forecast


@pytest.mark.parametrize("scheme", TAKEN, ids=str)
def test_the_forecast_of_a_search_is_the_measured_cost_within_a_factor_of_two(
    nano: Checkpoint, scheme: QuantScheme
) -> None:
    assert 0.5 < search_seconds(nano.space, [scheme]) / TAKEN[scheme] < 2


def test_threads_share_a_search_and_absmax_is_none(nano: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = search_seconds(nano.space, [GROUPED])
    assert search_seconds(nano.space, [QuantScheme(8, "absmax", "group:7")]) == 0
    assert search_seconds(nano.space, [GROUPED, GROUPED]) == 2 * alone
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert search_seconds(nano.space, [GROUPED]) == alone / 2


def test_every_job_that_makes_rtn_forecasts_its_search(nano: Checkpoint, tmp_path: Path) -> None:
    alone = search_seconds(nano.space, [GROUPED])
    survey = SurveyRequest(bits=(4,), granularities=("group:7",), methods=("rtn", "gptq"), preset=TINY, store=tmp_path)
    anatomy = AnatomyRequest(bits=4, granularity="group:7", method="rtn", preset=TINY, store=tmp_path)
    advice = AdviceRequest(
        bits=(4,), scales=("exact",), granularities=("group:7",), windows=2, preset=TINY, store=tmp_path
    )
    point = QuantizeRequest(bits=4, granularity="group:7", method="gptq", preset=TINY, store=tmp_path)
    assert {anatomy.spec, point.spec, *survey.specs} == {PointSpec(method, GROUPED) for method in ("rtn", "gptq")}
    jobs: dict[str, Callable[[Progress], object]] = {
        "probe": lambda progress: probe(survey, progress),  # once, for both methods
        "anatomy": lambda progress: dissect(anatomy, progress),
        "advise": lambda progress: advise(advice, progress),
        "gptq": lambda progress: quantize(point, progress),
        "rtn": lambda progress: quantize(replace(point, method="rtn"), progress),
    }
    for name, job in jobs.items():
        forecast = forecast_by(job)
        assert forecast.searching == pytest.approx(alone), name
        assert forecast.seconds - forecast.searching == pytest.approx(0, abs=20), name  # some passes of tiny windows
        assert forecast.points, name


def noted_passes(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> list[int]:
    """Note the batches that are timed; they take this many seconds per window."""
    noted: list[int] = []

    def timed(model: object, window: object, batch: int = 1) -> float:
        noted.append(batch)
        return seconds[batch]

    monkeypatch.setattr("landscape.session.forecast.forward_seconds", timed)
    monkeypatch.setattr("landscape.advice.advise.forward_seconds", timed)
    return noted


def test_evaluations_are_forecast_in_batches_and_points_one_window_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, spec = noted_passes(monkeypatch, {1: 8.0, 3: 2.0}), PointSpec("gptq", QuantScheme(4, "absmax"))
    with Session.open(AdviceRequest(preset=TINY, store=tmp_path)) as session:
        subject, making = session.subject, session.point_work(spec)
        assert making > 0
        forecast = forecast_of(subject, TINY, [spec], [], probes=10, batch=3)
        assert forecast.seconds == 8.0 * making + 2.0 * 10
        assert sorted(timed) == [1, 3]
        assert forecast_of(subject, TINY, [spec], [], probes=10).seconds == 8.0 * (making + 10)
        assert forecast_of(subject, TINY, [], [], probes=10, passes=2.5, batch=3).seconds == 2.0 * 2.5
        timed.clear()
        assert forecast_of(subject, TINY, [], [], batch=3).seconds == 0.0
        assert timed == []
        few, many = (forecast_of(subject, TINY, [], [], probes=1, batch=batch).memory for batch in (1, 3))
        need = evaluation_need(subject, 3).host_bytes - evaluation_need(subject).host_bytes
        assert need > 0
        assert many - few == pytest.approx(need, abs=2e6)  # what the process holds may change meanwhile


def test_walks_for_layer_wise_errors_are_forecast_one_window_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, walks = noted_passes(monkeypatch, {1: 8.0}), Walks(work=12.5, windows=400, rows=100)
    with Session.open(AdviceRequest(preset=TINY, store=tmp_path)) as session:
        forecast = forecast_of(session.subject, TINY, [], [], batch=3, walks=walks)
        assert (forecast.work, forecast.seconds, forecast.disk, timed) == (12.5, 8.0 * 12.5, 64 * 100, [1])
        plain = forecast_of(session.subject, TINY, [], [], batch=3)
        need = walk_need(session.subject, 400).host_bytes - evaluation_need(session.subject, 3).host_bytes
        assert need > 0
        assert forecast.memory - plain.memory == pytest.approx(need, abs=2e6)  # what the process holds may change


def test_a_survey_forecasts_its_walks_only_where_it_asks_for_layers(
    nano: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted_passes(monkeypatch, {1: 1.0})
    plain = SurveyRequest(bits=(4,), scales=("absmax",), methods=("rtn", "gptq"), preset=TINY, store=tmp_path)
    forecasts = [
        forecast_by(lambda progress, asked=asked: probe(asked, progress))
        for asked in (plain, replace(plain, layers=True))
    ]
    assert forecasts[1].work - forecasts[0].work == forecasts[1].seconds - forecasts[0].seconds > 2 * (2 + 1)
    assert forecasts[1].probes == forecasts[0].probes
    assert forecasts[1].disk - forecasts[0].disk == 64 * 2 * 2 * len(nano.space.slots)  # 2 points, 2 splits


def test_every_job_forecasts_its_evaluations_in_its_batch_which_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, trials = noted_passes(monkeypatch, {1: 1e9, 2: 1.0}), []
    monkeypatch.setattr("landscape.session.opening.same_at_every_place", lambda *given: trials.append(given[2]) or True)
    survey = SurveyRequest(bits=(4,), scales=("absmax",), methods=("rtn",), preset=TINY, batch=2)
    jobs: dict[str, tuple[Callable[..., object], ProbingRequest]] = {
        "probe": (probe, survey),
        "shard": (probe_shard, replace(survey, shard=WorkShard(1, 2))),
        "anatomy": (dissect, AnatomyRequest(bits=4, scale="absmax", method="rtn", preset=TINY, batch=2)),
        "advise": (advise, AdviceRequest(bits=(4,), scales=("absmax",), preset=TINY, batch=2)),
    }
    for name, (job, request) in jobs.items():
        forecast = forecast_by(partial(job, replace(request, store=tmp_path / name)))
        assert (timed, trials) == ([2], [2]), name
        assert forecast.seconds < 1e6, name
        timed.clear()
        trials.clear()


def test_a_job_that_evaluates_nothing_chooses_no_batch(tmp_path: Path) -> None:
    forecast_by(lambda progress: quantize(QuantizeRequest(method="gptq", preset=TINY, store=tmp_path), progress))
    assert not list(tmp_path.glob("*/batch-*"))


def test_the_cost_of_methods_is_timed_on_one_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted_passes(monkeypatch, {1: 3.0})
    forecast = Forecast(10, 0, (), work=10.0, seconds=5.0, searching=0.0, memory=0, disk=0)
    with Session.open(AdviceRequest(preset=TINY, batch=2, store=tmp_path)) as session:
        assert _pace(forecast, session) == 3.0


def test_the_pace_of_forward_passes_is_free_of_the_search(tmp_path: Path) -> None:
    forecast = Forecast(10, 0, ("a",), work=10.0, seconds=75.0, searching=70.0, memory=0, disk=0)
    with Session.open(AdviceRequest(preset=TINY, store=tmp_path)) as session:
        assert _pace(forecast, session) == 0.5


def test_a_search_is_not_forecast_again(tmp_path: Path) -> None:
    cheap = QuantScheme(3)
    with Session.open(QuantizeRequest(bits=3, method="gptq", preset=TINY, store=tmp_path)) as session:
        maker = session.maker
        new = (PointSpec("gptq", cheap), PointSpec("awq", GROUPED), PointSpec("qaft", cheap))
        assert maker.searched(new) == (cheap,)
        maker.make(PointSpec("rtn", cheap), lambda share: None)
        assert maker.searched(new) == ()
