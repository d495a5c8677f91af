"""Each parser on some changed input: it reads it, or refuses it in a sentence. ``sweep`` does so for an hour."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.torture.parser_outcomes import outcome
from tests.torture.parsers import PARSERS, Parser

FEW = {"gguf": 8, "training": 6, "name": 10, "option": 20}
"""Examples of parsers that are slow; each of the others has 30, and those that load a model 10."""


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_changed_input_is_read_or_refused_in_a_sentence(parser: Parser) -> None:
    examples = FEW.get(parser.name, 10 if parser.loads_model else 30)

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(parser.make)
    def read(value: Any) -> None:
        assert outcome(parser, value) in ("read", "refused")

    read()
