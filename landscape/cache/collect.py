"""Remove the least recently used units of a cache folder, until it keeps to its limits.

Whole units go: a point, tokens, a converted or downloaded file; a run or a study after these, since it is a result.
Probes are small, and everything rests on them: they go only with the whole store of a model, and only when asked.
A unit that was removed is made again when a command needs it.

The store of an open session is never touched, nor all that models share while any session is open (see
``landscape.session.in_use``), nor anything that was written or read within the last hour, whoever used it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from landscape.cache.cache_limits import CacheLimits
from landscape.cache.inventory import Kind, Unit, last_use, list_units
from landscape.session.in_use import FOLDER, Mark, claimed, clock, marks
from quant.cache import remove, temporary_name
from quant.errors import StoreError

REMADE: tuple[Kind, ...] = ("point", "training", "tokens", "self", "conversion", "download")
RESULTS: tuple[Kind, ...] = ("run", "study")
LEFT_AFTER = 24 * 3600.0
"""Seconds after which what a killed process left is removed, whatever the limits."""


@dataclass(frozen=True)
class Candidate:
    """Units that go together: one, or all of a store."""

    path: Path
    name: str
    units: tuple[Unit, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(unit.size for unit in self.units)

    @property
    def used(self) -> float:
        """Time of the last use of any of them."""
        return max(unit.used for unit in self.units)


@dataclass(frozen=True)
class Collection:
    """Outcome of tidying, or of a rehearsal of it."""

    removed: tuple[Candidate, ...]
    failed: tuple[tuple[Candidate, str], ...]
    """Candidates that could not be removed, with the reason."""
    busy: tuple[Candidate, ...]
    """Candidates that would have gone, and are in use."""
    left: int
    """Bytes that are left."""
    over: int
    """Bytes above the limit that are left, since nothing else may go."""
    now: float
    """Time by the clock of the folder's file system."""


def collect(root: Path, limits: CacheLimits, dry_run: bool = False) -> Collection:
    """Remove what the limits leave no room for.

    Args:
        root: The cache folder.
        limits: The limits.
        dry_run: Only say what would go.

    Raises:
        StoreError: if the folder cannot be read, or not be written.
    """
    if not root.is_dir():
        return Collection((), (), (), 0, 0, 0.0)
    tidying = _Tidying(root, limits, dry_run)
    for candidate in tidying.candidates():
        tidying.consider(candidate)
    over = max(0, tidying.left - limits.keep) if limits.keep is not None else 0
    return Collection(
        tuple(tidying.removed), tuple(tidying.failed), tuple(tidying.busy), tidying.left, over, tidying.now
    )


class _Tidying:
    """One removal under way."""

    def __init__(self, root: Path, limits: CacheLimits, dry_run: bool) -> None:
        self.root, self.limits, self.dry_run = root, limits, dry_run
        self.now = time.time() if dry_run else _clock(root)
        self.units = list_units(root)
        self.left = sum(unit.size for unit in self.units)
        self.removed: list[Candidate] = []
        self.failed: list[tuple[Candidate, str]] = []
        self.busy: list[Candidate] = []

    def candidates(self) -> Iterator[Candidate]:
        """Yield what may go, in this order: leftovers, what is made again, results, whole stores; each oldest first."""
        for unit in self.units:
            if unit.kind == "leftover" and self.now - unit.written > LEFT_AFTER:
                yield Candidate(unit.path, _name(unit), (unit,))
        for kinds in (REMADE, RESULTS):
            of_kind = [unit for unit in self.units if unit.kind in kinds]
            for unit in sorted(of_kind, key=lambda unit: unit.used):
                yield Candidate(unit.path, _name(unit), (unit,))
        if self.limits.stores:
            gone = {candidate.path for candidate in self.removed}
            stores: dict[str, list[Unit]] = {}
            for unit in self.units:
                if unit.store is not None and unit.path not in gone:
                    stores.setdefault(unit.store, []).append(unit)
            whole = [Candidate(self.root / name, f"store {name}", tuple(units)) for name, units in stores.items()]
            yield from sorted(whole, key=lambda candidate: candidate.used)

    def consider(self, candidate: Candidate) -> None:
        """Remove a candidate if the limits leave no room for it, and nothing uses it."""
        if not self._is_due(candidate):
            return
        try:
            gone = self._may_go(candidate, marks(self.root, self.now)) if self.dry_run else self._take(candidate)
        except OSError as error:
            self.failed.append((candidate, error.strerror or str(error)))
            return
        if gone:
            self.removed.append(candidate)
            self.left -= candidate.size
        else:
            self.busy.append(candidate)

    def _is_due(self, candidate: Candidate) -> bool:
        limits, idle = self.limits, self.now - candidate.used
        return (
            all(unit.kind == "leftover" for unit in candidate.units)
            or (limits.older_than is not None and idle > limits.older_than)
            or (limits.keep is not None and self.left > limits.keep)
        )

    def _take(self, candidate: Candidate) -> bool:
        """Take a candidate away, unless it is in use: sessions that begin meanwhile wait until it has its other name.

        Raises:
            OSError: if it cannot be renamed, or not wholly removed.
        """
        aside = temporary_name(candidate.path)
        with claimed(self.root) as open_sessions:
            if not self._may_go(candidate, open_sessions):
                return False
            os.rename(candidate.path, aside)
        remove(aside)
        if aside.exists():
            raise OSError(errno.EACCES, f"partly left as {aside.name}")
        return True

    def _may_go(self, candidate: Candidate, open_sessions: list[Mark]) -> bool:
        """Return whether no session uses a candidate, and nobody used it a short time ago, by a new look at it."""
        used = [mark.store for mark in open_sessions]
        shared = any(unit.store is None for unit in candidate.units)
        if (used and shared) or None in used or {unit.store for unit in candidate.units} & set(used):
            return False
        return self.now - last_use(candidate.path) > self.limits.spared


def _clock(root: Path) -> float:
    folder = root / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write to {root}: {error.strerror}; ask its owner to tidy it") from error
    return clock(folder)


def _name(unit: Unit) -> str:
    """Return the kind, the name and the store of a unit."""
    return f"{unit.kind} {unit.name}" + (f" of {unit.store}" if unit.store is not None else "")
