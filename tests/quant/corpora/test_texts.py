"""Find the files of a corpus by the names that people give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from quant.corpora.texts import read_texts
from quant.errors import CorpusError
from tests.quant.corpora.documents import PACKED, STORY, jsonl, parquet


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("train.jsonl", "val.jsonl.gz", "test.parquet"),
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("wiki.train.raw", "wiki.dev.raw", "wiki.test.raw"),
        ("ptb-train.txt", "ptb-val.txt.xz", "ptb-test.txt"),
        ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
    ],
)
def test_the_usual_names(names: tuple[str, ...], tmp_path: Path) -> None:
    for index, name in enumerate(names):
        content = f"Split {index}."
        made = jsonl([content]) if ".jsonl" in name else parquet([content]) if "parquet" in name else content.encode()
        packed = next(p for p in sorted(PACKED, key=len, reverse=True) if name.endswith(p))
        (tmp_path / name).write_bytes(PACKED[packed](made))
    (tmp_path / "README.md").write_text("not a split")
    (tmp_path / "latest.txt").write_text("not a split")
    assert {split: text.content for split, text in read_texts(str(tmp_path)).items()} == {
        "train": "Split 0.", "validation": "Split 1.", "test": "Split 2.",
    }  # fmt: skip


@pytest.mark.parametrize(
    "names", [("train.txt", "train.jsonl"), ("train.txt", "Train.txt.gz"), ("validation.txt", "val.txt")]
)
def test_a_doubled_split_is_an_error(names: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(STORY.encode())
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CorpusError, match=r"expected one file of (train|validation) in .* and ") as caught:
        read_texts(str(tmp_path))
    assert all(name in str(caught.value) for name in names)


def test_parts_are_joined_in_order_and_all_must_be_there(tmp_path: Path) -> None:
    for split in ("validation", "test"):
        (tmp_path / f"{split}.txt").write_text("x")
    for part in range(3):
        (tmp_path / f"train-0000{part}-of-00003.parquet").write_bytes(parquet([f"part {part}"]))
    assert read_texts(str(tmp_path))["train"].content == "part 0\n\npart 1\n\npart 2"
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(CorpusError, match=r"expected 3 parts of train in .*, found 2"):
        read_texts(str(tmp_path))
    (tmp_path / "train-00002-of-00003.parquet").unlink()
    with pytest.raises(CorpusError, match=r"expected 3 parts of train in .*, found 1"):
        read_texts(str(tmp_path))
