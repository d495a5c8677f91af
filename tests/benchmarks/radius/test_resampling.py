"""Searches on samples of a table: nominal coverage where R and its variance are known, and not of a wrong R."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from benchmarks.radius import real_table, resample, resampling, resampling_table
from benchmarks.radius.loss_table import LossTable, step_of
from benchmarks.rows import read_rows
from landscape.estimators.crossing import Crossing
from landscape.estimators.radius_search import RadiusSearch, grid

NORM, CHANCE, TOKENS, RADIUS = 80.0, 10.8, 511, 30.0
Array = np.ndarray


def synthetic(directions: float = 0.05, windows: float = 0.04, articles: Array | None = None) -> LossTable:
    """64 directions × 60 windows of Gaussian wells, ln R_dw = ln 30 + δ_d + ω_w with these standard deviations."""
    rng = np.random.default_rng(7)
    of_window = windows * rng.standard_normal(60)
    if articles is not None:
        of_window = of_window[articles]  # all windows of one article are alike
    scale = np.exp(np.log(RADIUS) + directions * rng.standard_normal((64, 1, 1)) + of_window)
    base = np.full(60, 3.2)
    indices = np.arange(-20, 1)
    lam = np.array([grid(index, NORM) for index in indices.tolist()])[:, None]
    loss = base + (CHANCE - base) * (1 - np.exp2(-((lam / scale) ** 2)))
    return LossTable(
        norm=NORM, chance=CHANCE, tokens=np.full(60, TOKENS), center=base * TOKENS,
        articles=np.arange(60) if articles is None else articles, indices=indices,
        counts=np.full(len(indices), 64), totals=(loss * TOKENS).astype(np.float32),
    )  # fmt: skip


def run(table: LossTable, precision: float = 0.04, repetitions: int = 100) -> list[tuple[RadiusSearch, int]]:
    return resampling.run_searches(table, precision, repetitions, np.random.default_rng(1), directions=64)


def nominal(covered: int, repetitions: int) -> bool:
    """Return whether 95 % intervals would hold the truth this often by chance (two-sided test at 0.002)."""
    low, high = stats.binom.ppf([0.001, 0.999], repetitions, 0.95)
    return bool(low <= covered <= high)


def test_the_radius_of_a_table_is_that_of_its_mean() -> None:
    """Against the root of the mean of the wells, which the table only has at two distances next to it."""
    table, rng = synthetic(), np.random.default_rng(7)
    of_window = 0.04 * rng.standard_normal(60)
    scale = np.exp(np.log(RADIUS) + 0.05 * rng.standard_normal((64, 1)) + of_window)
    truth = brentq(lambda lam: float((1 - np.exp2(-((lam / scale) ** 2))).mean()) - 0.5, 20, 40)
    assert table.radius() == pytest.approx(truth, rel=2e-3)


def test_searches_cover_the_truth_and_no_other() -> None:
    table = synthetic()
    ends = run(table)
    found = resampling.summarize(table.radius(), ends)
    assert nominal(found.covered, found.repetitions)
    assert found.precise == found.repetitions
    wrong = resampling.summarize(1.04 * table.radius(), ends)
    assert not nominal(wrong.covered, wrong.repetitions)


def test_windows_of_one_article_are_drawn_together() -> None:
    """With 60 windows from 20 articles, the interval covers only if the search knows which window is from which."""
    table = synthetic(directions=0.02, windows=0.10, articles=np.arange(60) // 3)
    losses = resampling.ResampledLosses.draw(table, np.random.default_rng(3))
    for label in np.unique(losses.articles):
        drawn = losses.windows[losses.articles == label]
        assert sorted(drawn) == np.flatnonzero(table.articles == table.articles[drawn[0]]).tolist()
    assert len(np.unique(losses.articles)) == 20
    assert (np.diff(losses.articles) != 0).sum() > 30  # in any order
    found = resampling.summarize(table.radius(), run(table, 0.06, 80))
    assert nominal(found.covered, found.repetitions)


def test_the_variance_of_a_sample_is_that_of_directions_and_windows_drawn_with_replacement() -> None:
    """σ²_d/n_d + σ²_w/n_w for the mean of logarithms, which are additive in this table."""
    table, rng = synthetic(), np.random.default_rng(5)
    at = int(np.flatnonzero(table.indices == -11)[0])
    cells = table.totals[:, at].astype(np.float64)
    means = []
    for _ in range(500):
        losses = resampling.ResampledLosses.draw(table, rng, 4)
        means.append(losses.totals(4, [grid(-11, NORM)], 6).mean())
    mean = cells.mean()
    rows, columns = cells.mean(1) - mean, cells.mean(0) - mean
    rest = cells - mean - rows[:, None] - columns
    expected = (rows**2).mean() / 4 + (columns**2).mean() / 6 + (rest**2).mean() / 24
    assert np.var(means) == pytest.approx(expected, rel=4 * np.sqrt(2 / 500))
    assert np.mean(means) == pytest.approx(mean, abs=4 * np.sqrt(expected / 500))


def test_the_cost_counts_every_window_once_at_w_and_at_each_distance() -> None:
    table = synthetic()
    losses = resampling.ResampledLosses.draw(table, np.random.default_rng(1))
    losses.totals(2, [grid(-10, NORM), grid(-9, NORM)], 3)
    losses.totals(4, [grid(-9, NORM)], 5)
    assert losses.evaluations == 2 * 3 + 4 * 5 + 5


def test_the_cheapest_searches_are_those_of_one_round() -> None:
    def ended(rounds: int, low: float, high: float) -> RadiusSearch:
        radius = Crossing(0.5, (low + high) / 2, low, high, (9.0, 11.0), reentry=False)
        real = run(synthetic(), repetitions=1)[0][0]
        each = dataclasses.replace(real.rounds[0], crossing=radius)
        return dataclasses.replace(real, rounds=(each,) * rounds, precision=None)

    ends = [(ended(1, 9, 11), 40), (ended(1, 11, 12), 40), (ended(2, 9.5, 10.5), 90), (ended(3, 8, 9), 200)]
    found = resampling.summarize(10.0, ends)
    assert (found.covered, found.covered_as_computed, found.precise) == (2, 2, 0)
    assert (found.one_round, found.covered_in_one_round) == (2, 1)
    assert (found.evaluations, found.evaluations_90) == (65, 167)
    row = {"model": "m", "precision": 0.05, "directions": 64, "windows": 60, "articles": 20}
    shown = resampling_table.line(row | dataclasses.asdict(found))
    half = "50.0% (6.8 to 93.2)"  # 2 of 4: the ends solve P(X ≥ 2) and P(X ≤ 2) = 2.5 %
    assert shown.startswith(f"| m | 64 × 60 (20) | ±5% | 0.0% | +0.00% | {half} | {half} | ±5.4% | 65 | 167 |")
    assert shown.endswith("| 50.0% (1.3 to 98.7) of 50% |")


def test_the_half_width_of_a_search_is_the_requested_one_and_that_of_the_computed_interval_less() -> None:
    ends = run(synthetic(), 0.05, 20)
    found = resampling.summarize(1.0, ends)
    widths = [(each.rounds[-1].crossing, each.radius) for each, _ in ends]
    computed = sorted((last.high - last.value) / last.value for last, _ in widths if last.value)
    assert found.half_width == pytest.approx(0.05)
    assert found.half_width_as_computed == pytest.approx((computed[9] + computed[10]) / 2)
    assert found.half_width_as_computed < 0.05


def test_an_interrupted_run_goes_on_with_the_rows_that_are_missing() -> None:
    every = resample.keys()
    kept = [key | {"covered": 1} for key in every[:3]]
    assert resample.wanted("", kept) == every[3:]
    assert resample.wanted("", []) == every
    assert {key["model"] for key in resample.wanted("nano", [])} == {"opt-nano"}


def thinned(table: LossTable, index: int, count: int = 2) -> LossTable:
    """Keep only the first directions at one distance."""
    at = int(np.flatnonzero(table.indices == index)[0])
    counts, totals = table.counts.copy(), table.totals.copy()
    counts[at] = count
    totals[count:, at] = np.nan
    return dataclasses.replace(table, counts=counts, totals=totals)


def test_a_few_directions_stand_in_only_on_one_side_of_the_level(tmp_path: Path) -> None:
    """R lies at step −11.3: at −16 no cell has risen that far; at −11 some have."""
    table = thinned(synthetic(), -16)
    assert (table.losses(np.array([4, 5]), -16) == table.losses(np.array([0, 1]), -16)).all()
    with pytest.raises(ValueError, match=r"2 directions to lie on one side of the level.*step -11.*evaluate them all"):
        thinned(table, -11)
    table.save(tmp_path / "t.npz")
    again = LossTable.load(tmp_path / "t.npz")
    for name, value in vars(table).items():
        assert np.array_equal(getattr(again, name), value, equal_nan=name == "totals"), name


def test_an_interval_made_from_directions_that_stand_in_is_refused() -> None:
    table = synthetic()
    found = run(table, repetitions=1)[0][0]
    upper = round(step_of(found.radius.bracket[1], NORM))
    resampling.check_rounds(table, found)
    object.__setattr__(
        table, "counts", np.where(table.indices == upper, 2, 64)
    )  # the check of the table itself would refuse it first
    with pytest.raises(ValueError, match="evaluate more steps"):
        resampling.check_rounds(table, found)
    with pytest.raises(ValueError, match="expected a distance of the table"):
        table.losses(np.array([0]), 5)


def test_the_steps_of_a_table_are_those_that_a_search_can_visit() -> None:
    """The pilot starts at −16 and strides by 4; from where it stops the search walks step by step."""
    assert real_table.near(-4.12, 1) == [-6, -5, -4, -3]
    assert real_table.far(-7, -2) == [-16, -12, -8, -1, 0]
    assert real_table.far(-20, -17) == [-16]
    assert real_table.far(-25, -22) == [-28, -21, -20, -16]


def test_every_table_has_its_rows() -> None:
    """The rows are of the committed tables, and their truth is the table's."""
    rows = read_rows(resampling_table.ROWS)
    assert [{key: row[key] for key in ("model", "precision")} for row in rows] == resample.keys()
    for file in resample.tables():
        table = LossTable.load(file)
        assert file.stat().st_size < 1e6
        assert {row["truth"] for row in rows if row["model"] == file.stem} == {table.radius()}


def test_the_committed_rows_are_what_the_search_gives() -> None:
    """A few searches of the rows of the defaults cost what the row says; a changed search needs new rows."""
    for row in read_rows(resampling_table.ROWS):
        if row["precision"] < 0.05:
            continue  # the same search, at many times the time
        table = LossTable.load(resample.HERE / "tables" / f"{row['model']}.npz")
        ends = resampling.run_searches(table, row["precision"], 100, np.random.default_rng(2))
        found = resampling.summarize(row["truth"], ends)
        assert found.evaluations == pytest.approx(row["evaluations"], rel=0.35)
        assert found.covered / 100 == pytest.approx(row["covered"] / row["repetitions"], abs=0.09)
