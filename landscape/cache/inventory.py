"""List what a cache folder holds: whole units, each with its size and the times of its last write and use.

The layout is at the head of ``quant.files.cache`` and of ``landscape.probing.store``. Nothing is opened but the
folders, the note and the sums beside a converted file, and the first bytes of a study. Files that are not recognised
as this tool's own (``landscape.cache.own_names``) are of the kind ``unknown``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from landscape.cache.own_names import is_fetching, is_left, is_left_inside, is_own, is_partial_store, own_files
from landscape.cache.times import same_times
from landscape.records.run_files import RUNS, STUDIES
from landscape.session.in_use import FOLDER as IN_USE
from quant.errors import StoreError
from quant.files.cache import STORE_NAME
from quant.files.json_text import read_object
from quant.files.system_errors import reason

Kind = Literal[
    "probes", "layers", "point", "training", "run", "settings", "tokens", "self", "conversion", "download", "study",
    "leftover", "unknown",
]  # fmt: skip
_PARTS: dict[str, Kind] = {"points": "point", RUNS: "run", "unfinished": "training"}
"""Folders of a store whose entries are units."""
_ROWS: tuple[Kind, ...] = ("probes", "layers")
"""Folders of a store that are units."""


@dataclass(frozen=True)
class Unit:
    """The smallest part of a cache folder that is kept or removed whole."""

    kind: Kind
    path: Path
    """A file or a folder."""
    name: str
    """Name that a user reads."""
    store: str | None
    """Name of the store of a model that it belongs to; None for what models share."""
    size: int
    """Bytes of its files."""
    files: int
    written: float
    """Time of the last write, in seconds since 1970."""
    used: float
    """Time of the last write or read, as far as the file system keeps it."""


def list_units(root: Path) -> list[Unit]:
    """List the units of a cache folder; none if there is no folder.

    Raises:
        StoreError: if a folder cannot be listed.
    """
    try:
        return list(_units(root)) if root.exists() else []
    except OSError as error:
        place = Path(error.filename or root)
        raise StoreError(f"cannot list {place}: {reason(error, place)}; check permissions") from error


def scratch_unit(path: Path) -> Unit:
    """Return what a process left outside of the cache as a unit, named by its path.

    Raises:
        OSError: if it has gone, or cannot be looked into.
    """
    for unit in _unit("leftover", path):
        return replace(unit, name=str(path))
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def has_unknown(root: Path, path: Path) -> bool:
    """Return whether a part of a cache folder holds something unknown, by a new look at it.

    Args:
        root: The cache folder.
        path: A unit, or a store.
    """
    units = _at(root / path.relative_to(root).parts[0])
    return any(unit.kind == "unknown" and unit.path.is_relative_to(path) for unit in units)


def _units(root: Path) -> Iterator[Unit]:
    for child in _children(root):
        if child.name != IN_USE:
            yield from _at(child)


def _at(child: Path) -> Iterator[Unit]:
    """Yield the units in a file or folder on the top level."""
    if STORE_NAME.fullmatch(child.name) and child.is_dir():
        for unit in _of_store(child):
            yield replace(unit, store=child.name)
    elif child.name in _SHARED and child.is_dir():
        yield from _SHARED[child.name](child)
    else:
        yield from _unit("leftover" if is_partial_store(child) else "unknown", child)


def _of_store(folder: Path) -> Iterator[Unit]:
    """Yield the units of one store."""
    for child in _children(folder):
        if child.name in _PARTS and child.is_dir():
            yield from _entries(_PARTS[child.name], child)
        else:
            row = next((kind for kind in _ROWS if kind == child.name), None)
            yield from _entry(row or "settings", child)


def _entries(kind: Kind, folder: Path) -> Iterator[Unit]:
    return (unit for child in _children(folder) for unit in _entry(kind, child))


def _entry(kind: Kind, path: Path) -> Iterator[Unit]:
    """Yield one unit of a kind, and the leftovers and unknown files in it."""
    left = is_left(kind, path)
    if not left and not is_own(kind, path):
        yield from _unit("unknown", path)
    elif path.is_dir() and not (left and path.name.startswith(".")):
        yield from _folder(kind, path, "leftover" if left else kind)
    else:
        yield from _unit("leftover" if left else kind, path)


def _folder(kind: Kind, path: Path, now: Kind) -> Iterator[Unit]:
    """Yield a folder with the files that are parts of it, and all other files each as a unit.

    Args:
        kind: The kind that it was written as.
        path: The folder.
        now: The kind that it is now: ``leftover`` if it was set aside.
    """
    files, is_part = list(_files(path)), own_files(kind, path)
    for file in files:
        if not is_part(file):
            yield from _unit("leftover" if is_left_inside(kind, path, file) else "unknown", file)
    yield from _unit(now, path, [file for file in files if is_part(file)])


def _models(folder: Path) -> Iterator[Unit]:
    for child in _children(folder):
        if is_fetching(child):
            yield from _unit("leftover", child)
        else:
            yield from _entry("conversion" if child.is_dir() else "download", child)


def _samples(folder: Path) -> Iterator[Unit]:
    """Yield the windows that models wrote: one unit per model, seed and length."""
    for model in _children(folder):
        of_model = re.fullmatch(r"[0-9a-f]{16}", model.name) and model.is_dir()
        yield from _entries("self", model) if of_model else _entry("self", model)


_SHARED: dict[str, Callable[[Path], Iterator[Unit]]] = {
    "models": _models,
    "tokens": partial(_entries, "tokens"),
    "self": _samples,
    STUDIES: partial(_entries, "study"),
}
"""Readers of the folders that models share."""


def _unit(kind: Kind, path: Path, files: Sequence[Path] | None = None) -> Iterator[Unit]:
    """Yield a file or a folder as one unit, unless it has gone or holds no file; leftovers may be empty.

    Args:
        kind: Its kind.
        path: The file or folder.
        files: The files of a folder that are parts of the unit; None for all.
    """
    stats = [status for file in (_files(path) if files is None else files) if (status := _status(file))]
    if not stats and kind == "leftover" and (status := _status(path)):  # a folder that was still empty
        yield Unit(kind, path, _name(kind, path), None, 0, 0, status.st_mtime, status.st_mtime)
    if stats:
        written = max(status.st_mtime for status in stats)
        used = max(written, *(status.st_atime for status in stats))
        size = sum(status.st_size for status in stats)
        yield Unit(kind, path, _name(kind, path), None, size, len(stats), written, used)


def last_use(path: Path) -> float:
    """Return the time of the last write or read of a file, or of any file in a folder; 0 where there is none."""
    stats = [status for file in _files(path) if (status := _status(file))]
    return max((max(status.st_mtime, status.st_atime) for status in stats), default=0.0)


def _name(kind: Kind, path: Path) -> str:
    """Return the name that a user reads."""
    if kind == "conversion":
        note = path / "conversion.json"
        with suppress(StoreError, KeyError), same_times(note):
            return f"{read_object(note, StoreError)['file']} ({path.name[:13]})"
    if kind in ("point", "tokens"):
        return path.name[:12]
    if kind == "self":
        return f"{path.parent.name}/{path.name}"
    return path.stem if kind in ("run", "study") else path.name


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # it went meanwhile
        return []


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        for folder, inner, names in os.walk(path):
            links = [name for name in inner if Path(folder, name).is_symlink()]
            yield from (Path(folder, name) for name in (*names, *links))
    else:
        yield path


def _status(path: Path) -> os.stat_result | None:
    """Return the times and size of a file; None if it has gone."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def models_of(units: list[Unit]) -> dict[str, str]:
    """Return the names of the models of stores, from the names of their runs; stores without runs are left out."""
    found = {}
    for unit in units:
        if unit.kind == "run" and unit.store is not None and (parts := unit.name.split("-"))[2:]:
            found[unit.store] = "-".join(parts[1:-1])
    return found
