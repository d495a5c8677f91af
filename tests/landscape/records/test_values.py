"""Every field of every result returns from strict JSON to the bit, and nothing is bent to fit."""

import json
import math
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.records.record import KINDS
from landscape.records.values import from_json_values, to_json_values
from landscape.session.training_record import Epoch
from quant.errors import StoreError
from quant.scheme import QuantScheme
from tests.landscape.records.invented import differences, invent, reachable


def strict(values):
    """Through JSON as the standard defines it: NaN and infinity are errors."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(json.dumps(values), parse_constant=refuse)


@pytest.mark.parametrize("kind", KINDS)
def test_any_result_returns_to_the_bit(kind):
    result_type = resolve_name(KINDS[kind])
    for seed in range(30):
        result = invent(result_type, np.random.default_rng(seed))
        again = from_json_values(strict(to_json_values(result)), result_type)
        assert differences(result, again) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_dataclass_in_a_result_returns_by_itself(kind):
    found = reachable(resolve_name(KINDS[kind]))
    assert {Crossing, Estimate} <= found
    for part in found:
        for seed in range(10):
            value = invent(part, np.random.default_rng(seed))
            assert differences(value, from_json_values(strict(to_json_values(value)), part)) == []


def test_the_comparison_sees_what_it_should():
    near = math.nextafter(1.0, 2.0)
    assert differences(Estimate(1.0, 0.0, math.nan), Estimate(near, -0.0, math.nan)) == ["result.value", "result.low"]
    assert differences({"a": (1, 2)}, {"a": [1, 2]})
    assert differences(np.zeros((2, 3)), np.zeros((3, 2)))
    assert differences(np.zeros(2), np.zeros(2, np.float32))
    assert differences({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert differences(1, True)


@dataclass(frozen=True)
class Sample:
    count: int
    share: float
    word: Literal["yes", "no"]
    line: NDArray[np.float64]
    pair: tuple[float, float] = (0.0, 1.0)
    schemes: dict[QuantScheme, float] = field(default_factory=dict)
    epoch: Epoch | None = None


GOOD = {"count": 1, "share": 0.5, "word": "yes", "line": {"dtype": "float64", "shape": [1], "values": [0.5]}}


def test_fields_with_defaults_may_be_missing():
    assert from_json_values(GOOD, Sample).pair == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 1.0}, "expected a whole number, found 1.0 in result.count"),
        ({"count": True}, "expected a whole number, found True in result.count"),
        ({"count": "1"}, "expected a whole number, found '1' in result.count"),
        ({"share": "nan"}, "expected a number, found 'nan' in result.share"),
        ({"share": None}, "expected a number, found None in result.share"),
        ({"word": "maybe"}, "expected one of yes, no, found 'maybe' in result.word"),
        ({"pair": [1.0]}, "expected 2 values, found [1.0] in result.pair"),
        ({"line": [0.5]}, "expected an array with dtype, shape and values, found [0.5] in result.line"),
        ({"line": {**GOOD["line"], "shape": [2]}}, "expected as many numbers as the shape [2] has, found 1"),
        ({"line": {**GOOD["line"], "dtype": "int64"}}, "expected an array of float64, found 'int64' in result.line"),
        ({"epoch": {"rate": None, "epoch": 1}}, "expected the field 'validation_nll', found none in result.epoch"),
        ({"more": 1}, "found unknown fields: more in result"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(change, message):
    with pytest.raises(StoreError) as refused:
        from_json_values({**GOOD, **change}, Sample)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", 1.5), ("share", np.float32(0.1)), ("line", np.zeros(2, np.float32)), ("pair", [0.0, 1.0]), ("word", 3)],
)
def test_what_would_return_as_something_else_is_not_written(name, value):
    sample = Sample(1, 0.5, "yes", np.zeros(1))
    object.__setattr__(sample, name, value)
    with pytest.raises(TypeError, match="expected"):
        to_json_values(sample)
