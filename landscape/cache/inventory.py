"""List what a cache folder holds: whole units, each with its size and the times of its last write and use.

The layout is at the head of ``quant.cache`` and of ``landscape.probing.store``. Nothing is opened but the folders, and
the note beside a converted file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from landscape.cache.times import same_times
from landscape.records.run_files import RUNS, STUDIES
from landscape.session.in_use import FOLDER as IN_USE
from quant.errors import StoreError

Kind = Literal[
    "probes", "point", "training", "run", "settings", "tokens", "self", "conversion", "download", "study", "leftover",
    "unknown",
]  # fmt: skip
STORE = re.compile(r"[0-9a-f]{16}-\S+")
"""Name of the store of a model."""
_LEFT = re.compile(r"\..+\.partial|[0-9a-f]{32}\.tmp|\..+\.tmp|tmp[a-z0-9_]{8}|.+\.damaged(-[0-9a-f]+)?")
"""Names of what a killed process left, or is being written now, and of damaged files that were set aside."""


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
        raise StoreError(f"cannot list {error.filename}: {error.strerror}; check permissions") from error


def _units(root: Path) -> Iterator[Unit]:
    for child in _children(root):
        if child.name == IN_USE:
            continue
        if _LEFT.fullmatch(child.name):
            yield from _unit("leftover", child)
        elif STORE.fullmatch(child.name) and child.is_dir():
            for unit in _of_store(child):
                yield replace(unit, store=child.name)
        elif child.name in _SHARED and child.is_dir():
            yield from _SHARED[child.name](child)
        else:
            yield from _unit("unknown", child)


def _of_store(folder: Path) -> Iterator[Unit]:
    """Yield the units of one store."""
    parts: dict[str, Kind] = {"points": "point", RUNS: "run", "unfinished": "training"}
    for child in _children(folder):
        if _LEFT.fullmatch(child.name):
            yield from _unit("leftover", child)
        elif child.name == "probes":
            yield from _leftovers(child)
            yield from _unit("probes", child, inner=True)
        elif child.name in parts:
            for entry in _children(child):
                yield from _entry(parts[child.name], entry)
        else:
            yield from _unit("settings", child)


def _entry(kind: Kind, path: Path) -> Iterator[Unit]:
    """Yield one unit of a kind, and the leftovers in it."""
    if _LEFT.fullmatch(path.name):
        yield from _unit("leftover", path)
    else:
        yield from _leftovers(path)
        yield from _unit(kind, path, inner=True)


def _models(folder: Path) -> Iterator[Unit]:
    for child in _children(folder):
        kind: Kind = "conversion" if child.name.startswith("gguf-") else "download"
        yield from _entry(kind, child)


def _samples(folder: Path) -> Iterator[Unit]:
    """Yield the windows that models wrote: one unit per model, seed and length."""
    for model in _children(folder):
        for child in _children(model) if model.is_dir() else [model]:
            yield from _entry("self", child)


_SHARED: dict[str, Callable[[Path], Iterator[Unit]]] = {
    "models": _models,
    "tokens": lambda folder: (unit for child in _children(folder) for unit in _entry("tokens", child)),
    "self": _samples,
    STUDIES: lambda folder: (unit for child in _children(folder) for unit in _entry("study", child)),
}
"""Readers of the folders that models share."""


def _leftovers(folder: Path) -> Iterator[Unit]:
    if folder.is_dir() and not folder.is_symlink():
        for child in _children(folder):
            if _LEFT.fullmatch(child.name):
                yield from _unit("leftover", child)


def _unit(kind: Kind, path: Path, inner: bool = False) -> Iterator[Unit]:
    """Yield a file or a folder as one unit, unless it has gone or holds no file.

    Args:
        kind: Its kind.
        path: The file or folder.
        inner: Whether leftovers directly in it are units of their own.
    """
    stats = [
        status
        for file in _files(path)
        if not (inner and file.parent == path and _LEFT.fullmatch(file.name)) and (status := _status(file))
    ]
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
        with suppress(OSError, ValueError, KeyError, TypeError), same_times(note):
            return f"{json.loads(note.read_text(encoding='utf-8'))['file']} ({path.name[:13]})"
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
        for folder, _, names in os.walk(path):
            yield from (Path(folder, name) for name in names)
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
