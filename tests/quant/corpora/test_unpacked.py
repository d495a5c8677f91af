"""A small file that unpacks to more than a machine holds is refused while it is read, and the limit can be raised."""

from __future__ import annotations

import lzma
import os
import tracemalloc
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from quant.corpora import unpacked
from quant.corpora.text_files import read_text, text_of_documents
from quant.corpora.texts import read_texts
from quant.corpora.unpacked import ENVIRONMENT_VARIABLE, read_unpacked, text_limit
from quant.errors import CorpusError, UsageError
from tests.quant.corpora.documents import DOCUMENTS, PACKED, jsonl, parquet

LINE = b"The cat sat on the mat.\n"
LONG = LINE * (2**23 // len(LINE))  # 8 MiB
PACK = {**PACKED, ".xz": partial(lzma.compress, preset=0)}  # others have a dictionary of 8 MiB and more
KINDS = {".txt": LONG, ".jsonl": jsonl([LONG.decode()])}


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(2**20))
    return 2**20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", PACKED)
def test_a_file_that_unpacks_to_more_is_refused_and_never_held(
    packed: str, kind: str, tmp_path: Path, limit: int
) -> None:
    path = tmp_path / f"train{kind}{packed}"
    path.write_bytes(PACK[packed](KINDS[kind]))
    tracemalloc.start()
    with pytest.raises(CorpusError) as refused:
        read_texts(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(refused.value) == (
        f"expected a text of at most 1048576 bytes, unpacked, {path} has more; use a part of it, or set "
        "LANDSCAPE_TEXT_BYTES to more bytes if you trust it"
    )
    assert peak < 5 * limit  # bz2 alone takes up to 4 MB


@pytest.mark.parametrize("packed", PACKED)
def test_a_parquet_of_one_document_a_million_times_is_refused(packed: str, tmp_path: Path, limit: int) -> None:
    path, rows = tmp_path / f"train.parquet{packed}", ["x" * 1000] * 1_000_000
    values = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * len(rows), pyarrow.int32()), [rows[0]])
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"text": values}), sink)
    path.write_bytes(PACKED[packed](sink.getvalue().to_pybytes()))
    before = pyarrow.total_allocated_bytes()
    with pytest.raises(CorpusError, match="expected a text of at most 1048576 bytes"):
        read_texts(str(path))
    assert pyarrow.total_allocated_bytes() - before < 32 * limit


def test_all_parts_of_a_text_count_together(tmp_path: Path, limit: int) -> None:
    for part in range(3):
        (tmp_path / f"train-0000{part}-of-00003.txt").write_bytes(LINE * 20_000)  # 480 kB
    with pytest.raises(CorpusError, match=r"at most 1048576 bytes, unpacked, .*train-00002-of-00003\.txt has more"):
        read_texts(str(tmp_path))


def test_a_sparse_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.txt"
    path.touch()
    os.truncate(path, 2**40)
    monkeypatch.setitem(unpacked._OPENERS, "", lambda path: pytest.fail("it was read"))
    with pytest.raises(CorpusError, match="at most 1073741824 bytes"):
        read_texts(str(path))


@pytest.mark.parametrize("packed", PACKED)
def test_a_file_of_just_the_limit_is_read(packed: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{packed}"
    path.write_bytes(PACKED[packed](LONG))
    assert read_unpacked(path, len(LONG)) == LONG
    with pytest.raises(CorpusError):
        read_unpacked(path, len(LONG) - 1)


def test_a_parquet_in_many_pieces_is_the_same_text(tmp_path: Path) -> None:
    rows = [f"{row} of {i}." for i, row in enumerate(DOCUMENTS * 200)]  # more than are held at once
    path = tmp_path / "train.parquet"
    path.write_bytes(parquet(rows))
    assert read_text([path]) == text_of_documents(rows, "")


@pytest.mark.parametrize("value", ["many", "-1", "0", "1e9", "9" * 30, "²"])
def test_a_limit_that_is_no_number_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, value)
    with pytest.raises(UsageError, match="expected a number of bytes in LANDSCAPE_TEXT_BYTES, such as 1073741824"):
        text_limit()
