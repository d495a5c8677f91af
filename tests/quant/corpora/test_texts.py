"""Texts as people have them: other files, other names, other line ends, splits that are missing."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import re
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from quant.checkpoints import hub
from quant.corpora.text_files import Text, plain_text
from quant.corpora.text_splits import complete
from quant.corpora.texts import read_texts
from quant.errors import CorpusError, ToolkitError, UsageError

STORY = "One day.\n\nThe end.\n"
DOCUMENTS = [f"Document {i} begins.\nIt has {i} words." for i in range(20)]


def articles(text: Text) -> list[str]:
    assert text.starts is not None
    return [text.content[a:b] for a, b in zip(text.starts, (*text.starts[1:], None), strict=True)]


def jsonl(documents: list[str]) -> bytes:
    return "".join(
        json.dumps({"id": i, "text": d}, ensure_ascii=False) + "\n" for i, d in enumerate(documents)
    ).encode()


def parquet(documents: list[str | None]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(documents, pyarrow.string())}), sink)
    return sink.getvalue().to_pybytes()


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKED = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstd}


# ---- line ends, byte order marks, stripped rows ------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        STORY.encode(),
        STORY.replace("\n", "\r\n").encode(),
        STORY.replace("\n", "\r").encode(),
        codecs.BOM_UTF8 + STORY.encode(),
        STORY.encode("utf-16"),
        codecs.BOM_UTF16_BE + STORY.encode("utf-16-be"),
        STORY.encode("utf-32"),
    ],
    ids=["plain", "CRLF", "CR", "BOM", "UTF-16", "UTF-16 BE", "UTF-32"],
)
def test_line_ends_and_marks_are_no_text(written: bytes, tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_bytes(written if split == "test" else split.encode())
    assert read_texts(str(tmp_path))["test"] == Text(STORY, None)


def _stripped(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


def _without_blanks(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if line.strip())


def _crlf(text: str) -> str:
    return "\ufeff" + text.replace("\n", "\r\n")


FORMS: dict[str, tuple[Callable[[str], str], list[int]]] = {
    "as it is": (str, [600, 60, 60]),
    "CRLF and BOM": (_crlf, [600, 60, 60]),
    "stripped rows": (_stripped, [600, 60, 60]),
    "no blank lines": (_without_blanks, [599, 60, 60]),
    "stripped, no blank lines": (lambda text: _without_blanks(_stripped(text)), [599, 60, 60]),
}


@pytest.mark.parametrize("form", FORMS)
def test_wikitext_2_has_its_articles_in_every_form(form: str, wikitext: Path) -> None:
    change, expected = FORMS[form]
    for split, count in zip(("train", "validation", "test"), expected, strict=True):
        text = lzma.decompress((wikitext / f"{split}.txt.xz").read_bytes()).decode()
        found, original = (articles(plain_text(t)) for t in (change(text), text))
        assert len(found) == count
        heads = [re.sub(r"\s", "", article)[:60] for article in found]
        true = [re.sub(r"\s", "", article)[:60] for article in original]
        assert len(set(heads) ^ set(true)) <= (1 if "blank" in form and split == "train" else 0)


def test_untouched_texts_are_read_as_they_were(wikitext: Path) -> None:
    for split, text in read_texts(str(wikitext)).items():
        assert text.content == lzma.decompress((wikitext / f"{split}.txt.xz").read_bytes()).decode()
        assert text.note == ""


# ---- kinds of file and names -------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(("kind", "content"), [("jsonl", jsonl(DOCUMENTS)), ("parquet", parquet(DOCUMENTS))])
def test_documents_are_articles(kind: str, content: bytes, packed: str, tmp_path: Path) -> None:
    path = tmp_path / f"texts.{kind}{packed}"
    path.write_bytes(PACKED[packed](content))
    texts = read_texts(str(path))
    assert [a.removesuffix("\n\n") for text in texts.values() for a in articles(text)] == DOCUMENTS
    assert [len(articles(text)) for text in texts.values()] == [16, 2, 2]
    assert "\n\n".join(DOCUMENTS) == "".join(text.content for text in texts.values())
    assert "whole articles" in texts["validation"].note


@pytest.mark.parametrize("packed", PACKED)
def test_a_single_text_file_is_cut_between_lines(packed: str, tmp_path: Path) -> None:
    path = tmp_path / f"any.txt{packed}"
    path.write_bytes(PACKED[packed]("".join(f"line {i}\n" for i in range(1000)).encode()))
    texts = read_texts(str(path))
    assert "".join(text.content for text in texts.values()) == "".join(f"line {i}\n" for i in range(1000))
    assert all(text.content.startswith("line ") and text.starts is None for text in texts.values())
    assert len(texts["test"].content) == pytest.approx(len(texts["train"].content) / 8, rel=0.01)
    assert "contiguous parts" in texts["validation"].note


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
def test_a_split_that_is_there_twice_is_an_error(names: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(STORY.encode())
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CorpusError, match=r"expected one file of (train|validation) in .* and ") as caught:
        read_texts(str(tmp_path))
    assert all(name in str(caught.value) for name in names)


def test_parts_of_two_kinds_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00002.txt").write_bytes(STORY.encode())
    (tmp_path / "train-00001-of-00002.jsonl").write_bytes(jsonl(DOCUMENTS))
    with pytest.raises(CorpusError, match=r"all parts as \.txt, .*got train-00001-of-00002\.jsonl"):
        read_texts(str(tmp_path))


def test_each_part_may_begin_with_a_mark(tmp_path: Path) -> None:
    for part in range(2):
        (tmp_path / f"train-0000{part}-of-00002.txt").write_bytes(codecs.BOM_UTF8 + f"part {part}. ".encode() * 9)
    assert "\ufeff" not in "".join(text.content for text in read_texts(str(tmp_path)).values())


@pytest.mark.parametrize("test", ["Same text.\n" * 9, "Same text.\n" * 4])
def test_a_split_that_is_in_another_is_noted(test: str, tmp_path: Path) -> None:
    for split, content in (("train", "Same text.\n" * 9), ("validation", "Another."), ("test", test)):
        (tmp_path / f"{split}.txt").write_text(content)
    texts = read_texts(str(tmp_path))
    assert texts["test"].note == "All of test is also in train, so that it is no unseen text."
    assert not texts["validation"].note


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


# ---- splits that are missing -------------------------------------------------------------------------------


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


def test_one_huge_article_is_cut_all_the_same_and_said() -> None:
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


# ---- errors, one line each ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"content": "y"}\n', "a field 'text' in line 2 of .*, got fields content"),
        ("a.jsonl", b'{"text": "x"}\n\n{"text": \n', "one JSON object in line 3 of"),
        ("a.jsonl", b'["x"]\n', "one JSON object in line 1 of .*, got list"),
        ("a.jsonl", b'{"text": 7}\n', "a text as 'text' in line 1 of .*, got int"),
        ("a.jsonl", b'{"text": null}\n', "got null"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "half a surrogate pair"),
        ("a.jsonl", b'{"text": " "}\n', "found none that is not empty"),
        ("a.jsonl", b"", "found none that is not empty"),
        ("a.parquet", b"not parquet", "readable .parquet file"),
        ("a.parquet", parquet(["x", None]), "a text as 'text' in row 2 of .*, got null"),
        ("a.txt.zst", b"not zstd", "readable .zst file"),
        ("a.txt.bz2", b"not bz2", "readable .bz2 file"),
        ("a.txt", "x y".encode("utf-16-le"), "a NUL at character 1.*UTF-16"),
        ("a.txt", b"x", "or a train long enough to cut them from"),
        ("a.txt", b"\xff\xfe\x00", "expected UTF-16 text"),
        ("a.json", b"{}", "a file of .txt, .tokens, .raw, .jsonl, .parquet, .*got a.json"),
    ],
)
def test_errors_are_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolkitError, match=message) as caught:
        read_texts(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_parquet_without_the_column(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"content": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"one column 'text' in .*, got columns content"):
        read_texts(str(tmp_path / "a.parquet"))


def test_a_line_separator_inside_a_document_ends_no_line(tmp_path: Path) -> None:
    documents = [f"one\u2028two\x85 {i}" for i in range(5)]
    (tmp_path / "a.jsonl").write_bytes(codecs.BOM_UTF8 + jsonl(documents))
    assert "".join(t.content for t in read_texts(str(tmp_path / "a.jsonl")).values()) == "\n\n".join(documents)


# ---- the datasets library ----------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out as a data set of the Hub, and caches of its own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    for split, documents in (("train", DOCUMENTS), ("test", ["The test."])):
        (folder / "data" / f"{split}-00000-of-00001.parquet").write_bytes(parquet(documents))
    return folder


def test_a_data_set_through_the_library(repository: Path) -> None:
    texts = read_texts(f"hf:{repository}")
    assert [a.removesuffix("\n\n") for s in ("train", "validation") for a in articles(texts[s])] == DOCUMENTS
    assert texts["test"].content == "The test."
    assert "no validation" in texts["validation"].note


def test_rows_that_are_lines_of_wikitext_have_its_articles(repository: Path) -> None:
    rows = [
        row for i in range(9) for row in ("", f" = Title {i} = \n", "", f" Paragraph of {i} . \n", f" More {i} . \n")
    ]
    for split in ("train", "test"):
        (repository / "data" / f"{split}-00000-of-00001.parquet").write_bytes(parquet(rows))
    texts = read_texts(f"hf:{repository}")
    assert texts["test"].content == "\n\n".join(rows)  # as GPTQ's evaluation joins them
    assert len(articles(texts["test"])) == 9


@pytest.mark.parametrize("written", ["CRLF", "BOM"])
def test_rows_of_wikitext_have_its_articles_whatever_wrote_them(written: str, tmp_path: Path) -> None:
    rows = [
        row for i in range(9) for row in (f" = Title {i} = \n", "", f" Paragraph of {i} . \n", f" More {i} . \n", "")
    ]
    rows = [row.replace("\n", "\r\n") for row in rows] if written == "CRLF" else ["\ufeff" + rows[0], *rows[1:]]
    (tmp_path / "a.parquet").write_bytes(parquet(rows))
    assert sum(len(articles(text)) for text in read_texts(str(tmp_path / "a.parquet")).values()) == 9


def test_each_document_is_an_article_though_some_begin_with_a_mark(tmp_path: Path) -> None:
    documents = [("</s>" if i % 3 == 0 else "") + f"document {i}" for i in range(9)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(documents))
    found = [a for text in read_texts(str(tmp_path / "a.jsonl")).values() for a in articles(text)]
    assert [article.removesuffix("\n\n") for article in found] == documents


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    column = pyarrow.array(["x"])
    pyarrow.parquet.write_table(pyarrow.table([column, column], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"one column 'text' in .*, got columns text, text"):
        read_texts(str(tmp_path / "a.parquet"))


def test_what_a_data_set_may_not_be(repository: Path) -> None:
    with pytest.raises(CorpusError, match=r"expected a data set at hf:.*nothing") as caught:
        read_texts(f"hf:{repository}:nothing")
    assert "\n" not in str(caught.value)
    (repository / "data" / "train-00000-of-00001.parquet").unlink()
    (repository / "data" / "test-00000-of-00001.parquet").unlink()
    (repository / "data" / "train.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"expected Parquet, Json, Csv, Arrow data in hf:.*, got Text"):
        read_texts(f"hf:{repository}")
    for name in ("hf:one", "hf:a/b/c"):
        with pytest.raises(UsageError, match=r"expected hf:org/name\[:config\]"):
            read_texts(name)
    with pytest.raises(UsageError, match="with --data-revision"):
        read_texts("tales", "main")
    with pytest.raises(UsageError, match="with --data-revision, got the folder"):
        read_texts(f"hf:{repository}", "main")


def test_without_a_network_the_hub_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    start = time.monotonic()
    with pytest.raises(CorpusError, match=r"org/name.*cannot be reached.*use a local file") as caught:
        read_texts("hf:org/name:config")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 3
