"""A study measures every model as its survey alone does, and goes on past what fails."""

from __future__ import annotations

import pytest

from landscape.report.survey.json import to_json
from landscape.session.progress import Silent
from landscape.session.work_shard import WorkShard
from landscape.study.plan import plan_study
from landscape.study.run import run_study, run_study_shard
from landscape.survey.probe import probe
from quant.checkpoints.embedded import embedded
from quant.errors import UsageError
from quant.methods.options import GPTQOptions
from tests.landscape.study.small import small_study

UNDAMPED = GPTQOptions(dampings=(0.0,))
"""64 tokens do not determine the Hessian of 128 inputs, and nothing is added to its diagonal: no factor exists."""


def numbers(survey):
    """All numbers of a landscape that do not depend on the machine."""
    found = to_json(survey)
    return {key: found[key] for key in ("center", "basin", "points", "segments", "misalignments")}


class Notes(Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_study_finds_what_the_survey_of_its_model_finds(tmp_path):
    request = small_study(tmp_path / "study", methods=("rtn", "gptq", "qaft"))
    study = run_study(request)
    (model,) = study.models
    assert not study.failures
    assert [point.name for point in model.survey.points] == [
        "rtn-int2-exact", "gptq-int2-exact", "qaft-int2-exact", "w_ft-int2",
    ]  # fmt: skip
    alone = probe(small_study(tmp_path / "alone", methods=("rtn", "gptq", "qaft")).surveys[0])
    assert numbers(model.survey) == numbers(alone)
    assert {claim.number for claim in model.claims} == {1, 2, 3, 4, 5, 6}


def test_two_models_are_measured_in_order(tmp_path):
    other = str(embedded("opt-nano"))  # the same weights under another name: the same store, evaluated once
    study = run_study(small_study(tmp_path, models=("opt-nano", other), texts=("tales",), methods=("rtn",)))
    first, second = study.models
    assert (first.name, second.name) == ("opt-nano", other)
    assert second.survey.run.probes.evaluated == 0
    assert numbers(first.survey) == numbers(second.survey)


def test_a_point_that_fails_is_left_out_with_its_reason(tmp_path):
    notes = Notes()
    study = run_study(small_study(tmp_path, gptq=UNDAMPED), notes)
    (failure,) = study.failures
    assert (failure.model, failure.cell) == ("opt-nano", "gptq-int2-exact")
    assert "GPTQ failed on" in failure.reason
    assert "add calibration windows" in failure.reason
    (model,) = study.models
    assert [point.name for point in model.survey.points] == ["rtn-int2-exact"]
    assert [(each.a, each.b) for each in model.survey.segments if each.split == "validation"] == [
        ("w", "rtn-int2-exact")
    ]
    assert any("gptq-int2-exact is left out" in warning for warning in notes.warnings)
    assert any(note.startswith("opt-nano (1/1): made rtn-int2-exact in") for note in notes.notes)

    whole = run_study(small_study(tmp_path))  # the cause is gone: the point is made, the rest is in the store
    assert not whole.failures
    assert [point.name for point in whole.models[0].survey.points] == ["rtn-int2-exact", "gptq-int2-exact"]
    assert numbers(whole.models[0].survey)["points"][0] == numbers(model.survey)["points"][0]


def test_a_model_that_fails_does_not_end_the_study(tmp_path):
    missing = str(tmp_path / "no model")
    study = run_study(small_study(tmp_path, models=(missing, "opt-nano"), texts=("tales",), methods=("rtn",)))
    assert [model.name for model in study.models] == ["opt-nano"]
    (failure,) = study.failures
    assert (failure.model, failure.cell) == (missing, "all")
    assert "expected" in failure.reason


def test_shards_leave_nothing_but_segments_to_the_whole_study(tmp_path):
    request = small_study(tmp_path / "shards")
    for index in (1, 2):
        (done,), failures = run_study_shard(small_study(tmp_path / "shards", shard=WorkShard(index, 2)))
        assert not failures
        assert done.subject.model == "opt-nano"
    whole = run_study(request)
    plain = run_study(small_study(tmp_path / "plain"))
    assert numbers(whole.models[0].survey) == numbers(plain.models[0].survey)
    assert whole.models[0].survey.run.probes.evaluated < plain.models[0].survey.run.probes.evaluated / 4


def test_a_shard_goes_on_past_a_point_that_fails(tmp_path):
    (done,), failures = run_study_shard(small_study(tmp_path, gptq=UNDAMPED, shard=WorkShard(1, 1)))
    assert [failure.cell for failure in failures] == ["gptq-int2-exact"]
    assert done.run.probes.evaluated > 0
    (model,) = plan_study(small_study(tmp_path)).models
    assert [(cell.name, cell.stored) for cell in model.cells] == [("rtn-int2-exact", True), ("gptq-int2-exact", False)]


@pytest.mark.parametrize("changes", [{"shard": WorkShard(1, 2)}, {"dry_run": True}])
def test_requests_for_other_functions_are_refused(tmp_path, changes):
    with pytest.raises(UsageError, match="run_study_shard, plan_study"):
        run_study(small_study(tmp_path, **changes))
    with pytest.raises(UsageError, match="got none; use run_study"):
        run_study_shard(small_study(tmp_path))
