"""No held-out story is among those to train on, and the texts are read as they stand."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np

from benchmarks.models import raw_tales, texts
from data.corpus import parse
from quant.corpora.texts import Text, read_texts

NEW = "A mole with one boot dug a tunnel to the sea.\n\nThere he sold pies, and nobody asked him why or how."


def write_raw(folder: Path, stories: list[str]) -> Path:
    folder.mkdir()
    lines = "".join(json.dumps({"ask": "", "done": True, "text": story}) + "\n" for story in stories)
    (folder / "tales-1.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    return folder


def test_raw_forms_of_known_stories_are_left_out(tmp_path: Path) -> None:
    """With a title, other quotes, cases and line ends, and a tail that the corpus cut off."""
    splits = {split: parse(text.content) for split, text in read_texts("tales").items()}
    test, validation, train = (splits[split][0] for split in ("test", "validation", "train"))
    raws = [
        f"The Title\n\n{test}\n\nAnd then it went on and",
        validation.replace("'", "’").replace(" ", "  ").upper(),
        train.replace("\n", "\r\n"),
        NEW,
    ]
    known = [story for stories in splits.values() for story in stories]
    assert raw_tales.new_stories(write_raw(tmp_path / "raw", raws), known) == [NEW.replace("\n\n", "\n")]


def test_a_shared_phrase_makes_a_story_known_only_if_it_is_long(tmp_path: Path) -> None:
    words = [f"{letter}{letter}" for letter in "abcdefghijklmnop"]
    eleven, twelve = " ".join(words[: raw_tales.RUN - 1]), " ".join(words[: raw_tales.RUN])
    folder = write_raw(tmp_path / "raw", [f"Once {eleven}, and so on.", f"Once {twelve}, and so on."])
    assert raw_tales.new_stories(folder, [" ".join(words)]) == [f"Once {eleven}, and so on."]


def test_tales_are_the_train_split_and_what_is_new(tmp_path: Path) -> None:
    text = texts.tales(write_raw(tmp_path / "raw", [NEW]))
    *built_in, last = (text.tokenizer.decode(document) for document in text.documents)
    assert "".join(built_in) == read_texts("tales")["train"].content
    assert last == "</s>" + NEW.replace("\n\n", "\n") + "\n"
    assert all(document[0] == 0 for document in text.documents)


def test_articles_make_up_the_text() -> None:
    assert texts.articles(Text("abcdef", (0, 2, 5))) == ["ab", "cde", "f"]
    assert texts.articles(Text("abcdef", None)) == ["abcdef"]


def test_validation_windows_are_spread_from_the_first_to_the_last() -> None:
    ids = np.arange(1003)
    text = texts.TrainingText("", None, [], ids)  # type: ignore[arg-type]
    rows = text.spread(5).reshape(-1, 5)
    assert len(rows) == texts.SPREAD
    assert (rows[0, 0], rows[-1, -1]) == (0, 999)
    assert (rows[:, 0] % 5 == 0).all()
    assert (np.diff(rows[:, 0]) > 0).all()
    np.testing.assert_array_equal(texts.TrainingText("", None, [], ids[:23]).spread(5), ids[:20])  # type: ignore[arg-type]
