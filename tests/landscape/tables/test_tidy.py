"""Tidy tables against the result that they come from, and against scipy and numpy where a number is derived."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from landscape.estimators.intervals import Estimate
from landscape.survey.result import SurveyResult
from landscape.tables.column import columns
from landscape.tables.tidy import TABLES, tidy
from tests import synthetic
from tests.landscape.tables import filled


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return filled.filled()


@pytest.fixture(scope="module")
def frames(found: SurveyResult) -> dict[str, pd.DataFrame]:
    return {name: pd.DataFrame(rows) for name, rows in tidy(found).items()}


def test_pandas_makes_a_frame_of_the_rows_with_the_documented_columns(frames: dict[str, pd.DataFrame]) -> None:
    assert list(frames) == list(TABLES)
    for name, frame in frames.items():
        if name not in ("claims", "failures"):
            assert len(frame) > 0, name
            assert list(frame.columns) == [each.name for each in columns(TABLES[name])]


def test_a_row_for_each_point_and_split(found: SurveyResult, frames: dict[str, pd.DataFrame]) -> None:
    frame = frames["points"].set_index(["point", "split"])
    assert len(frame) == sum(len(point.nll) for point in found.points)
    for point in found.points:
        for split in point.nll:
            row = frame.loc[point.name, split]
            assert (row.nll, row.rise, row.rise_low, row.rise_high) == (
                point.nll[split], point.rise[split].value, point.rise[split].low, point.rise[split].high
            )  # fmt: skip
            assert row.perplexity == pytest.approx(np.exp(point.nll[split]), rel=1e-15)
            change = 100 * (np.exp(np.float64(point.rise[split].high)) - 1)
            assert row.perplexity_change_percent_high == pytest.approx(change, rel=1e-12)
            assert (row.distance, row.location, row.loss) == (point.distance, point.location, point.loss)
            assert row.relative_distance == point.distance / found.subject.norm
            assert (row.rho, row.rho_low, row.rho_high) == (point.rho.value, point.rho.low, point.rho.high)


def test_the_change_of_perplexity_is_that_of_the_perplexities(
    found: SurveyResult, frames: dict[str, pd.DataFrame]
) -> None:
    """The rise is over paired windows and the NLL over all of them: the same windows here, but for rounding."""
    for row in frames["points"].itertuples():
        change = 100 * (row.perplexity / np.exp(found.center[row.split]) - 1)
        assert row.perplexity_change_percent == pytest.approx(change, rel=1e-9, abs=1e-9)


def test_what_a_point_lacks_is_missing_and_what_it_has_is_there(frames: dict[str, pd.DataFrame]) -> None:
    plain, rich = (frames["points"].query(f"point == '{name}-int4-exact'").iloc[0] for name in ("rtn", "gptq"))
    assert (rich.kl, rich.kl_low, rich.agreement_high) == (0.1, 0.05, 0.95)
    assert (rich.space_bits, rich.model_bits, rich.bytes) == (4.125, 6.5, 81_000_000)
    assert (rich.expert_matrices, rich.expert_matrices_few, rich.expert_matrices_none) == (24, 3, 1)
    assert (rich.radius_along_low, rich.radius_along_high) == (41.5, math.inf)
    assert (rich.scale, rich.granularity, rich.symmetric) == ("exact", "tensor", True)
    assert (plain.scale, plain.granularity, plain.symmetric) == ("absmax", "group:128", False)
    assert plain.rho_along == plain.distance / 50
    assert (plain.rho_along_low, plain.rho_along_high) == (plain.distance / 80, plain.distance / 40)
    bare = [replace(point, fidelity={}, size=None) for point in filled.filled().points]
    rows = {row.point: row for row in tidy(replace(filled.filled(), points=tuple(bare)))["points"]}
    assert rows["gptq-int4-exact"].rho_along is None  # its radius was not reached
    assert rows["rtn-int4-exact"].expert_matrices is None
    assert rows["q4_k_m"].bytes is None
    foreign = rows["q4_k_m"]
    assert (foreign.bits, foreign.scale, foreign.granularity, foreign.symmetric) == (None, None, None, None)


def test_models_and_splits(found: SurveyResult, frames: dict[str, pd.DataFrame]) -> None:
    (model,) = frames["models"].itertuples()
    basin = found.basins["validation"]
    assert (model.dimension, model.norm, model.chance) == (84_934_656, 280.0, 10.82)
    assert (model.radius, model.radius_low, model.radius_high) == (
        basin.radius.value, basin.radius.low, basin.radius.high
    )  # fmt: skip
    assert (model.r10, model.r90_high, model.kl_radius) == (basin.r10.value, basin.r90.high, 66.0)
    assert (model.nll_train, model.nll_validation, model.nll_test) == tuple(found.center.values())
    assert (model.space_bits, model.bytes) == (16.0, 250_000_000)
    splits = {row.split: row for row in tidy(found)["splits"]}
    assert splits["train"].radius == found.basins["train"].radius.value
    assert splits["train"].kl_radius is None
    assert splits["validation"].kl_reference == 6.5
    assert splits["validation"].kept_radius == found.radii["validation"].kept.value
    assert splits["validation"].quadratic_radius_low == found.radii["validation"].quadratic.low
    assert splits["validation"].unigram_entropy == found.radii["validation"].unigram.reference
    assert (splits["test"].radius, splits["test"].nll, splits["test"].windows) == (None, 3.35, None)


def test_rays_and_segments_pivot_back_to_the_arrays(found: SurveyResult, frames: dict[str, pd.DataFrame]) -> None:
    for split, group in frames["rays"].groupby("split"):
        for value in ("nll", "kl", "agreement"):
            wide = group.pivot(index="direction", columns="distance", values=value)
            expected = np.array([getattr(ray, value)[split] for ray in found.rays])
            np.testing.assert_array_equal(wide.to_numpy(), expected)
        np.testing.assert_array_equal(wide.columns, found.rays[0].lambdas)
        np.testing.assert_allclose(group.rho * found.basins[split].radius.value, group.distance, rtol=1e-15)
    assert len(frames["segments"]) == sum(len(segment.alphas) for segment in found.segments)
    for segment in found.segments:
        rows = frames["segments"].query("a == @segment.a and b == @segment.b and split == @segment.split")
        np.testing.assert_array_equal(rows.alpha, segment.alphas)
        np.testing.assert_array_equal(rows.distance, segment.distances)
        np.testing.assert_array_equal(rows.nll, segment.nll)
        for value in ("kl", "agreement"):
            expected = getattr(segment, value)
            np.testing.assert_array_equal(rows[value], np.full(len(rows), np.nan) if expected is None else expected)
    for row, segment in zip(frames["segment_summary"].itertuples(), found.segments, strict=True):
        shape = segment.connectivity
        assert (row.a, row.b, row.split, row.low_end_alpha) == (segment.a, segment.b, segment.split, shape.low_end)
        assert (row.prominence, row.barrier, row.barrier_max) == (shape.prominence, shape.barrier, shape.barrier_max)
        assert (row.barrier_low, row.barrier_max_high) == (shape.barrier_interval.low, shape.barrier_max_interval.high)


def test_planes_pivot_back_to_the_lattice(found: SurveyResult, frames: dict[str, pd.DataFrame]) -> None:
    plane = found.planes[0]
    rows = frames["planes"].query("a == @plane.a")
    wide = rows.pivot(index="y", columns="x", values="nll")
    np.testing.assert_array_equal(wide.to_numpy(), plane.nll)
    np.testing.assert_array_equal(wide.columns, plane.x)
    places = frames["plane_points"].query("a == @plane.a").set_index("point")
    assert {name: (row.x, row.y) for name, row in places.iterrows()} == dict(plane.places)
    assert places.nll.to_dict() == dict(plane.point_nll)


def test_epochs_and_rates_say_what_was_kept() -> None:
    tables = tidy(filled.filled())
    epochs = [(e.rate, e.epoch, e.training_nll, e.validation_nll, e.test_nll, e.chosen) for e in tables["epochs"]]
    assert epochs[:3] == [
        (None, 0, None, 4.0, None, False), (1e-4, 1, 3.9, 3.8, 3.85, False), (1e-4, 2, 3.6, 3.7, 3.75, True),
    ]  # fmt: skip
    assert math.isnan(epochs[3][3])  # a loss that is not finite is there, and nan
    rates = [(r.rate, r.validation_nll, r.epoch, r.chosen) for r in tables["rates"]]
    assert rates == [(1e-4, 3.7, 2, True), (1e-3, 3.9, 2, False)]


def test_a_start_that_was_kept_is_of_no_rate() -> None:
    point = filled.filled().points[1]
    kept = replace(point, training=replace(filled.CURVE, chosen=filled.START))
    tables = tidy(filled.only(filled.filled(), kept))
    assert [each.epoch for each in tables["epochs"] if each.chosen] == [0]
    assert not any(each.chosen for each in tables["rates"])


def test_layers_their_errors_and_their_dampings() -> None:
    tables = tidy(filled.filled())
    assert [(r.matrix, r.block, r.norm, r.distance, r.damping) for r in tables["layers"]] == [
        (f"model.layers.{i}.self_attn.q_proj.weight", i, 8.0 + i, 0.5 + i, damping)
        for i, damping in enumerate((0.01, None))
    ]
    errors = [(r.block, r.split, r.error) for r in tables["layer_errors"]]
    assert errors == [(0, "train", 1.5), (0, "test", 2.5), (1, "train", 2.5), (1, "test", 3.5)]
    assert [(r.block, r.damping) for r in tables["dampings"]] == [(0, 0.01)]


def test_a_study_has_the_rows_of_its_models_its_claims_and_its_failures() -> None:
    study = filled.study()
    tables = tidy(study)
    assert [row.model for row in tables["models"]] == ["one", "two"]
    alone = tidy(study.models[0].survey)
    for name, rows in alone.items():
        if name != "claims":
            assert [row for row in tables[name] if row.model == "one"] == rows
    assert [(c.number, c.value, c.value_high, c.verdict) for c in tables["claims"]] == [
        (2, None, None, "open"), (3, 1.5, math.inf, "fails")
    ]  # fmt: skip
    assert [(f.model, f.cell) for f in tables["failures"]] == [("two", "gptq-int3-exact")]


def test_a_radius_that_was_not_reached_is_missing_with_a_lower_bound() -> None:
    found = synthetic.landscape(lambdas=[5, 10, 20, 30, 40, 50])
    (model,) = tidy(found)["models"]
    assert (model.radius, model.radius_low, model.radius_high) == (None, 50.0, math.inf)
    assert {row.rho for row in tidy(found)["rays"]} == {None}
    assert {row.rho for row in tidy(found)["points"]} == {None}


def test_what_overflowed_is_not_finite_and_not_missing() -> None:
    rows = {(row.point, row.split): row for row in tidy(filled.overflowing())["points"]}
    lost = rows["rtn-int2-exact", "validation"]
    assert (lost.nll, lost.perplexity, lost.rise, lost.perplexity_change_percent) == (math.inf,) * 4
    assert lost.perplexity_change_percent_low == -100
    last = [row for row in tidy(filled.overflowing())["rays"] if row.direction == 0 and row.split == "validation"][-1]
    assert math.isnan(last.nll)


def test_a_loss_whose_exponential_exceeds_all_floats_is_an_infinite_perplexity() -> None:
    found = synthetic.landscape(bits=(4,), methods=("rtn",))
    point = replace(found.points[0], nll={"train": 800.0}, rise={"train": Estimate(796.7, 700.0, 900.0)})
    (row,) = tidy(filled.only(found, point))["points"]
    assert (row.perplexity, row.perplexity_change_percent, row.perplexity_change_percent_high) == (
        math.inf,
        math.inf,
        math.inf,
    )
    assert row.perplexity_change_percent_low == pytest.approx(100 * (np.exp(700.0) - 1))
