"""The cleaning of the raw stories, on stories small enough to check by eye."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

CLEAN = Path(__file__).parents[2] / "data" / "clean.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tales_clean", CLEAN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


clean = load()

STORY = (
    "Once there was a fox who lived by the sea. Every morning she looked for shells on the long white beach. "
    "One day a gull asked her for help with a broken nest. They carried twigs and moss to the top of the cliff. "
    "At noon the sun came out and warmed their backs. The gull laid two eggs in the new nest and sang a song."
)
OTHER = (
    "Ben was a baker in a town with a tall clock. He rose before anybody else and lit his old oven. "
    "A mouse under the floor loved the smell of warm bread. Each night Ben left a crust beside the flour sack. "
    "In winter the mouse sewed him a scarf from bits of wool. Ben wore it to the market and everyone smiled."
)


def test_normalise_makes_plain_text() -> None:
    assert clean.normalise("“Zoë’s  hat…”\n\n\n said\tBo –  once. \n") == '"Zoe\'s hat..."\nsaid Bo - once.'


def test_title_is_removed_but_not_a_first_sentence() -> None:
    assert clean.strip_title("The Frog and the Boat\nA frog sat down.") == "A frog sat down."
    assert clean.strip_title("A frog sat down.\nIt rained.") == "A frog sat down.\nIt rained."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It rained. The fox ran ho", "It rained."),
        ("It rained. He called Mrs.", "It rained."),
        ("He met Mr. Owl. He told Dr", "He met Mr. Owl."),
        ('It rained. "Run!" said Bo. "I will. But', 'It rained. "Run!" said Bo.'),
        ('It rained.\n"I am here and', "It rained."),
        ("no end at all", ""),
    ],
)
def test_cut_to_sentence(text: str, kept: str) -> None:
    assert clean.cut_to_sentence(text) == kept


@pytest.mark.parametrize(
    "loop",
    [
        "Every morning she looked for shells on the long white beach.",
        "It was so so so good.",
        "It was a special special hat.",
    ],
)
def test_story_is_cut_before_a_loop(loop: str) -> None:
    assert clean.cut_before_loop(f"{STORY} {loop} The end came.") == STORY


def test_small_repetitions_are_no_loop() -> None:
    text = f"{STORY} It was a very very good song, and a really really long one."
    assert clean.cut_before_loop(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (STORY, None),
        (STORY[:120], "too short"),
        (f"{STORY} He drank whisky.", "unfit for children"),
        (f"{STORY} The story is written in simple words.", "talks about itself"),
        (f"{STORY} #sea", "odd characters"),
        (
            " ".join(f"The {animal} is a big animal and {animal} is big." for animal in ["fox", "owl", "cow"] * 4),
            "repetitive",
        ),
    ],
)
def test_fault_names_the_reason(text: str, reason: str | None) -> None:
    assert clean.fault(text, text) == reason


def test_unfit_words_beyond_the_cut_count() -> None:
    assert clean.fault(f"{STORY} Then they killed", STORY) == "unfit for children"


def test_unfit_words_match_whole_words_only() -> None:
    assert clean.unfit_words("Whiskers passed the shell skilfully. Hello, classic grape!") == []
    assert clean.unfit_words("Damn, he had a GUN.") == ["damn", "gun"]


def test_near_duplicate_is_the_later_one() -> None:
    assert clean.near_duplicates([STORY, OTHER, STORY.replace("two eggs", "three eggs")]) == {2}


def test_every_raw_story_is_kept_or_counted_once() -> None:
    raw = [STORY, OTHER, f"{OTHER} The mou", "Too short.", f"{STORY} He had a gun."]
    result = clean.clean_stories(raw)
    assert result.stories == [STORY, OTHER]
    assert result.dropped == {"near duplicate": 1, "too short": 1, "unfit for children": 1}
