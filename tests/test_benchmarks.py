"""The tables of the benchmarks say what their rows do, and 'fails' where the numbers do."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("comparison_table", ROOT / "benchmarks" / "comparison_table.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["comparison_table"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def row(method: str, test: float, distance: float, below: float = 0.0) -> dict:
    errors = {split: {"mean_of_layers": 0.5, "layers_below": below} for split in ("train", "test")}
    return {
        "key": f"{method} int4-exact", "method": method, "bits": 4, "scale": "exact", "cpu_seconds": 1.0,
        "nll": {"validation": 3.0, "test": test}, "distance": distance, "layer_error": errors,
    }  # fmt: skip


def free(key: str, test: float) -> dict:
    return {"key": key, "method": key.split()[0], "cpu_seconds": 0.0, "nll": {"validation": 3.0, "test": test}}


def rows(gptq: float, qaft: float, control: float) -> list[dict]:
    return [
        free("w", 3.0),
        row("rtn", 4.0, 0.1),
        row("gptq", gptq, 0.2, below=0.9),
        row("qaft", qaft, 0.1005, below=0.1),
        free("w_ft 1e-05,0.0001", control),
    ]


def verdicts(lines: list[str]) -> list[str]:
    return [cell.strip() for line in lines[2:] for cell in line.split("|")[3:-1]]


def test_claims_that_hold(maker: ModuleType) -> None:
    """M = (3.6 − 3.0) − (3.2 − 2.9) = 0.3."""
    assert verdicts(list(maker.claims(rows(3.6, 3.2, 2.9)))) == [
        "holds 0.900", "holds 0.100", "holds 0.400", "holds 0.300", "holds 2.000", "holds 1.005",
    ]  # fmt: skip


def test_claims_that_fail(maker: ModuleType) -> None:
    """QAFT gains 0.1 over GPTQ, and plain fine-tuning 0.5 over w."""
    measured = rows(3.3, 3.2, 2.5)
    measured[2]["distance"], measured[3]["distance"] = 0.09, 0.12
    measured[2]["layer_error"], measured[3]["layer_error"] = measured[3]["layer_error"], measured[2]["layer_error"]
    assert verdicts(list(maker.claims(measured))) == [
        "**fails** 0.100", "**fails** 0.900", "holds 0.100", "**fails** -0.400", "**fails** 0.900", "**fails** 1.200",
    ]  # fmt: skip


def test_a_grid_that_is_not_finished_makes_no_claim(maker: ModuleType) -> None:
    assert verdicts(list(maker.claims(rows(3.6, 3.2, 2.9)[:-1]))) == []
    assert len(list(maker.table(rows(3.6, 3.2, 2.9)))) == 2 + 5


def test_the_tables_in_the_readme_are_those_of_the_rows(maker: ModuleType) -> None:
    file = ROOT / "benchmarks" / "comparison-smollm2-135m.jsonl"
    measured = [json.loads(line) for line in file.read_text().splitlines()]
    text = maker.README.read_text()
    again = maker.replace(maker.replace(text, "comparison", maker.table(measured)), "claims", maker.claims(measured))
    assert again == text


# --- what R costs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("radius_cost_table", ROOT / "benchmarks" / "radius_cost_table.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["radius_cost_table"] = module
    spec.loader.exec_module(module)
    return module


def search(seed: int, radius: float, error: float, df: float = 6.0) -> dict:
    half = error * stats.t.ppf(0.975, df)
    return {
        "kind": "search", "model": "m", "precision": 0.05, "seed": seed, "seq_len": 64, "directions": 4, "windows": 7,
        "radius": radius, "low": radius - half, "high": radius + half, "error": error, "df": df, "norm": 50.0,
        "half_width": half / radius, "evaluations": 90, "tokens": 90 * 64,
    }  # fmt: skip


def test_the_homogeneity_of_radii_is_welchs_test(coster: ModuleType) -> None:
    """Against scipy's, on samples whose means and standard errors stand for the radii."""
    rng = np.random.default_rng(4)
    samples = [rng.normal(mean, scale, size) for mean, scale, size in ((10, 1, 7), (10.5, 2, 12), (11, 0.5, 5))]
    members = [
        search(i, float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))), len(x) - 1) for i, x in enumerate(samples)
    ]
    expected = stats.f_oneway(*samples, equal_var=False)
    assert coster.homogeneity(members).p == pytest.approx(expected.pvalue)
    alike = [{**row, "df": 1e9} for row in members]  # errors that are known: χ²
    found = coster.homogeneity(alike)
    assert found.p == pytest.approx(stats.chi2.sf(found.chi2, 2), rel=1e-6)


def test_pairs_of_seeds_are_within_the_combined_interval_or_not(coster: ModuleType) -> None:
    """Half widths 3 and 4 combine to 5."""
    members = [{**search(i, r, 1.0), "low": r - half} for i, (r, half) in enumerate([(100, 3), (104.9, 4), (106, 4)])]
    said = coster.agreement(members)
    assert said.startswith("2 of 3 pairs within the combined interval (largest 1.20 of it)")


def test_the_share_is_of_the_tokens(coster: ModuleType) -> None:
    fixed = {
        **search(0, 100.0, 1.0), "kind": "fixed", "lambdas": 20, "measured": 2, "directions": 32, "windows": 5,
        "evaluations": 3205, "tokens": 3205 * 64, "half_width_of_two": 0.04,
    }  # fmt: skip
    lines = list(coster.cost([search(0, 101.0, 1.0), fixed, search(1, 99.0, 1.0)]))
    assert len(lines) == 4
    assert lines[2].endswith(f"| 90 | 5,760 | **{90 / 3205:.1%}** |")
    assert "32 × 5 × 20 (2 evaluated, the rest counted)" in lines[3]
    assert len(list(coster.of_two([fixed]))) == 2  # nothing to compare with


def test_the_tables_of_cost_are_those_of_the_rows(coster: ModuleType) -> None:
    text = coster.PAGE.read_text()
    assert coster.page(text, coster.rows()) == text
    fixed = [row for row in coster.rows() if row["kind"] == "fixed"]
    searches = {(row["model"], row["seed"]): row for row in coster.rows() if row["kind"] == "search"}
    assert fixed
    for row in fixed:
        own = searches[row["model"], row["seed"]]
        assert row["half_width"] <= own["half_width"]
        assert own["tokens"] <= row["tokens"] / 5
