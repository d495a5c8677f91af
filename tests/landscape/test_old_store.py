"""A store that an earlier version wrote is read, and every number in it stays.

Nothing is evaluated again but the points, which a survey now compares with w.

``data/old-store`` is what two commands left behind, without its tokens. Their version was the first that drew
directions from raw words of Philox and ran the head on some tokens at a time (``EVALUATION`` 3); stores of earlier
versions sum in another order, and are refused by name:

    landscape probe --bits 2 --methods rtn,gptq --directions 2 --windows 2 --test-windows 2 --lambda-count 4 --alphas 2
        --refinements 1 --calibration-windows 2
    landscape radius --precision 0.3

both with ``--model opt-nano --seq-len 32`` and all but two matrices excluded. The JSON beside it is what they printed,
less the folders and times.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from landscape import PRESETS, RadiusRequest, SurveyRequest, measure_radius, probe, to_json
from landscape.report.radius import radius_json
from quant.errors import StoreError

DATA = Path(__file__).parent / "data"
EXCLUDED = (
    "*.fc1.*", "*.fc2.*", "*.k_proj.*", "*.v_proj.*", "*.q_proj.*", "*.layers.1.*", "*.layers.2.*", "*.layers.3.*",
)  # fmt: skip
NUMBERS = {
    "train_windows": 2, "validation_windows": 2, "test_windows": 2, "seq_len": 32, "lambdas": 4, "alphas": 2,
    "refinements": 1, "calibration_windows": 2,
}  # fmt: skip
LAST_DIGITS = 1e-12
"""Relative: sums of numpy over the stored losses may differ so much from one kind of CPU to another."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    shutil.copytree(DATA / "old-store", tmp_path / "store")
    return tmp_path / "store"


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers of a JSON object with their paths."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from numbers(each, f"{path}/{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from numbers(each, f"{path}/{index}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def assert_same(found: dict[str, Any], name: str) -> None:
    old, new = dict(numbers(json.loads((DATA / name).read_text()))), dict(numbers(found))
    for changed in ("/schema_version", "/probes/cached", "/probes/evaluated"):
        old.pop(changed, None)
    assert len(old) > 15
    assert old.keys() <= new.keys()
    assert not {path: (number, new[path]) for path, number in old.items() if not close(number, new[path])}


def close(old: float, new: float) -> bool:
    return math.isclose(old, new, rel_tol=LAST_DIGITS)


def test_a_survey_of_an_old_store_compares_its_points_with_w_and_finds_the_same_numbers(store: Path) -> None:
    preset = replace(PRESETS["quick"], **NUMBERS)
    request = SurveyRequest(
        exclude=EXCLUDED, bits=(2,), methods=("rtn", "gptq"), directions=2, preset=preset, store=store
    )
    for evaluated in (3 * 6, 0):  # w and two points on six windows: their losses stay as they were
        result = probe(request)
        assert result.run.probes.evaluated == evaluated
        assert_same(to_json(result), "old-store-probe.json")


def test_a_radius_from_an_old_store_evaluates_nothing_and_is_the_same(store: Path) -> None:
    result = measure_radius(RadiusRequest(exclude=EXCLUDED, seq_len=32, precision=0.3, store=store))
    assert result.run.probes.evaluated == 0
    assert_same(radius_json(result), "old-store-radius.json")


@pytest.mark.parametrize("damaged", ["", "{", '{"schema_version": 1, "settings": {"threads": 1, "evaluation": 0}}'])
def test_an_old_store_whose_settings_are_damaged_is_refused(store: Path, damaged: str) -> None:
    """Nothing says which version summed its losses; earlier code took them for its own."""
    (settings,) = store.glob("*/settings.json")
    settings.write_text(damaged)
    with pytest.raises(StoreError, match=r"expected the version of the evaluation in settings\.json of .*; remove"):
        measure_radius(RadiusRequest("opt-nano", seq_len=32, exclude=EXCLUDED, store=store))


def test_a_changed_loss_would_be_seen() -> None:
    old = json.loads((DATA / "old-store-probe.json").read_text())
    old["center"]["validation"] += 1e-9
    with pytest.raises(AssertionError):
        assert_same(old, "old-store-probe.json")
