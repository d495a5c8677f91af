"""Check every row of the table of methods: recipes, work and words as before it, and what a further row brings about.

``data/recipes.json`` and ``WORK`` are what the version before the table gave, whose methods were spread over the code:
the same store must be found again. Their version was raised since (``RECIPE_VERSION``).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from landscape.probing.store import Store
from landscape.session import point_methods
from landscape.session.point_maker import PointMaker
from landscape.session.point_methods import (
    GRID_METHODS,
    METHODS,
    PAPER_METHODS,
    PointMethod,
    Settings,
    Workbench,
    calibrates,
    find_method,
    listed,
    point_work,
    searches_scales,
    trains,
    with_controls,
)
from landscape.session.point_specs import FreeSpec, PointSpec, free_specs, point_specs
from landscape.session.presets import PRESETS
from landscape.session.subject import Subject, prepare
from landscape.survey.request import SurveyRequest
from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import UsageError
from quant.methods.options import GPTQOptions
from quant.point import WeightPoint
from quant.scheme import QuantScheme

RECIPES = json.loads((Path(__file__).parents[1] / "data" / "recipes.json").read_text())
PRESET = replace(
    PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=1, seq_len=32, calibration_windows=3,
    qaft_examples=5, qaft_epochs=2,
)  # fmt: skip
INT4, GROUPED = QuantScheme(4), QuantScheme(2, "absmax", "group:64", symmetric=False)
WORK = {
    "rtn": (0.0, 0.0), "gptq": (46.0, 296.0), "awq": (406.0, 656.0), "signround": (1869.0, 7744.0),
    "qaft": (46.0, 1072.0), "qaft-lsq": (46.0, 1072.0), "qaft-from-gptq": (46.0, 1072.0),
}  # fmt: skip
"""Of int4 with ``PRESET`` and two validation windows, and of int3 with ``standard`` and 16."""


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    checkpoint = load_checkpoint("opt-nano")
    return prepare(checkpoint, "tales", PRESET, tuple(METHODS), 0, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def store(subject: Subject, tmp_path: Path) -> Store:
    return Store(tmp_path, subject.checkpoint.identity, "float32")


# ---- the rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", WORK)
def test_recipes_are_those_of_the_stores_before_the_table(method: str, subject: Subject, store: Store) -> None:
    plain, other = RECIPES.values()
    assert PointMaker(subject, store, PRESET, 0).recipe(PointSpec(method, INT4)) == plain[method]
    options = GPTQOptions(inputs="fp", act_order=True)
    assert PointMaker(subject, store, PRESET, 7, options).recipe(PointSpec(method, GROUPED)) == other[method]


def test_the_table_has_the_methods_before_it_and_fine_tuning() -> None:
    assert [*METHODS] == [*WORK, "w_ft"] == [*next(iter(RECIPES.values())), "w_ft"]
    assert all(name == row.name for name, row in METHODS.items())
    assert PAPER_METHODS == ("rtn", "gptq", "qaft")


def test_the_recipe_of_fine_tuning_is_that_of_qaft_without_a_grid(subject: Subject, store: Store) -> None:
    plain, other = RECIPES.values()
    for recipes, width, seed in ((plain, 4, 0), (other, 2, 7)):
        expected = json.loads(recipes["qaft"]) | {"method": "w_ft"}
        del expected["scheme"], expected["options"]["ste"], expected["options"]["learn_scale"]
        found = PointMaker(subject, store, PRESET, seed).recipe(FreeSpec("w_ft", (width,)))
        assert found == json.dumps(expected, sort_keys=True)


@pytest.mark.parametrize("method", WORK)
def test_work_is_as_before_the_table(method: str) -> None:
    found = point_work(method, 4, PRESET, 2), point_work(method, 3, PRESETS["standard"], 16)
    assert found == WORK[method]


def test_fine_tuning_takes_the_work_of_qaft() -> None:
    assert point_work("w_ft", 4, PRESET, 2) == point_work("qaft", 4, PRESET, 2)


def test_what_methods_take_is_as_before_the_table() -> None:
    assert {name for name in METHODS if calibrates(name)} == {"gptq", "awq", "signround", "qaft-from-gptq"}
    assert {name for name in METHODS if trains(name)} == {"qaft", "qaft-lsq", "qaft-from-gptq", "w_ft"}
    assert {name for name, row in METHODS.items() if not row.on_grid} == {"awq", "w_ft"}
    assert {name for name in METHODS if not searches_scales(name)} == {"awq", "w_ft"}
    assert {row.name for row in METHODS.values() if not row.needs_grid} == {"w_ft"}


def test_controls_train_as_the_methods_that_they_control() -> None:
    settings = Settings(PRESET, bits=4, seed=3)
    controlled = {row.name: row.control for row in METHODS.values() if row.control}
    assert controlled == dict.fromkeys(("qaft", "qaft-lsq", "qaft-from-gptq"), "w_ft")
    for name, control in controlled.items():
        own, its = METHODS[name].options(settings), METHODS[control].options(settings)
        assert {key: getattr(own, key) for key in its} == its
        assert {"rates", "epochs", "seed"} <= its.keys()


def test_help_lists_the_names_with_their_notes() -> None:
    assert listed(GRID_METHODS, "or") == (
        "rtn, gptq, awq, signround, qaft, qaft-lsq (scales learn too) or qaft-from-gptq"
    )
    assert listed(METHODS[name] for name in ("qaft-lsq", "rtn")) == "qaft-lsq (scales learn too), rtn"
    assert listed([METHODS["rtn"]]) == "rtn"


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    line = f"expected methods from {', '.join([*WORK, 'w_ft'])}, got 'rtm'"
    for refuse in (
        lambda: find_method("rtm"),
        lambda: point_specs(("rtn", "rtm"), (4,), ("exact",)),
        lambda: free_specs(("rtm",), (4,), PRESET),
        lambda: SurveyRequest(methods=("rtm",)),
    ):
        with pytest.raises(UsageError) as refused:
            refuse()
        assert str(refused.value) == line


@pytest.mark.parametrize("name", ["rtm", "w_ft"])
def test_a_method_that_makes_no_point_on_a_grid_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        PointSpec(name, INT4)
    assert str(refused.value) == f"expected methods from {', '.join(WORK)} on a grid, got {name!r}"


# ---- a further row --------------------------------------------------------------------------------------------------


def _drifted(bench: Workbench) -> WeightPoint:
    assert (bench.scheme, bench.start) == (None, None)
    center, step = bench.subject.center, drift_options(bench.settings)["step"]
    bench.progress(1, 1)
    return WeightPoint("drift", None, {slot.name: center.tensor(slot) + step for slot in bench.subject.space})


def drift_options(settings: Settings) -> dict[str, float]:
    return {"step": 0.5 if settings.bits > 4 else 0.25}


DRIFT = PointMethod("drift", "Drift", _drifted, drift_options, on_grid=False, needs_grid=False)
TUNED = replace(METHODS["rtn"], name="tuned", label="Tuned", control="drift", start="gptq")


@pytest.fixture
def _more_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in (TUNED, DRIFT):
        monkeypatch.setitem(point_methods.METHODS, row.name, row)


@pytest.mark.usefixtures("_more_methods")
def test_a_method_without_a_grid_has_a_point_for_each_set_of_options() -> None:
    found = free_specs(("drift", "rtn"), (8, 4, 2, 4), PRESET)
    assert found == (FreeSpec("drift", (8,)), FreeSpec("drift", (4, 2)))
    assert [(spec.name, spec.width, spec.scheme) for spec in found] == [
        ("drift-int8", 8, None),
        ("drift-int4-int2", 4, None),
    ]
    assert point_specs(("drift", "rtn"), (8, 4), ("exact",)) == (
        PointSpec("rtn", QuantScheme(8)), PointSpec("rtn", QuantScheme(4))
    )  # fmt: skip


@pytest.mark.usefixtures("_more_methods")
def test_a_control_is_made_with_its_method_once() -> None:
    assert [row.name for row in with_controls(("tuned", "rtn"))] == ["rtn", "tuned", "drift"]
    assert free_specs(("tuned",), (2,), PRESET) == free_specs(("drift", "tuned"), (2,), PRESET)
    assert free_specs(("rtn", "gptq"), (2,), PRESET) == ()
    request = SurveyRequest(methods=("tuned", "qaft"), bits=(8, 2), preset=PRESET)
    assert [spec.name for spec in request.specs] == [
        "qaft-int8-exact", "tuned-int8-exact", "qaft-int2-exact", "tuned-int2-exact",
        "w_ft-int8", "w_ft-int2", "drift-int8", "drift-int2",
    ]  # fmt: skip


@pytest.mark.usefixtures("_more_methods")
def test_a_start_that_calibrates_needs_the_calibration_windows() -> None:
    assert calibrates("tuned")
    assert searches_scales("tuned")
    assert not calibrates("drift")
    assert not searches_scales("drift")


@pytest.mark.usefixtures("_more_methods")
def test_a_further_row_is_made_stored_and_found_by_its_recipe(subject: Subject, store: Store) -> None:
    maker, spec, shares = PointMaker(subject, store, PRESET, 0), FreeSpec("drift", (4, 2)), []
    assert maker.recipe(spec) == '{"method": "drift", "options": {"step": 0.25}, "version": 3}'
    assert maker.find(spec) is None
    made = maker.make(spec, shares.append)
    assert sum(shares) == 1
    slot = subject.space.slots[0]
    assert (made.tensor(slot) == subject.center.tensor(slot) + 0.25).all()
    assert maker.find(spec).fingerprint(subject.space) == made.fingerprint(subject.space)
    assert maker.find(FreeSpec("drift", (8,))) is None
