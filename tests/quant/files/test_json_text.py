"""Test that each way in which JSON fails ends in one sentence."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from quant.errors import CheckpointError, StoreError, ToolkitError
from quant.files.json_text import DEEPEST, json_kind, parse_json, parse_object, read_bytes, read_object

FAULTS = {
    "": "an empty text",
    " \n": "an empty text",
    "{": "line 1, column 2",
    '{"a": 1,\n b}': "line 2, column 2",
    "[" * 100_000: "more than 100 deep",
    "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1): "more than 100 deep",
    '{"a":' * 150 + "1" + "}" * 150: "more than 100 deep",
    "9" * 5000: "an integer of 5000 digits",
    "9" * 400: "an integer of 400 digits",
    "[1e999]": "1e999, which no float can hold",
    '{"a": NaN}': "NaN, which is no number of JSON",
    '{"a": -Infinity}': "-Infinity, which is no number of JSON",
    '{"a": 1, "b": 2, "a": 3}': "two values under the name 'a'",
    '{"a": 1, "a": true}': "two values under the name 'a'",
    '{"a": [1], "a": [true]}': "two values under the name 'a'",
    "\ufeff{}": "a byte order mark",
}


@pytest.mark.parametrize("text", FAULTS, ids=lambda text: text[:8])
def test_each_fault_is_one_sentence(text: str) -> None:
    for given in (text, text.encode()):
        with pytest.raises(StoreError, match=FAULTS[text].replace("(", r"\(")) as raised:
            parse_json(given, "a.json", StoreError, "run it again")
        message = str(raised.value)
        assert message.startswith("expected JSON in a.json, got ")
        assert message.endswith("; run it again")
        assert "\n" not in message
        assert len(message) < 200


def test_bytes_that_are_not_utf8_are_named() -> None:
    with pytest.raises(ToolkitError, match="got byte 2 = 0xff, which is not UTF-8"):
        parse_json(b'{"\xff": 1}', "a.json", ToolkitError)


def test_what_other_tools_write_can_be_taken() -> None:
    assert parse_json("[Infinity, 1e999]", "a", ToolkitError, nonfinite=True) == [float("inf")] * 2
    assert math.isnan(parse_json('{"a": NaN, "a": NaN}', "a", ToolkitError, nonfinite=True)["a"])
    assert parse_json('{"a": 1, "a": 2}', "a", ToolkitError, repeated=True) == {"a": 2}
    assert parse_json('{"a": [1], "a": [1]}', "a", ToolkitError) == {"a": [1]}
    longest = 1000000000000000019884624838656
    assert parse_json(str(longest), "a", ToolkitError) == longest
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert parse_json(deep, "a", ToolkitError)


@pytest.mark.parametrize("text", ["null", "true", '"a"', "1", "1.5", "[]"])
def test_an_object_is_one(text: str) -> None:
    kind = json_kind(parse_json(text, "a", ToolkitError))
    with pytest.raises(CheckpointError, match=f"expected a JSON object in a.json, got {kind}$"):
        parse_object(text, "a.json", CheckpointError)
    assert parse_object('{"a": 1}', "a.json", CheckpointError) == {"a": 1}


def test_a_file_is_read_only_where_it_is_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": 1}')
    assert read_object(file, StoreError) == {"a": 1}
    with pytest.raises(StoreError, match="at most 0 MiB of JSON"):
        read_bytes(file, StoreError, most=4)
    with pytest.raises(StoreError, match=r"cannot read .*b\.json: No such file"):
        read_object(tmp_path / "b.json", StoreError)
    with pytest.raises(StoreError, match="found a folder; name a file"):
        read_object(tmp_path, StoreError, "name a file")
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="found a pipe"):
        read_object(pipe, StoreError)
