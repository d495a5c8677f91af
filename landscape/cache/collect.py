"""Remove the least recently used units of a cache folder, until it keeps to its limits.

Whole units go: a point, tokens, a converted or downloaded file; a run or a study after these, since it is a result.
Probes and layer rows are small, and everything rests on them: they go only with the whole store of a model, and only
when asked. A unit that was removed is made again when a command needs it.

The limit on bytes is one on what may go: probes do not count where stores stay, nor what is not of this tool. Results
stay where all of them together would not be enough, as when the rest is in use.

The store of an open session is never touched, nor all that models share while any session is open (see
``landscape.session.in_use``), nor anything that was written or read within the last hour, whoever used it, nor a unit
or a store with a file in it that this tool did not write.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from landscape.cache.cache_limits import CacheLimits
from landscape.cache.inventory import Kind, Unit, has_unknown, last_use, list_units, scratch_unit
from landscape.session.in_use import FOLDER, Mark, claimed, clock, forget_dead, marks
from quant.errors import StoreError
from quant.files.system_errors import is_forbidden, is_of_another, reason
from quant.files.temporary_files import (
    abandoned_scratch,
    is_of_dead_writer,
    remove,
    removed_at_end,
    sweep,
    temporary_name,
)

REMADE: tuple[Kind, ...] = ("point", "training", "tokens", "self", "conversion", "download")
RESULTS: tuple[Kind, ...] = ("run", "study")
_EFFECTIVE = os.access in os.supports_effective_ids
LEFT_AFTER = 24 * 3600.0
"""Seconds after which what a killed process left is removed, whatever the limits; at once if it is seen to be gone."""


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
    uncounted: int
    """Bytes of these that no limit counts, since they may not go: probes, settings, and what is not of this tool."""
    over: int
    """Bytes above the limit that are left, since nothing else may go."""
    spared_results: bool
    """True if results and stores stayed because the limit was out of reach without them too."""
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
        return Collection((), (), (), 0, 0, 0, False, 0.0)
    return _Tidying(root, limits, dry_run).collection()


class _Tidying:
    """One removal under way."""

    def __init__(self, root: Path, limits: CacheLimits, dry_run: bool) -> None:
        self.root, self.limits, self.dry_run = root, limits, dry_run
        self.now = time.time() if dry_run else _clock(root)
        self.units = list_units(root)
        self.left = sum(unit.size for unit in self.units)
        self.in_reach = True
        """True if the limit can be kept by removing what comes next."""
        self.removed: list[Candidate] = []
        self.failed: list[tuple[Candidate, str]] = []
        self.busy: list[Candidate] = []
        counted = (*self._of(REMADE), *self._last())
        self.counted = {unit.path: unit.size for candidate in counted for unit in candidate.units}
        """Bytes of the units that may go, and are left."""

    def collection(self) -> Collection:
        """Remove what is due: leftovers, what is made again, results, whole stores; each oldest first."""
        for candidate in (*self._leftovers(), *self._of(REMADE)):
            self._consider(candidate)
        self._clear_scratch()
        self.in_reach = self._is_in_reach()
        for candidate in self._of(RESULTS):
            self._consider(candidate)
        for candidate in self._stores():
            self._consider(candidate)
        counted, keep = sum(self.counted.values()), self.limits.keep
        over = max(0, counted - keep) if keep is not None else 0
        spared = not self.in_reach and any(self.counted.keys() & {u.path for u in each.units} for each in self._last())
        return Collection(
            tuple(self.removed), tuple(self.failed), tuple(self.busy), self.left, self.left - counted, over, spared,
            self.now,
        )  # fmt: skip

    def _leftovers(self) -> list[Candidate]:
        left = [unit for unit in self.units if unit.kind == "leftover"]
        old = [unit for unit in left if self.now - unit.written > LEFT_AFTER or is_of_dead_writer(unit.path)]
        return [candidate for unit in old if self._is_own(candidate := Candidate(unit.path, _name(unit), (unit,)))]

    def _clear_scratch(self) -> None:
        """Remove what killed processes left outside of the cache: in the system's temporary folder, and their marks."""
        for path in abandoned_scratch():
            with suppress(FileNotFoundError):  # another removal was faster
                self._clear(path)
        if not self.dry_run:
            forget_dead(self.root)
            sweep(self.root / FOLDER)

    def _clear(self, path: Path) -> None:
        """Remove a folder outside of the cache; what only another user may remove is left to them.

        Raises:
            FileNotFoundError: if it has gone.
        """
        status = path.lstat()
        unit = Unit("leftover", path, str(path), None, 0, 0, status.st_mtime, status.st_mtime)
        try:
            _check_removable(path)
            unit = scratch_unit(path)
            if not self.dry_run:
                remove(path)
                if path.exists():
                    raise OSError("partly left")
        except FileNotFoundError:
            raise
        except OSError as error:
            if not (is_forbidden(error) and is_of_another(status)):
                why = reason(error, Path(error.filename or path))
                self.failed.append((Candidate(path, _name(unit), (unit,)), why))
            return
        self.removed.append(Candidate(path, _name(unit), (unit,)))

    def _of(self, kinds: tuple[Kind, ...]) -> list[Candidate]:
        of_kind = [Candidate(unit.path, _name(unit), (unit,)) for unit in self.units if unit.kind in kinds]
        return sorted(filter(self._is_own, of_kind), key=lambda candidate: candidate.used)

    def _stores(self) -> list[Candidate]:
        """Return the stores that may go, if they were asked for, with what has not gone of each."""
        gone = {candidate.path for candidate in self.removed}
        stores: dict[str, list[Unit]] = {}
        for unit in self.units if self.limits.stores else ():
            if unit.store is not None and unit.path not in gone:
                stores.setdefault(unit.store, []).append(unit)
        whole = [Candidate(self.root / name, f"store {name}", tuple(units)) for name, units in stores.items()]
        return sorted(filter(self._is_own, whole), key=lambda candidate: candidate.used)

    def _is_own(self, candidate: Candidate) -> bool:
        """Return whether a candidate holds nothing unknown; a store that is a link is not one of this tool's."""
        strays = (unit.path for unit in self.units if unit.kind == "unknown")
        return not candidate.path.is_symlink() and not any(stray.is_relative_to(candidate.path) for stray in strays)

    def _last(self) -> list[Candidate]:
        return [*self._of(RESULTS), *self._stores()]

    def _is_in_reach(self) -> bool:
        """Return whether the limit is kept once all results went that may go now, and the stores if asked for."""
        if self.limits.keep is None:
            return True
        open_sessions, may_go = marks(self.root, self.now), set()
        for candidate in self._last():
            with suppress(OSError):  # it will fail
                if self._may_go(candidate, open_sessions):
                    may_go |= {unit.path for unit in candidate.units}
        return sum(size for path, size in self.counted.items() if path not in may_go) <= self.limits.keep

    def _consider(self, candidate: Candidate) -> None:
        """Remove a candidate if the limits leave no room for it, and nothing uses it."""
        if not self._is_due(candidate):
            return
        try:
            _check_removable(candidate.path)
            gone = self._may_go(candidate, marks(self.root, self.now)) if self.dry_run else self._take(candidate)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not os.path.lexists(candidate.path):
                self._discount(candidate)  # another removal was faster
            else:
                self.failed.append((candidate, reason(error, Path(error.filename or candidate.path))))
            return
        if gone:
            self.removed.append(candidate)
            self._discount(candidate)
        else:
            self.busy.append(candidate)

    def _discount(self, candidate: Candidate) -> None:
        """Count a candidate no more: it has gone, or would have."""
        self.left -= candidate.size
        for unit in candidate.units:
            self.counted.pop(unit.path, None)

    def _is_due(self, candidate: Candidate) -> bool:
        limits, idle = self.limits, self.now - candidate.used
        return (
            all(unit.kind == "leftover" for unit in candidate.units)
            or (limits.older_than is not None and idle > limits.older_than)
            or (limits.keep is not None and self.in_reach and sum(self.counted.values()) > limits.keep)
        )

    def _take(self, candidate: Candidate) -> bool:
        """Take a candidate away, unless it is in use: sessions that begin meanwhile wait until it has its other name.

        Raises:
            OSError: if it cannot be renamed, or not wholly removed.
        """
        aside = temporary_name(candidate.path)
        with removed_at_end(aside), claimed(self.root) as open_sessions:
            if not self._may_go(candidate, open_sessions):
                return False
            os.rename(candidate.path, aside)
        if aside.exists():
            raise OSError(f"partly left as {aside.name}")
        return True

    def _may_go(self, candidate: Candidate, open_sessions: list[Mark]) -> bool:
        """Return whether no session uses a candidate, nobody used it a short time ago, and all in it is of this tool.

        It is a new look at the candidate: it may have changed since it was listed.
        """
        if candidate.units[0].kind == "leftover" and is_of_dead_writer(candidate.path):
            return True
        used = [mark.store for mark in open_sessions]
        shared = any(unit.store is None for unit in candidate.units)
        if (used and shared) or None in used or {unit.store for unit in candidate.units} & set(used):
            return False
        idle = self.now - last_use(candidate.path)
        return idle > self.limits.spared and not has_unknown(self.root, candidate.path)


def _check_removable(path: Path) -> None:
    """Check that this user may remove a file or folder with all in it, before it is renamed and a part is gone.

    Raises:
        OSError: with the folder that does not let them.
    """
    above = path.parent.stat()
    if above.st_mode & stat.S_ISVTX and is_of_another(above) and is_of_another(path.lstat()):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
    walked = () if path.is_symlink() else os.walk(path)
    inner = (Path(folder, name) for folder, names, _ in walked for name in names)  # also those that cannot be listed
    inside = [folder for folder in (path, *inner) if folder.is_dir() and not folder.is_symlink()]
    needed = {path.parent: os.W_OK | os.X_OK, **dict.fromkeys(inside, os.R_OK | os.W_OK | os.X_OK)}
    for folder, mode in needed.items():
        if not os.access(folder, mode, effective_ids=_EFFECTIVE) and folder.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _clock(root: Path) -> float:
    folder = root / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write to {root}: {reason(error, folder)}; ask its owner to tidy it") from error
    return clock(folder)


def _name(unit: Unit) -> str:
    """Return the kind, the name and the store of a unit."""
    return f"{unit.kind} {unit.name}" + (f" of {unit.store}" if unit.store is not None else "")
