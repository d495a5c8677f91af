"""Where the texts of a corpus come from: a folder of three files, the embedded tales, or WikiText-2 from the Hub."""

from __future__ import annotations

import difflib
import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quant import hub
from quant.articles import article_starts
from quant.embedded import embedded
from quant.errors import CorpusError, UsageError

SPLITS = ("train", "validation", "test")
SELF = "self"
TALES = "tales"
WIKITEXT = "wikitext2"

_READERS: dict[str, Callable[[Path], bytes]] = {
    ".txt": Path.read_bytes,
    ".txt.gz": lambda path: gzip.decompress(path.read_bytes()),
    ".txt.xz": lambda path: lzma.decompress(path.read_bytes()),
}
_REPOSITORY, _CONFIGURATION = "Salesforce/wikitext", "wikitext-2-raw-v1"


@dataclass(frozen=True)
class Text:
    """The text of one split."""

    content: str
    """As it stands."""
    starts: tuple[int, ...] | None
    """The characters at which its articles begin, the first of them 0; None if that is not known."""


def read_texts(name: str) -> dict[str, Text]:
    """The text of each split of a corpus.

    Args:
        name: ``tales``, ``wikitext2``, or a folder holding ``train``, ``validation`` and ``test``, each as ``.txt``,
            ``.txt.gz`` or ``.txt.xz``; read as they stand.

    Raises:
        UsageError: if there is no corpus of this name, and no folder with a split in it.
        CorpusError: if a split is missing, cannot be fetched, or cannot be decoded.
    """
    if name == TALES:
        return _read_folder(embedded(TALES))
    if name == WIKITEXT:
        return _fetch_wikitext()
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not any(_files(folder, split) for split in SPLITS):
            raise UsageError(
                f"expected {', '.join(SPLITS)} in {folder}, each as {', '.join(_READERS)}, found none; choose another "
                "--data"
            )
        return _read_folder(folder)
    known = (TALES, SELF, WIKITEXT)
    guess = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {guess[0]!r}? " if guess else ""
    raise UsageError(f"unknown corpus {name!r}: {hint}expected {', '.join(known)} or a folder that exists")


def _read_folder(folder: Path) -> dict[str, Text]:
    """Read the three splits of a folder."""
    contents = {split: _read_split(folder, split) for split in SPLITS}
    return {split: Text(content, article_starts(content.split("\n"), gap=1)) for split, content in contents.items()}


def _files(folder: Path, split: str) -> list[tuple[Path, Callable[[Path], bytes]]]:
    """The files that a split may be read from, and what reads each."""
    named = [(folder / (split + suffix), reader) for suffix, reader in _READERS.items()]
    return [(path, reader) for path, reader in named if path.is_file()]


def _read_split(folder: Path, split: str) -> str:
    """Read the one file of a split."""
    found = _files(folder, split)
    if len(found) != 1:
        got = " and ".join(path.name for path, _ in found) or "none"
        raise CorpusError(f"expected one of {split}.txt, {split}.txt.gz and {split}.txt.xz in {folder}, found {got}")
    path, reader = found[0]
    try:
        return reader(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"expected UTF-8 text in {path}, got byte {error.start} = 0x{error.object[error.start]:02x}"
        ) from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise CorpusError(f"expected a readable {path.suffix} file at {path}, got: {error}") from error


def _fetch_wikitext() -> dict[str, Text]:
    """WikiText-2 raw, its rows joined by two newlines, as GPTQ's evaluation does (Frantar et al. 2023)."""
    folder = hub.fetch(
        _REPOSITORY,
        "dataset",
        [f"{_CONFIGURATION}/*.parquet"],
        ".parquet",
        f"use a folder of train.txt, validation.txt and test.txt, {TALES} (built in) or {SELF} (written by the model)",
    )
    rows = {split: _rows(folder / _CONFIGURATION, split) for split in SPLITS}
    return {split: Text("\n\n".join(lines), article_starts(lines, gap=2)) for split, lines in rows.items()}


def _rows(folder: Path, split: str) -> list[str]:
    """The ``text`` column of all files of a split."""
    import pyarrow.parquet  # type: ignore[import-untyped]  # comes with datasets; only this corpus needs it

    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise CorpusError(f"expected {split}-*.parquet of {_CONFIGURATION} in {folder}, found none")
    return [row for file in files for row in pyarrow.parquet.read_table(file, columns=["text"])["text"].to_pylist()]
