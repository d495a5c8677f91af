"""Read texts from files: plain text, JSON Lines and Parquet, each also compressed.

A plain text is one row of characters. The rows of the other two formats are documents: an empty line joins them, and
each is an article. Every line end becomes a line feed, and a byte order mark is left out.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from quant.corpora.articles import END, article_starts
from quant.corpora.unpacked import PACKED, read_unpacked, text_limit, too_long
from quant.errors import CorpusError
from quant.files.json_text import parse_object
from quant.files.system_errors import reason

FIELD = "text"
"""The field or column that holds a document."""
JOINT = "\n\n"
"""Separator of two documents."""
_ROWS = 1024  # rows of Parquet that are held at once


@dataclass(frozen=True)
class Text:
    """The text of one split."""

    content: str
    """The whole text."""
    starts: tuple[int, ...] | None
    """The characters at which its articles begin, the first of them 0; None if that is not known."""
    note: str = ""
    """A sentence on how it was made, where a user would not expect it; else empty."""


_PLAIN = (".txt", ".tokens", ".raw")
_KINDS = (*_PLAIN, ".jsonl", ".parquet")
SUFFIXES = tuple(kind + packed for kind in _KINDS for packed in PACKED)
"""Endings of the files that can be read."""
READABLE = f"{', '.join(_KINDS)}, each also {', '.join(PACKED[1:])}"
"""The endings in words."""


def stem_of(path: Path) -> str | None:
    """Return a file's name without the ending that says how to read it; None if the ending is not a known one."""
    suffix = max((s for s in SUFFIXES if path.name.lower().endswith(s)), key=len, default=None)
    return None if suffix is None else path.name[: -len(suffix)]


def read_text(paths: Sequence[Path]) -> Text:
    """Read one text from a file, or from its parts in their order.

    Raises:
        CorpusError: if a file cannot be read or decoded, one of its documents has no text, or the text is too long.
    """
    room = _Room(text_limit())
    kind = _kind(paths[0])
    if other := next((path for path in paths if _kind(path) != kind), None):
        raise CorpusError(f"expected all parts as {kind}, as {paths[0]} is, got {other.name}")
    if kind in _PLAIN:
        return plain_text("".join(_decoded(path, room) for path in paths))
    read = _json_lines if kind == ".jsonl" else _parquet
    return text_of_documents([row for path in paths for row in read(path, room)], str(paths[0]))


class _Room:
    """The bytes that are left for a text, of which its parts take theirs."""

    def __init__(self, most: int) -> None:
        self.most = self.left = most

    def read(self, path: Path) -> bytes:
        """Read a part, unpacked."""
        content = read_unpacked(path, self.left, self.most)
        self.take(len(content), path)
        return content

    def take(self, size: int, path: Path) -> None:
        """Take so many bytes of a part."""
        self.left -= size
        if self.left < 0:
            raise too_long(path, self.most)


def plain_text(content: str) -> Text:
    """Return a text as it stands, but for its line ends and a byte order mark at its head."""
    content = _normalized(content)
    return Text(content, article_starts(content.split("\n"), gap=1))


def text_of_documents(rows: Iterable[str], source: str) -> Text:
    """Join documents into a text.

    Rows that are the lines of WikiText, as on the Hub, are joined in the same way, and have its articles.

    Args:
        rows: The documents; empty ones are left out.
        source: Their name in an error.

    Raises:
        CorpusError: if all are empty.
    """
    rows = [_normalized(row) for row in rows]
    documents = [row for row in rows if row.strip()]
    if not documents:
        raise CorpusError(f"expected documents in {source}, found none that is not empty")
    starts = None if documents[0].startswith(END) else article_starts(rows, gap=len(JOINT))
    if starts is not None and len(starts) < len(documents):
        return Text(JOINT.join(rows), starts)
    places = accumulate((len(document) + len(JOINT) for document in documents[:-1]), initial=0)
    return Text(JOINT.join(documents), tuple(places))


def checked_document(value: object, where: str) -> str:
    """Return a document after a check that it is one.

    Raises:
        CorpusError: if it is not a text, or no encoding can write it.
    """
    if not isinstance(value, str):
        got = "null" if value is None else type(value).__name__
        raise CorpusError(f"expected a text as {FIELD!r} in {where}, got {got}; leave such documents out")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CorpusError(f"expected characters in {where}, got half a surrogate pair at {error.start}") from error
    return value


def _normalized(content: str) -> str:
    """Return a text without a byte order mark, every line end a line feed."""
    return content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _kind(path: Path) -> str:
    return next(kind for kind in _KINDS if any(path.name.lower().endswith(kind + p) for p in PACKED))


_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def _decoded(path: Path, room: _Room) -> str:
    """Return the characters of a file, in UTF-8 or in the encoding of its byte order mark."""
    content = room.read(path)
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"expected {encoding.upper()} text in {path}, got byte {error.start} = 0x{content[error.start]:02x}"
        ) from error
    if "\0" in text:
        raise CorpusError(
            f"expected text in {path}, got a NUL at character {text.index(chr(0))}; if it is UTF-16 without a byte "
            "order mark, save it as UTF-8"
        )
    return text.removeprefix("\ufeff")


def _json_lines(path: Path, room: _Room) -> Iterable[str]:
    """Yield the field ``text`` of each line that is not blank."""
    for number, line in enumerate(_decoded(path, room).split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number} of {path}"
        value = parse_object(line, where, CorpusError, "write one object a line", nonfinite=True, repeated=True)
        if FIELD not in value:
            fields = ", ".join(sorted(map(str, value))) or "none"
            raise CorpusError(f"expected a field {FIELD!r} in {where}, got fields {fields[:200]}; rename yours")
        yield checked_document(value[FIELD], where)


def _parquet(path: Path, room: _Room) -> Iterable[str]:
    """Yield the column ``text``, which is read some rows at a time: its pages are packed once more."""
    import pyarrow  # type: ignore[import-untyped]  # comes with datasets; few files need it
    import pyarrow.parquet  # type: ignore[import-untyped]

    number = 0
    try:
        content = pyarrow.py_buffer(read_unpacked(path, room.most))
        names = pyarrow.parquet.read_schema(pyarrow.BufferReader(content)).names
        if names.count(FIELD) != 1:
            raise CorpusError(f"expected one column {FIELD!r} in {path}, got columns {', '.join(names)[:200]}")
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content), read_dictionary=[FIELD])
        groups = (file.metadata.row_group(index) for index in range(file.num_row_groups))
        if max(file.metadata.num_rows, sum(group.total_byte_size for group in groups)) > room.most:
            raise too_long(path, room.most)
        for batch in file.iter_batches(_ROWS, columns=[FIELD]):
            room.take(_size_of(batch[FIELD]), path)
            for row in batch[FIELD].to_pylist():
                number += 1
                yield checked_document(row, f"row {number} of {path}")
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise CorpusError(f"expected a readable .parquet file at {path}, got: {reason(error, path)}") from error


def _size_of(rows: Any) -> int:
    """Return the bytes of a column's rows, before those that are alike are written out one by one."""
    import pyarrow
    import pyarrow.compute  # type: ignore[import-untyped]

    if not pyarrow.types.is_dictionary(rows.type):
        return int(rows.nbytes)
    sizes = pyarrow.compute.binary_length(rows.dictionary)
    return int(pyarrow.compute.sum(sizes.take(rows.indices)).as_py() or 0)
