"""The table as a whole: as wide as it says, repeatable, and its page up to date."""

from __future__ import annotations

import torch

from tests.families import FAMILIES, render, train_briefly


def test_the_table_is_as_wide_as_it_says() -> None:
    kinds = [family.kind for family in FAMILIES.values()]
    assert kinds.count("dense") >= 30
    assert kinds.count("mixture") >= 12
    assert kinds.count("recurrent") >= 12
    assert sum(bool(family.refusal) for family in FAMILIES.values()) <= 2


def test_training_is_repeatable() -> None:
    family = FAMILIES["qwen3_moe"]
    first, again = family.build(), family.build()
    for model in (first, again):
        train_briefly(model, family.steps)
    assert all(torch.equal(value, first.state_dict()[name]) for name, value in again.state_dict().items())


def test_the_page_is_up_to_date() -> None:
    assert render.PAGE.read_text(encoding="utf-8") == render.page(), "run python -m tests.families.render"
