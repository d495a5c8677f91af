"""Make documents in the forms in which people keep them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pyarrow
import pyarrow.parquet

from quant.corpora.text_files import Text

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
