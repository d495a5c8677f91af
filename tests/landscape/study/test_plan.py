"""A dry run shows the cells, evaluates nothing, and knows what the store has."""

from __future__ import annotations

from pathlib import Path

from landscape.study.plan import plan_study
from landscape.survey.probe import probe
from tests.landscape.study.small import small_study


def test_cells_are_forecast_and_nothing_is_evaluated(tmp_path):
    request = small_study(tmp_path, methods=("rtn", "gptq", "qaft"))
    plan = plan_study(request)
    (model,) = plan.models
    cells = {cell.name: cell for cell in model.cells}
    assert list(cells) == ["rtn-int2-exact", "gptq-int2-exact", "qaft-int2-exact", "w_ft-int2"]
    assert not any(cell.stored for cell in cells.values())
    assert cells["gptq-int2-exact"].seconds > 0
    assert cells["w_ft-int2"].disk == 4 * cells["rtn-int2-exact"].disk  # float32 for int8
    assert cells["qaft-int2-exact"].memory > cells["rtn-int2-exact"].memory
    assert plan.seconds == model.forecast.seconds > 0
    assert plan.disk == model.forecast.disk
    assert not list(Path(tmp_path).rglob("*.h5"))


def test_what_is_stored_costs_nothing(tmp_path):
    request = small_study(tmp_path)
    probe(small_study(tmp_path, methods=("rtn",)).surveys[0])
    (model,) = plan_study(request).models
    assert [(cell.name, cell.stored) for cell in model.cells] == [
        ("rtn-int2-exact", True), ("gptq-int2-exact", False),
    ]  # fmt: skip
    assert (model.cells[0].seconds, model.cells[0].disk) == (0, 0)
    assert model.forecast.probes > 0
    assert model.forecast.cached > 0


def test_a_model_that_cannot_be_loaded_is_named_and_the_next_is_planned(tmp_path):
    missing = str(tmp_path / "no model")
    plan = plan_study(small_study(tmp_path, models=(missing, "opt-nano"), texts=("tales",)))
    assert [model.model for model in plan.models] == ["opt-nano"]
    assert [(failure.model, failure.cell) for failure in plan.failures] == [(missing, "all")]
