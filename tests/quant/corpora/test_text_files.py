"""Read text files of every kind: line ends, byte order marks, compression, JSON Lines, Parquet."""

from __future__ import annotations

import codecs
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from quant.corpora.text_files import Text, plain_text
from quant.corpora.texts import read_texts
from quant.errors import CorpusError, ToolkitError
from tests.quant.corpora.documents import DOCUMENTS, PACKED, STORY, articles, jsonl, parquet


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


def test_parts_of_two_kinds_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00002.txt").write_bytes(STORY.encode())
    (tmp_path / "train-00001-of-00002.jsonl").write_bytes(jsonl(DOCUMENTS))
    with pytest.raises(CorpusError, match=r"all parts as \.txt, .*got train-00001-of-00002\.jsonl"):
        read_texts(str(tmp_path))


def test_each_part_may_begin_with_a_mark(tmp_path: Path) -> None:
    for part in range(2):
        (tmp_path / f"train-0000{part}-of-00002.txt").write_bytes(codecs.BOM_UTF8 + f"part {part}. ".encode() * 9)
    assert "\ufeff" not in "".join(text.content for text in read_texts(str(tmp_path)).values())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"content": "y"}\n', "a field 'text' in line 2 of .*, got fields content"),
        ("a.jsonl", b'{"text": "x"}\n\n{"text": \n', "expected JSON in line 3 of"),
        ("a.jsonl", b'["x"]\n', "a JSON object in line 1 of .*, got a list"),
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


def test_each_document_is_an_article_though_some_begin_with_a_mark(tmp_path: Path) -> None:
    documents = [("</s>" if i % 3 == 0 else "") + f"document {i}" for i in range(9)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(documents))
    found = [a for text in read_texts(str(tmp_path / "a.jsonl")).values() for a in articles(text)]
    assert [article.removesuffix("\n\n") for article in found] == documents


def test_a_doubled_column_is_an_error(tmp_path: Path) -> None:
    column = pyarrow.array(["x"])
    pyarrow.parquet.write_table(pyarrow.table([column, column], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"one column 'text' in .*, got columns text, text"):
        read_texts(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("written", ["CRLF", "BOM"])
def test_rows_of_wikitext_with_other_line_ends_have_its_articles(written: str, tmp_path: Path) -> None:
    rows = [
        row for i in range(9) for row in (f" = Title {i} = \n", "", f" Paragraph of {i} . \n", f" More {i} . \n", "")
    ]
    rows = [row.replace("\n", "\r\n") for row in rows] if written == "CRLF" else ["\ufeff" + rows[0], *rows[1:]]
    (tmp_path / "a.parquet").write_bytes(parquet(rows))
    assert sum(len(articles(text)) for text in read_texts(str(tmp_path / "a.parquet")).values()) == 9
