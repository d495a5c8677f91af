"""Check every file of a cache folder against its name or its hash, and change nothing unless asked to.

probes, layers, points   named by the sha256 of their bytes
tokens, self, training   headed by the sha256 of their content
converted files          sealed by SHA256SUMS
runs, studies            hold the sha256 of their result
settings                 JSON with their version
download                 has a known hash

A check is no use of a file: the times of last use stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landscape.cache.inventory import Kind, Unit, has_unknown, list_units
from landscape.cache.own_names import own_files
from landscape.cache.times import same_times
from landscape.probing.shards import is_intact
from landscape.records.record import check_record
from quant.errors import StoreError
from quant.files.json_text import read_object
from quant.files.odd_files import is_odd, set_aside
from quant.files.system_errors import reason

State = Literal["damaged", "leftover", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One file, or folder, that is not as it should be, or cannot be checked."""

    path: Path
    state: State
    words: str
    """The fault, and what was done."""


@dataclass(frozen=True)
class Verification:
    """Outcome of a check."""

    checked: int
    """Number of files whose bytes were read and compared."""
    size: int
    """Bytes of these."""
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> tuple[Finding, ...]:
        """The damaged files."""
        return tuple(finding for finding in self.findings if finding.state == "damaged")


def verify(
    root: Path, store: str | None = None, repair: bool = False, advance: Callable[[Path], None] = lambda path: None
) -> Verification:
    """Check the files of a cache folder.

    Args:
        root: The cache folder.
        store: Name of one store to check alone; None for everything.
        repair: Set damaged files aside, as a store does when it meets one: what they held is made again when needed.
        advance: Called with each file before it is read.

    Raises:
        StoreError: if a file or folder cannot be read at all.
    """
    checked, size, findings = 0, 0, []
    for unit in list_units(root):
        if store is not None and unit.store != store:
            continue
        if unit.kind in ("leftover", "unknown"):
            findings.append(_stray(unit))
            continue
        for path, intact in _checks(unit):
            advance(path)
            with same_times(path):
                found = intact(path)
            if found is None:
                continue
            checked, size = checked + 1, size + _size(path)
            if not found:
                done = _set_aside(path, root) if repair else "made again when needed; --repair sets it aside"
                findings.append(Finding(path, "damaged", f"its content is not that of its hash: {done}"))
    return Verification(checked, size, tuple(findings))


Check = Callable[[Path], bool | None]
"""Check of a file or folder: True if it is intact, None if it has gone meanwhile."""


def _checks(unit: Unit) -> Iterator[tuple[Path, Check]]:
    """Yield the files or sealed folders of a unit, with the way to check each."""
    kind: Kind = unit.kind
    if kind in ("probes", "layers", "point"):
        yield from ((path, is_intact) for path in _parts(unit))
    elif kind in ("tokens", "self", "training"):
        yield from ((path, _headed) for path in _parts(unit))
    elif kind == "conversion":
        yield unit.path, _sealed
    elif kind in ("run", "study"):
        yield unit.path, _record
    elif kind == "settings":
        yield unit.path, _settings
    elif kind == "download":
        yield unit.path, _download


def _parts(unit: Unit) -> list[Path]:
    """Return the files of a unit, without those of the user beside them."""
    if not unit.path.is_dir():
        return [unit.path]
    return sorted(filter(own_files(unit.kind, unit.path), unit.path.iterdir()))


def _headed(path: Path) -> bool | None:
    from quant.files.hashed_files import read_hashed  # with torch

    return read_hashed(path, {}) is not None if path.exists() else None


def _sealed(path: Path) -> bool | None:
    from quant.files.hashed_files import is_sealed

    return is_sealed(path) if path.exists() else None


def _record(path: Path) -> bool | None:
    try:
        check_record(path)
    except StoreError:
        return False if path.exists() else None
    return True


def _settings(path: Path) -> bool | None:
    if is_odd(path):
        return False
    try:
        content = read_object(path, StoreError)
    except StoreError:
        return False if path.exists() else None
    return {"schema_version", "settings"} <= content.keys()


def _download(path: Path) -> bool | None:
    from quant.checkpoints.wheel import GGUF_SHA256

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == GGUF_SHA256
    except FileNotFoundError:
        return None


def _stray(unit: Unit) -> Finding:
    """Describe what is no part of the cache."""
    if unit.kind == "unknown":
        return Finding(unit.path, "unknown", "not written by this tool; it is never removed")
    if ".damaged" in unit.path.name:
        return Finding(unit.path, "leftover", "was damaged, and set aside")
    return Finding(unit.path, "leftover", "written by a process that runs, or left by one that was killed")


def _set_aside(path: Path, root: Path) -> str:
    """Rename a damaged file or folder, so that nothing reads it any more, unless it holds a file of the user."""
    if has_unknown(root, path):
        return "left in place, since it holds files that this tool did not write; move these away"
    try:
        return f"moved to {set_aside(path).name}"
    except OSError as error:
        return f"left in place ({reason(error, path)})"


def _size(path: Path) -> int:
    with suppress(OSError):
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    return 0
