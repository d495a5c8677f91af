"""The tables of claims say 'fails' where the numbers do."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from landscape.progress import Silent
from landscape.survey import probe

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    return script("comparison_table")


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
        row("gptq-fp", gptq, 0.2, below=0.8),
        row("qaft", qaft, 0.1005, below=0.1),
        free("w_ft 1e-05,0.0001", control),
    ]


def verdicts(lines: list[str]) -> list[str]:
    return [cell.strip() for line in lines[2:] for cell in line.split("|")[3:-1]]


def test_claims_that_hold(maker: ModuleType) -> None:
    """M = (3.6 − 3.0) − (3.2 − 2.9) = 0.3."""
    assert verdicts(list(maker.claims(rows(3.6, 3.2, 2.9)))) == [
        "holds 0.900", "holds 0.800", "holds 0.100", "holds 0.400", "holds 0.300", "holds 2.000", "holds 1.005",
    ]  # fmt: skip


def test_claims_that_fail(maker: ModuleType) -> None:
    """QAFT gains 0.1 over GPTQ, and plain fine-tuning 0.5 over w."""
    measured = rows(3.3, 3.2, 2.5)
    measured[2]["distance"], measured[4]["distance"] = 0.09, 0.12
    measured[2]["layer_error"], measured[4]["layer_error"] = measured[4]["layer_error"], measured[2]["layer_error"]
    assert verdicts(list(maker.claims(measured))) == [
        "**fails** 0.100", "holds 0.800", "**fails** 0.900", "holds 0.100", "**fails** -0.400", "**fails** 0.900",
        "**fails** 1.200",
    ]  # fmt: skip


def test_a_grid_that_is_not_finished_makes_no_claim(maker: ModuleType) -> None:
    assert verdicts(list(maker.claims(rows(3.6, 3.2, 2.9)[:-1]))) == []
    assert len(list(maker.table(rows(3.6, 3.2, 2.9)))) == 2 + 6


def test_the_tables_in_the_readme_are_those_of_the_rows(maker: ModuleType) -> None:
    file = ROOT / "benchmarks" / "comparison-smollm2-135m.jsonl"
    measured = [json.loads(line) for line in file.read_text().splitlines()]
    text = maker.README.read_text()
    again = maker.replace(maker.replace(text, "comparison", maker.table(measured)), "claims", maker.claims(measured))
    assert again == text


# ---- the paper's claims on the landscape -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def claims_table() -> ModuleType:
    return script("claims_table")


@pytest.fixture(scope="module")
def claims_script() -> ModuleType:
    return script("claims")


def judged(verdict: str, aside: bool = False, **more: object) -> dict:
    estimate = {"value": 1.234567, "low": 1.0, "high": None}
    return {
        "number": 1, "case": "at R", "text": "alike", "measure": "m", "threshold": "≤ 2", "verdict": verdict,
        "estimate": estimate, "note": "too few", "aside": aside,
    } | more  # fmt: skip


def test_a_claim_fails_in_the_table_if_one_case_does(claims_table: ModuleType) -> None:
    assert claims_table.verdict([judged("holds"), judged("fails"), judged("open")]) == (
        "**fails** (1 holds, 1 fails, 1 open)"
    )
    assert claims_table.verdict([judged("holds"), judged("open")]) == "open (1 holds, 1 open)"
    assert claims_table.verdict([judged("holds"), judged("fails", aside=True)]) == "holds (1 holds)"


def test_a_cell_shows_the_number_its_interval_and_what_is_not_known(claims_table: ModuleType) -> None:
    assert claims_table.cell(judged("fails")) == "**fails** 1.23 [1, ∞]"
    exact = judged("holds", estimate={"value": 1.0, "low": 1.0, "high": 1.0})
    assert claims_table.cell(exact) == "holds 1"
    assert claims_table.cell(judged("open", estimate=None)) == "open: too few"
    assert claims_table.cell(None) == ""


def test_the_tables_of_claims_are_those_of_the_rows(claims_table: ModuleType) -> None:
    text = claims_table.PAGE.read_text()
    assert claims_table.rewritten(text, claims_table.models()) == text
    assert "| 6 | " in text


def test_the_commands_on_the_page_ask_for_what_the_rows_hold(
    claims_table: ModuleType, claims_script: ModuleType
) -> None:
    lines = [line.split() for line in claims_table.PAGE.read_text().splitlines() if "benchmarks/claims.py" in line]
    asked = {r.model: r for r in (claims_script.survey(claims_script.parsed(words[2:])) for words in lines)}
    assert tuple(asked) == claims_table.MODELS
    for model in claims_table.models():
        request = asked[model["model"]]
        assert [point["name"] for point in model["points"]] == [wanted.name for wanted in request.wanted]
        assert model["basin"]["directions"] == request.directions
        assert model["settings"]["preset"] == request.preset.name


def test_verdicts_in_the_rows_follow_from_their_numbers(claims_table: ModuleType) -> None:
    """Where the threshold is one number that the interval can be held against."""
    for model in claims_table.models():
        for row in model["claims"]:
            if row["estimate"] is None or row["number"] in (3, 6) or row["threshold"][0] not in "≤>":
                continue
            low, high = (row["estimate"][key] for key in ("low", "high"))
            limit, below = float(row["threshold"][2:]), row["threshold"][0] == "≤"
            sure = {"holds": high, "fails": low} if below else {"holds": low, "fails": high}
            if row["verdict"] == "open":
                assert low is None or high is None or low < limit < high, row
            else:
                assert (sure[row["verdict"]] <= limit) == (below == (row["verdict"] == "holds")), row


def test_the_losses_by_window_are_those_of_the_landscape(claims_script: ModuleType, tmp_path: Path) -> None:
    words = ["--store", str(tmp_path), "--bits", "2", "--scale", "absmax", "--directions", "2"]
    request = claims_script.survey(claims_script.parsed(words))
    preset = dataclasses.replace(request.preset, train_windows=1, validation_windows=2, test_windows=2, seq_len=32)
    request = dataclasses.replace(request, preset=preset, methods=("rtn",))
    found = probe(request)
    evidence = claims_script.gather(request, found, Silent())
    (point,) = found.points
    tokens = evidence.radial.tokens.sum()
    for ray, totals in zip(found.rays, evidence.radial.totals, strict=True):
        assert totals.sum(1) / tokens == pytest.approx(ray.nll["validation"])
    way = evidence.along[point.name]
    assert way.lambdas[-1] == pytest.approx(point.distance)
    assert way.totals[0, -1].sum() / tokens == pytest.approx(point.nll["validation"])
    segment = next(s for s in found.segments if s.b == point.name and s.split == "validation")
    assert way.totals[0].sum(1) / tokens == pytest.approx(segment.nll[2:-1])
    assert evidence.test[point.name].sum() / evidence.test_tokens.sum() == pytest.approx(point.nll["test"])
    written = claims_script.document(found, claims_script.claims(evidence))
    assert json.loads(json.dumps(written, allow_nan=False))["points"][0]["name"] == "rtn-int2-absmax"
