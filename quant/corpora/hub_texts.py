"""Read the texts of a data set through the ``datasets`` library: from the Hub, or a folder of the same layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from quant.checkpoints import hub
from quant.corpora.text_files import FIELD, Text, checked_document, text_of_documents
from quant.errors import CorpusError, UsageError, first_line
from quant.files.user_path import user_path

PREFIX = "hf:"
_NAMES = {"train": "train", "test": "test", **dict.fromkeys(("validation", "valid", "val", "dev"), "validation")}
_FORMATS = ("Parquet", "Json", "Csv", "Arrow")
"""Loaders of plain data, one document per row."""
MOST_FILES = 10_000
"""Files and folders of a data set in a local folder."""
LARGEST = 4 * 2**30
"""Largest data set, in bytes, that is read whole."""
_ALTERNATIVES = "use a local file or folder, or tales (built in)"


def read_hub_texts(name: str, revision: str | None) -> dict[str, Text]:
    """Read the splits that a data set has of train, validation and test.

    Args:
        name: ``hf:org/name`` or ``hf:org/name:config``; also ``hf:folder``.
        revision: Branch, tag or commit; None for the default branch.

    Raises:
        UsageError: if the name does not have that form.
        CorpusError: if the data set cannot be reached or read, has no column ``text``, or is too large.
    """
    place, _, config = name.removeprefix(PREFIX).partition(":")
    folder = user_path(place, "--data")
    local = folder.is_dir()
    if local and revision is not None:
        raise UsageError(f"expected --data {PREFIX}org/name with --data-revision, got the folder {place}; leave it out")
    if not local and place.count("/") != 1:
        raise UsageError(f"expected {PREFIX}org/name[:config], or a folder that exists, got {name!r}")
    if not local:
        hub.fetch(place, "dataset", ["README.md"], "", _ALTERNATIVES)  # asks once and briefly; datasets would retry
    if local:
        _check_count(folder, name)
    with _reading(name):
        splits = _load(str(folder) if local else place, config or None, revision, name)
    return {split: text_of_documents(_rows(rows, split, name), f"{split} of {name}") for split, rows in splits.items()}


def _check_count(folder: Path, name: str) -> None:
    """Check that a folder has about as many files as a data set, and is not a home or a disk: each is looked at.

    Raises:
        CorpusError: if it has more.
    """
    found = 0
    for _, folders, files in os.walk(folder):
        found += len(folders) + len(files)
        if found > MOST_FILES:
            raise CorpusError(
                f"expected a data set of at most {MOST_FILES:,} files in the folder of {name}, found more; name the "
                "folder of the data set itself, or one of its files as --data"
            )


def _load(place: str, config: str | None, revision: str | None, name: str) -> Mapping[str, object]:
    """Return the rows of each split, under our names for the splits."""
    import datasets

    builder = datasets.load_dataset_builder(place, config, revision=revision)
    if not any(kind.__name__ in _FORMATS for kind in type(builder).__mro__):
        got = type(builder).__name__.removesuffix("Repository")
        raise CorpusError(
            f"expected {', '.join(_FORMATS)} data in {name}, got {got}; download its files and name one as --data"
        )
    size = builder.info.download_size or builder.info.dataset_size or 0
    if size > LARGEST:
        raise CorpusError(
            f"expected a data set of at most {LARGEST / 2**30:.0f} GiB, {name} has {size / 2**30:.0f}; choose another "
            "config, or download one of its files and name it as --data"
        )
    builder.download_and_prepare()
    every = builder.as_dataset()
    found: dict[str, object] = {}
    for own, rows in every.items():
        if (split := _NAMES.get(str(own))) is not None:
            if split in found:
                raise CorpusError(f"expected one {split} split in {name}, got several: {', '.join(map(str, every))}")
            found[split] = rows
    if not found:
        raise CorpusError(f"expected a train split in {name}, got {', '.join(map(str, every)) or 'none'}")
    return found


def _rows(rows: object, split: str, name: str) -> Iterator[str]:
    """Yield the documents of a split."""
    columns: list[str] = rows.column_names  # type: ignore[attr-defined]
    if FIELD not in columns:
        raise CorpusError(f"expected a column {FIELD!r} in {split} of {name}, got columns {', '.join(columns)[:200]}")
    for number, value in enumerate(rows[FIELD], 1):  # type: ignore[index]
        yield checked_document(value, f"row {number} of {split} of {name}")


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn an error of the library into one line, and keep its progress bars off the terminal."""
    import datasets

    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    except CorpusError:
        raise
    except Exception as error:  # the library has no exception tree: readers of formats raise anything
        raise CorpusError(f"expected a data set at {name}, got: {first_line(error)}; {_ALTERNATIVES}") from error
    finally:
        if bars:
            datasets.enable_progress_bars()
