"""What R costs: the table is made of the rows, and the radii of several seeds agree or do not."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.radius import table


def search(seed: int, radius: float, error: float, df: float = 6.0) -> dict:
    half = error * stats.t.ppf(0.975, df)
    return {
        "kind": "search", "model": "m", "precision": 0.05, "seed": seed, "seq_len": 64, "directions": 4, "windows": 7,
        "radius": radius, "low": radius - half, "high": radius + half, "error": error, "df": df, "norm": 50.0,
        "half_width": half / radius, "evaluations": 90, "tokens": 90 * 64,
    }  # fmt: skip


def test_the_homogeneity_of_radii_is_welchs_test() -> None:
    """Against scipy's, on samples whose means and standard errors stand for the radii."""
    rng = np.random.default_rng(4)
    samples = [rng.normal(mean, scale, size) for mean, scale, size in ((10, 1, 7), (10.5, 2, 12), (11, 0.5, 5))]
    members = [
        search(i, float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))), len(x) - 1) for i, x in enumerate(samples)
    ]
    expected = stats.f_oneway(*samples, equal_var=False)
    found = table.homogeneity(members)
    assert (found.f, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.p == pytest.approx(stats.f.sf(found.f, 2, found.df))
    alike = table.homogeneity([{**row, "df": 1e9} for row in members])  # errors that are known: χ²
    assert alike.p == pytest.approx(alike.p_known, rel=1e-6)
    assert found.p_known == alike.p_known


def test_pairs_of_seeds_are_within_the_combined_interval_or_not() -> None:
    """Half widths 3 and 4 combine to 5."""
    members = [{**search(i, r, 1.0), "low": r - half} for i, (r, half) in enumerate([(100, 3), (104.9, 4), (106, 4)])]
    said = table.agreement(members)
    assert said.startswith("2 of 3 pairs within the combined interval (largest 1.20 of it)")


def test_the_share_is_of_the_tokens() -> None:
    fixed = {
        **search(0, 100.0, 1.0), "kind": "fixed", "lambdas": 20, "measured": 2, "directions": 32, "windows": 5,
        "evaluations": 3205, "tokens": 3205 * 64, "half_width_of_two": 0.04,
    }  # fmt: skip
    dear = {**search(1, 99.0, 1.0), "evaluations": 190, "tokens": 190 * 64}
    lines = list(table.cost([search(0, 101.0, 1.0), fixed, dear]))
    assert len(lines) == 5
    assert lines[2].endswith(f"| 90 | 5,760 | {90 / 3205:.1%} |")
    assert lines[3] == f"| m | the same, median of 2 seeds | | | | 140 | 8,960 | **{140 / 3205:.1%}** |"
    assert "32 × 5 × 20 (2 evaluated, the rest counted)" in lines[4]
    assert len(list(table.of_two([fixed]))) == 2  # nothing to compare with


def test_the_tables_of_cost_are_those_of_the_rows() -> None:
    assert table.PAGE.filled(table.tables(table.rows())) == table.PAGE.text
    fixed = [row for row in table.rows() if row["kind"] == "fixed"]
    searches = {(row["model"], row["seed"]): row for row in table.rows() if row["kind"] == "search"}
    assert fixed
    for row in fixed:
        own = searches[row["model"], row["seed"]]
        assert row["half_width"] <= own["half_width"]
        assert own["tokens"] <= row["tokens"] / 5
