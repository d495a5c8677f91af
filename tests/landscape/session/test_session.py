"""Check what a session promises: frozen threads, losses with the points of the session, points once, true counts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch

from landscape.positions import directions, drawing
from landscape.positions.position import CENTER, OnRay
from landscape.probing.engines import EngineMaker
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import NotEvaluated, Probe, ProbePlan, ProbeResult, Window, point_plan
from landscape.radius import RadiusRequest, measure_radius
from landscape.session import opening
from landscape.session import session as home
from landscape.session.point_maker import PointMaker, point_label
from landscape.session.point_specs import PointSpec
from landscape.session.presets import PRESETS
from landscape.session.progress import Silent
from landscape.session.request import ProbingRequest
from landscape.session.run_record import Check, ProbeCount
from landscape.session.session import Session
from landscape.survey.probe import probe
from landscape.survey.request import SurveyRequest
from quant.center import preserved
from quant.errors import StoreError, UsageError
from quant.methods.rtn import rtn
from quant.nll import window_nll
from quant.scheme import QuantScheme
from quant.space import Vector

SMALL = replace(
    PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=1, seq_len=32, calibration_windows=2
)
RTN, GPTQ = PointSpec("rtn", QuantScheme(2, "absmax")), PointSpec("gptq", QuantScheme(2, "absmax"))


@pytest.fixture
def request_(tmp_path: Path) -> SurveyRequest:
    return SurveyRequest(bits=(2,), scales=("absmax",), methods=("rtn", "gptq"), preset=SMALL, store=tmp_path / "store")


@pytest.fixture
def session(request_: SurveyRequest) -> Iterator[Session]:
    with Session.open(request_) as opened:
        yield opened


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def losses_by_hand(session: Session, vector: Vector | None, windows: tuple[Window, ...]) -> list[float]:
    """NLL sums of weights written into the model."""
    model, space = session.subject.model, session.subject.space
    with preserved(model, space):
        if vector is not None:
            space.write(model, vector)
        return [window_nll(model, window.tokens).total for window in windows]


# ---- directions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Index of every direction that is drawn whole."""
    found, many = [], directions.many_normals

    def counting(streams: list[tuple[int, tuple[str | int, ...]]], *rest: object) -> list[torch.Tensor]:
        found.append(int(streams[0][1][2]))
        return many(streams, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(directions, "many_normals", counting)
    return found


@pytest.mark.parametrize("spare", [0, 1])
def test_a_survey_draws_each_direction_once_per_use(
    request_: SurveyRequest, draws: list[int], spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "spare_cores", lambda: spare)
    small = replace(request_, methods=("rtn",), directions=3, preset=replace(SMALL, lambdas=4, alphas=2))
    probe(small)
    assert draws == [0, 0, 1, 0, 1, 2, 0]  # pilot; points are made; slope; all λ; the checks
    draws.clear()
    probe(replace(small, directions=4))  # whose points are known
    assert draws == [3, 0]


@pytest.mark.parametrize("spare", [0, 1])
def test_a_search_for_r_draws_each_direction_once_per_plan(
    draws: list[int], spare: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "spare_cores", lambda: spare)
    rounds = []

    def noted(self: InlineEngine, plan: ProbePlan) -> Generator[ProbeResult, None, None]:
        on_rays = [step.position.index for step in plan.steps if isinstance(step.position, OnRay)]
        rounds.extend(index for index, _ in groupby(on_rays))
        return evaluate(self, plan)

    evaluate = InlineEngine.evaluate
    monkeypatch.setattr(InlineEngine, "evaluate", noted)
    measure_radius(RadiusRequest(seq_len=32, precision=0.15, store=tmp_path))
    assert draws == [index for index, _ in groupby(rounds)] + [0]  # one held from plan to plan; the checks
    assert len(draws) < len(rounds)


# ---- opening --------------------------------------------------------------------------------------------------------


def test_threads_are_those_that_the_store_was_begun_with_and_are_restored(
    request_: SurveyRequest, two_threads: None
) -> None:
    torch.set_num_threads(1)
    with Session.open(request_):
        assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    with Session.open(request_) as later:
        assert torch.get_num_threads() == 1
        assert later.runner.provenance["threads"] == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), Session.open(request_):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_a_store_of_another_evaluation_is_refused(
    request_: SurveyRequest, monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    with Session.open(request_):
        pass
    monkeypatch.setattr(opening, "EVALUATION", opening.EVALUATION + 1)
    with (
        pytest.raises(StoreError, match=f"version {opening.EVALUATION} .* found version {opening.EVALUATION - 1}"),
        Session.open(request_),
    ):
        pass
    assert torch.get_num_threads() == 2


def test_an_unknown_engine_is_refused_in_one_line_before_the_model_is_loaded(
    request_: SurveyRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(home.ENGINES, "second", lambda request, warn: nullcontext(InlineEngine))
    monkeypatch.setattr(opening, "load_checkpoint", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(UsageError) as refused, Session.open(replace(request_, engine="inlin")):
        pass
    assert str(refused.value) == "expected one of inline, ray, second as --engine, got 'inlin'"


@pytest.mark.parametrize("option", [{"ray_workers": 2}, {"ray_gpus": 1.0}, {"ray_address": "auto"}], ids=str)
def test_options_of_ray_without_ray_are_refused(request_: SurveyRequest, option: dict[str, Any]) -> None:
    flag = f"--{next(iter(option)).replace('_', '-')}"
    with pytest.raises(UsageError) as refused, Session.open(replace(request_, **option)):
        pass
    assert str(refused.value) == f"expected --engine ray with {flag}, got --engine inline; leave {flag} out"


def test_the_engines_of_a_session_end_with_it_however_it_ends(
    request_: SurveyRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    @contextmanager
    def engines(request: ProbingRequest, warn: Callable[[str], None]) -> Iterator[EngineMaker]:
        try:
            yield InlineEngine
        finally:
            ended.append(request.engine)

    monkeypatch.setitem(home.ENGINES, "mortal", engines)
    for ending in (KeyboardInterrupt, ZeroDivisionError):
        with pytest.raises(ending), Session.open(replace(request_, engine="mortal")):
            raise ending
    assert ended == ["mortal", "mortal"]


def test_losses_are_judged_on_the_split_of_a_split_request_and_on_validation_else(
    session: Session, tmp_path: Path
) -> None:
    assert (session.split, len(session.windows)) == ("validation", 2)
    with Session.open(RadiusRequest(split="test", seq_len=32, store=tmp_path / "store")) as radial:
        assert radial.split == "test"
        assert list(radial.subject.windows) == ["test"]
        assert radial.windows == radial.subject.windows["test"]


# ---- losses ---------------------------------------------------------------------------------------------------------


def test_a_plan_may_name_points_of_the_session_and_others_beside_them(session: Session) -> None:
    label, windows = session.label(RTN), session.windows
    other = rtn(session.subject.space, session.subject.center, QuantScheme(3, "absmax"))
    probes = session.evaluate(point_plan([CENTER, label, "other"], windows), points={"other": other})
    for name, vector in ((CENTER, None), (label, session.point(RTN)), ("other", other)):
        assert probes.totals(name, "validation").tolist() == losses_by_hand(session, vector, windows)
    again = session.evaluate(point_plan([label], session.subject.windows["test"]))  # without the other one
    assert again is probes
    assert again.totals(label, "test").tolist() == losses_by_hand(
        session, session.point(RTN), session.subject.windows["test"]
    )


def test_a_rehearsal_evaluates_nothing(session: Session) -> None:
    plan = point_plan([CENTER], session.windows)
    with session.runner.rehearsal():
        probes = session.evaluate(plan)
        with pytest.raises(NotEvaluated):
            probes.totals(CENTER, "validation")
    assert (session.runner.evaluated, session.runner.asked) == (0, set(plan.probes()))


# ---- points ---------------------------------------------------------------------------------------------------------


def test_a_point_is_made_once(session: Session, request_: SurveyRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session.find(GPTQ) is None
    made = session.point(GPTQ)
    monkeypatch.setattr(PointMaker, "make", lambda *_: pytest.fail("a point was made again"))
    assert session.point(GPTQ) is made
    space = session.subject.space
    assert session.label(GPTQ) == point_label(made, space)
    assert session.point(RTN).fingerprint(space) == rtn(space, session.subject.center, RTN.scheme).fingerprint(space)
    with Session.open(request_) as later:
        assert later.point(GPTQ).fingerprint(space) == made.fingerprint(space)


def test_the_work_of_a_point_is_reported_as_it_is_made(request_: SurveyRequest) -> None:
    class Heard(Silent):
        work, stages = 0.0, ()

        def advance(self, work: float) -> None:
            self.work += work

        def stage(self, name: str) -> None:
            self.stages = (*self.stages, name)

    heard = Heard()
    with Session.open(request_, heard) as session:
        session.point(GPTQ)
        assert heard.work == pytest.approx(session.point_work(GPTQ))
    assert heard.stages == ("loading the model", "reading the text", "making gptq-int2-absmax")


def test_a_rehearsal_makes_no_point_but_finds_one(session: Session) -> None:
    for missing in (session.point, session.label):
        with session.runner.rehearsal(), pytest.raises(NotEvaluated, match="rtn-int2-absmax"):
            missing(RTN)
    assert session.store.load_point(session.maker.recipe(RTN), session.subject.space) is None
    made = session.point(RTN)
    with session.runner.rehearsal():
        assert session.point(RTN) is made


# ---- the record -----------------------------------------------------------------------------------------------------


def test_the_record_counts_what_was_asked_for_and_what_was_evaluated(request_: SurveyRequest) -> None:
    health, counts = (Check("sound", True, "All is well."),), []
    for more in (0, 1, 0):
        with Session.open(request_) as session:
            windows = session.windows + session.subject.windows["test"][:more]
            for _ in range(2):  # a probe that is asked for twice counts once
                session.evaluate(point_plan([CENTER], windows))
            record = session.record({"own": 1}, health)
            counts.append(record.probes)
            assert all(Probe(CENTER, window.identity) in session.store.probes() for window in windows)
    assert counts == [ProbeCount(2, 0, 2), ProbeCount(3, 2, 1), ProbeCount(2, 2, 0)]
    assert record.health == health
    assert record.store == str(session.store.folder)
    assert record.seconds > 0
    assert record.settings == {
        "own": 1,
        "seed": 0,
        "corpus fingerprint": session.subject.corpus.fingerprint,
        **session.runner.provenance,
    }


def test_the_subject_of_the_record_is_the_model_and_the_probed_splits(session: Session) -> None:
    info, subject = session.info(["validation", "test"]), session.subject
    assert (info.model, info.data, info.seq_len, info.dtype) == ("opt-nano", "tales", 32, "float32")
    assert info.windows == {"validation": 2, "test": 1}
    assert (info.fingerprint, info.dimension) == (subject.checkpoint.fingerprint, subject.space.dimension)
    assert (info.norm, info.chance) == (subject.norm, subject.chance)
    assert info.slots == tuple(subject.space)
    assert (info.revision, info.options) == (None, ("--seq-len", "32"))


def test_a_run_says_so_where_a_store_makes_it_use_another_number_of_threads(
    request_: SurveyRequest, two_threads: None
) -> None:
    """Two processes of one thread each took two, and stood in each other's way without a word."""
    first, second, third = Silent(), Silent(), Silent()
    with Session.open(request_, first):
        pass
    with Session.open(request_, second):
        assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    with Session.open(request_, third):
        assert torch.get_num_threads() == 2
    words = "this run uses 2 threads, not 1"
    heard = [any(words in line for line in progress.warnings) for progress in (first, second, third)]
    assert heard == [False, False, True]
