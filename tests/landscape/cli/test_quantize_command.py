"""``landscape quantize`` as a user runs it: what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from quant import QuantScheme, load_checkpoint, rtn
from quant.center import Center
from quant.space import distance, norm
from tests.landscape.cli.asking import Run


def test_its_json_is_what_was_made_and_where_it_lies(run: Run, tmp_path: Path) -> None:
    words = ["--bits", 3, "--method", "rtn", "--store", tmp_path / "store", "--export", tmp_path / "out"]
    code, out, err = run("quantize", *words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert set(found) == {
        "schema_version", "model", "point", "distance", "norm", "size", "rounding", "experts", "export",
    }  # fmt: skip
    checkpoint = load_checkpoint("opt-nano")
    center = Center.of(checkpoint.model, checkpoint.space)
    point = rtn(checkpoint.space, center, QuantScheme(3))
    assert (found["model"], found["point"]) == ("opt-nano", "rtn-int3-exact")
    assert found["distance"] == pytest.approx(distance(checkpoint.space, center, point))
    assert found["norm"] == pytest.approx(norm(checkpoint.space, center))
    assert found["rounding"]["over_optimum"] == pytest.approx(1.0)
    assert found["rounding"]["reference"] == "exact"
    assert 0 < found["rounding"]["clipped_fraction"] < found["rounding"]["zero_fraction"] < 1
    assert found["experts"] is None
    assert AutoModelForCausalLM.from_pretrained(found["export"]).config.model_type == "opt"


def test_off_the_grid_there_is_no_rounding(run: Run, tmp_path: Path) -> None:
    words = ["--bits", 4, "--method", "awq", "--seq-len", 32, "--calibration-windows", 2]
    code, out, err = run("quantize", *words, "--store", tmp_path / "store", "--export", tmp_path / "out", "--json")
    assert code == 0, err
    assert json.loads(out)["rounding"] is None


def test_for_people_it_ends_with_the_next_command(run: Run, tmp_path: Path) -> None:
    words = ["--bits", 3, "--method", "rtn", "--store", tmp_path / "store", "--export", tmp_path / "out"]
    code, out, err = run("quantize", *words)
    assert code == 0, err
    *_, load, following = out.splitlines()
    assert load.startswith("AutoModelForCausalLM.from_pretrained(")
    assert following == (
        f"next   landscape probe --model opt-nano --data tales --bits 3 --methods rtn --store {tmp_path / 'store'}"
        "    # how much loss does it cost?"
    )
