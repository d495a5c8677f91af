"""Find the texts of a corpus by its name: a file, a folder of splits, the embedded tales, or a data set of the Hub."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from quant.checkpoints import hub
from quant.checkpoints.embedded import embedded
from quant.corpora.articles import article_starts
from quant.corpora.hub_texts import PREFIX, read_hub_texts
from quant.corpora.text_files import READABLE, Text, read_text, stem_of
from quant.corpora.text_splits import SPLITS, complete
from quant.errors import CorpusError, UsageError
from quant.files.user_path import of_windows, user_path

__all__ = ["SELF", "SPLITS", "TALES", "WIKITEXT", "Text", "read_texts"]

SELF = "self"
TALES = "tales"
WIKITEXT = "wikitext2"

_FIRST = (".txt", ".txt.gz", ".txt.xz")
"""Endings that take precedence after the plain name of a split."""
_OTHERS = {"train": "train", "validation": "validation|valid|val|dev|eval", "test": "test"}
_REPOSITORY, _CONFIGURATION = "Salesforce/wikitext", "wikitext-2-raw-v1"


def read_texts(name: str, revision: str | None = None) -> dict[str, Text]:
    """Read the text of each split of a corpus.

    Args:
        name: One of

            - ``tales`` (built in) or ``wikitext2``;
            - a file, ``.txt``, ``.jsonl`` or ``.parquet``, from which all splits are cut;
            - a folder with ``train``, ``validation`` and ``test`` in such files, or under the usual other names:
              ``valid``, ``val``, ``dev``, ``wiki.train.tokens``, ``train-00000-of-00002.parquet``;
            - ``hf:org/name[:config]``.
        revision: Branch, tag or commit of ``hf:…``.

    Raises:
        UsageError: if there is no corpus of this name, or no file with a split in it.
        CorpusError: if a text cannot be fetched, read or decoded, or a missing split has no train to be cut from.
    """
    if revision is not None and not name.startswith(PREFIX):
        raise UsageError(f"expected --data {PREFIX}org/name with --data-revision, got {name!r}; leave it out")
    if name.startswith(PREFIX):
        return complete(read_hub_texts(name, revision), name)
    if name == TALES:
        return _read_folder(embedded(TALES))
    if name == WIKITEXT:
        return _fetch_wikitext()
    path = user_path(name, "--data")
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        if stem_of(path) is None:
            raise UsageError(f"expected --data to name a folder, or a file of {READABLE}, got {path.name}")
        return complete({"train": read_text([path])}, str(path))
    if windows := of_windows(name):
        raise UsageError(f"expected a text as --data, got {name}: {windows}")
    known = (TALES, SELF, WIKITEXT)
    guess = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {guess[0]!r}? " if guess else ""
    raise UsageError(
        f"unknown corpus {name!r}: {hint}expected {', '.join(known)}, {PREFIX}org/name, or a file or "
        "a folder that exists"
    )


def _read_folder(folder: Path) -> dict[str, Text]:
    """Read the splits of a folder."""
    files = {split: found for split in SPLITS if (found := _files(folder, split))}
    if not files:
        raise UsageError(
            f"expected {', '.join(SPLITS)} in {folder}, each as {READABLE}, found none; choose another --data, or name "
            "one file"
        )
    return complete({split: read_text(paths) for split, paths in files.items()}, str(folder))


def _files(folder: Path, split: str) -> list[Path]:
    """Return the file that a split is read from, or its parts in their order.

    Raises:
        CorpusError: if several files fit, or a part is missing.
    """
    exact = [path for suffix in _FIRST if (path := folder / (split + suffix)).is_file()]
    form = re.compile(rf"(?:.*[._-])?(?:{_OTHERS[split]})(?:[._-](\d+)-of-(\d+))?", re.IGNORECASE)
    named = {path: form.fullmatch(stem_of(path) or "") for path in sorted(folder.iterdir()) if path.is_file()}
    others = {path: match for path, match in named.items() if match}
    same = [path for path, match in others.items() if re.fullmatch(_OTHERS[split], stem_of(path) or "", re.IGNORECASE)]
    found = same if exact and len(same) > 1 else exact or list(others)
    parts = {path: (int(match[1]), int(match[2])) for path, match in others.items() if match[1]}
    if found and parts.keys() == set(found) and len({total for _, total in parts.values()}) == 1:
        numbers, (total, *_) = sorted(n for n, _ in parts.values()), [total for _, total in parts.values()]
        if numbers not in (list(range(total)), list(range(1, total + 1))):
            raise CorpusError(f"expected {total} parts of {split} in {folder}, found {len(found)}: {found[0].name}, …")
        return sorted(found, key=lambda path: parts[path])
    if len(found) < 2:
        return found
    got = " and ".join(path.name for path in found)
    raise CorpusError(
        f"expected one file of {split} in {folder}, found {got}; name one file as --data, or remove others"
    )


def _fetch_wikitext() -> dict[str, Text]:
    """Fetch WikiText-2 raw, its rows joined by two newlines as in GPTQ's evaluation (Frantar et al. 2023)."""
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
    """Return the ``text`` column of all files of a split."""
    import pyarrow.parquet  # type: ignore[import-untyped]  # comes with datasets; only this corpus needs it

    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise CorpusError(f"expected {split}-*.parquet of {_CONFIGURATION} in {folder}, found none")
    return [row for file in files for row in pyarrow.parquet.read_table(file, columns=["text"])["text"].to_pylist()]
