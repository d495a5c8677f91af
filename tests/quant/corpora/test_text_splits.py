"""Cut missing splits from the training split, by article where articles are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from quant.corpora.text_files import Text
from quant.corpora.text_splits import complete
from quant.corpora.texts import read_texts
from quant.errors import CorpusError
from tests.quant.corpora.documents import DOCUMENTS, PACKED, articles, jsonl


@pytest.mark.parametrize("packed", PACKED)
def test_a_single_text_file_is_cut_between_lines(packed: str, tmp_path: Path) -> None:
    path = tmp_path / f"any.txt{packed}"
    path.write_bytes(PACKED[packed]("".join(f"line {i}\n" for i in range(1000)).encode()))
    texts = read_texts(str(path))
    assert "".join(text.content for text in texts.values()) == "".join(f"line {i}\n" for i in range(1000))
    assert all(text.content.startswith("line ") and text.starts is None for text in texts.values())
    assert len(texts["test"].content) == pytest.approx(len(texts["train"].content) / 8, rel=0.01)
    assert "contiguous parts" in texts["validation"].note


@pytest.mark.parametrize("test", ["Same text.\n" * 9, "Same text.\n" * 4])
def test_a_split_that_is_in_another_is_noted(test: str, tmp_path: Path) -> None:
    for split, content in (("train", "Same text.\n" * 9), ("validation", "Another."), ("test", test)):
        (tmp_path / f"{split}.txt").write_text(content)
    texts = read_texts(str(tmp_path))
    assert texts["test"].note == "All of test is also in train, so that it is no unseen text."
    assert not texts["validation"].note


@pytest.mark.parametrize("missing", [("validation",), ("test",), ("validation", "test")])
def test_a_missing_split_is_cut_from_train(missing: tuple[str, ...], tmp_path: Path) -> None:
    for split in {"train", "validation", "test"} - set(missing):
        (tmp_path / f"{split}.jsonl").write_bytes(jsonl(DOCUMENTS if split == "train" else [f"The {split}."]))
    texts = read_texts(str(tmp_path))
    assert set(texts) == {"train", "validation", "test"}
    cut = [a.removesuffix("\n\n") for split in ("train", *missing) for a in articles(texts[split])]
    assert cut == DOCUMENTS
    notes = [text.note for text in texts.values() if text.note]
    assert len(notes) == 1
    assert all(f"no {split}" in notes[0] for split in missing)


def test_one_huge_article_is_cut_with_a_note() -> None:
    text = Text("".join(f"line {i}\n" for i in range(100)), (0,))
    texts = complete({"train": text}, "it")
    assert "".join(t.content for t in texts.values()) == text.content
    assert "too few" in texts["validation"].note
    assert [t.starts for t in texts.values()] == [(0,), (0,), (0,)]


def test_a_large_article_at_the_end_leaves_one_for_each_split() -> None:
    content, starts = "a" * 10 + "b" * 10 + "c" * 980, (0, 10, 20)
    texts = complete({"train": Text(content, starts)}, "it")
    assert [t.content[0] for t in texts.values()] == ["a", "b", "c"]


def test_no_train_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"expected train in .*, found test"):
        read_texts(str(tmp_path))
