"""Show a cache folder as tables, lines and JSON: what it holds, what is damaged, what was removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.cache.inventory import Kind, Unit, models_of
from landscape.formatting import data_size, plural
from landscape.report.table import Table

if TYPE_CHECKING:  # `landscape cache ls` answers at once, without h5py
    from landscape.cache.cache_limits import CacheLimits
    from landscape.cache.collect import Candidate, Collection
    from landscape.cache.contents import StoreContents
    from landscape.cache.verify import Verification
    from landscape.session.in_use import Mark

_SHARED: dict[Kind, str] = {
    "tokens": "tokens of texts",
    "self": "windows that models wrote",
    "conversion": "converted GGUF",
    "download": "downloads",
    "study": "studies",
    "leftover": "leftovers of killed processes",
    "unknown": "not of this tool",
}
"""Units that belong to no store, in the order of their rows."""
_NAMED: tuple[Kind, ...] = ("run", "study", "conversion", "download")
"""Units that have a row each: a user can name them."""


def age(seconds: float) -> str:
    """Write how long ago something was, in its largest unit."""
    for count, unit in ((48 * 3600, "d"), (90 * 60, "h"), (90, "min")):
        if seconds >= count:
            return f"{seconds / {'d': 86400, 'h': 3600, 'min': 60}[unit]:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def cache_table(root: Path, units: Sequence[Unit], marks: Sequence[Mark], now: float) -> Table:
    """Return the table of a cache folder: its stores, each with its parts, then what they share.

    Args:
        root: The folder.
        units: All its units.
        marks: The sessions that use it.
        now: Time, in seconds since 1970.
    """
    rows = [row for store in _stores(units) for row in _store_rows(store, units, marks, now)]
    shared = [unit for unit in units if unit.store is None]
    for kind, words in _SHARED.items():
        of_kind = [unit for unit in shared if unit.kind == kind]
        if of_kind:
            rows.append(_row(words, of_kind, now))
            rows += [_row(f"  {unit.name}", [unit], now) for unit in of_kind if kind in _NAMED]
    total = data_size(sum(unit.size for unit in units))
    return Table(f"{root}: {total}", ("what", "size", "files", "last write"), tuple(rows), frozenset({0}))


def _stores(units: Sequence[Unit]) -> list[str]:
    return sorted({unit.store for unit in units if unit.store is not None})


def _store_rows(
    store: str, units: Sequence[Unit], marks: Sequence[Mark], now: float
) -> Iterator[tuple[str, str, str, str]]:
    own = [unit for unit in units if unit.store == store]
    model = models_of(own).get(store, "no run kept")
    used = ", in use" if any(mark.store in (store, None) for mark in marks) else ""
    yield _row(f"{store} ({model}{used})", own, now)
    counts: dict[Kind, str] = {
        "probes": "probes", "layers": "layer rows", "point": "points", "training": "unfinished training",
        "leftover": _SHARED["leftover"], "unknown": _SHARED["unknown"],
    }  # fmt: skip
    for kind, words in counts.items():
        if of_kind := [unit for unit in own if unit.kind == kind]:
            yield _row(f"  {words}" if kind != "point" else f"  {plural(len(of_kind), 'point')}", of_kind, now)
    yield from (_row(f"  {unit.name}", [unit], now) for unit in own if unit.kind == "run")


def _row(name: str, units: Sequence[Unit], now: float) -> tuple[str, str, str, str]:
    written = max(unit.written for unit in units)
    files = sum(unit.files for unit in units)
    return name, data_size(sum(unit.size for unit in units)), str(files), age(now - written)


def cache_json(root: Path, units: Sequence[Unit], marks: Sequence[Mark]) -> dict[str, Any]:
    """Return a cache folder as JSON: every unit, with times in ISO 8601."""
    models = models_of(list(units))
    return {
        "cache": str(root),
        "bytes": sum(unit.size for unit in units),
        "in_use": [{"host": mark.host, "pid": mark.pid, "store": mark.store} for mark in marks],
        "units": [
            {
                "kind": unit.kind, "name": unit.name, "store": unit.store, "model": models.get(unit.store or ""),
                "path": str(unit.path), "bytes": unit.size, "files": unit.files, "written": _time(unit.written),
                "used": _time(unit.used),
            }
            for unit in units
        ],
    }  # fmt: skip


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


# ---- one store -------------------------------------------------------------------------------------------------------


def contents_lines(contents: StoreContents) -> Iterator[str]:
    """Describe a store in lines: model, dtype, probes, settings, provenance, and what cannot be read."""
    yield f"store     {contents.folder}"
    yield f"model     {contents.model or 'unknown: no run is kept'}, {contents.dtype}, {contents.fingerprint or ''}"
    kinds = ", ".join(f"{count} {kind}" for kind, count in contents.probes.items())
    total = sum(contents.probes.values())
    yield f"probes    {total} on {plural(contents.windows, 'window')}: {kinds}" if total else "probes    none"
    for name, settings in sorted(contents.settings.items()):
        text = ", ".join(f"{key} {value}" for key, value in settings.items()) if settings is not None else "damaged"
        yield f"{name:9} {text}"
    for record in contents.provenances:
        yield f"made with {', '.join(f'{key} {value}' for key, value in record.items() if value is not None)}"
    for path in contents.unread:
        yield f"unread    {path}; see landscape cache verify"


def contents_tables(contents: StoreContents, now: float) -> Iterator[Table]:
    """Return the tables of the points, the layer rows and the runs of a store."""
    if contents.points:
        rows = tuple(
            (point.name, point.method, point.grid, data_size(point.size), age(now - point.written), point.recipe)
            for point in contents.points
        )
        header = ("point", "method", "grid", "size", "written", "recipe")
        yield Table(plural(len(rows), "point"), header, rows, frozenset({0, 1, 2, 5}))
    if contents.layers:
        held = tuple((row.point, str(row.matrices), str(row.windows), str(row.rows)) for row in contents.layers)
        title = f"layer-wise errors at {plural(len(held), 'point')}"
        yield Table(title, ("point", "matrices", "sets of windows", "rows"), held, frozenset({0}))
    if contents.runs:
        runs = tuple(
            (run.name, age(now - run.written), run.head.command if run.head else f"cannot be read: {run.reason}")
            for run in contents.runs
        )
        yield Table(plural(len(runs), "run"), ("run", "written", "command"), runs, frozenset({0, 2}))


def contents_json(contents: StoreContents) -> dict[str, Any]:
    """Return what a store holds as JSON."""
    return {
        "store": str(contents.folder),
        "model": contents.model,
        "fingerprint": contents.fingerprint,
        "dtype": contents.dtype,
        "probes": dict(contents.probes),
        "windows": contents.windows,
        "points": [
            {
                "name": point.name, "method": point.method, "grid": point.grid, "bytes": point.size,
                "written": _time(point.written), "recipe": point.recipe,
            }
            for point in contents.points
        ],
        "layers": [asdict(row) for row in contents.layers],
        "runs": [
            {
                "name": run.name,
                "written": _time(run.written),
                **(
                    {"kind": run.head.kind, "command": run.head.command, "settings": dict(run.head.settings),
                     "written_by": dict(run.head.written_by)}
                    if run.head
                    else {"unread": run.reason}
                ),
            }
            for run in contents.runs
        ],
        "settings": dict(contents.settings),
        "provenances": [dict(record) for record in contents.provenances],
        "unread": list(contents.unread),
    }  # fmt: skip


# ---- checks and removals ---------------------------------------------------------------------------------------------


def verification_lines(done: Verification) -> Iterator[str]:
    """Report a check: a line for each finding, then the counts."""
    for finding in done.findings:
        yield f"{finding.state:9} {finding.path}: {finding.words}"
    counts = Counter(finding.state for finding in done.findings)
    others = "".join(f", {counts[state]} {state}" for state in ("leftover", "unknown") if counts[state])
    yield f"{plural(done.checked, 'file')} checked ({data_size(done.size)}): {counts['damaged']} damaged{others}"


def verification_json(done: Verification) -> dict[str, Any]:
    """Return a check as JSON."""
    findings = [{"path": str(each.path), "state": each.state, "words": each.words} for each in done.findings]
    return {"checked": done.checked, "bytes": done.size, "damaged": len(done.damaged), "findings": findings}


def collection_lines(done: Collection, limits: CacheLimits, dry_run: bool) -> Iterator[str]:
    """Report a removal, or its rehearsal: a line for each thing, then what was freed and what is left."""
    verb = "would remove" if dry_run else "removed"
    for candidate in done.removed:
        used = age(done.now - candidate.used).removesuffix(" ago")
        yield f"{verb} {candidate.name}: {data_size(candidate.size)}, unused for {used}"
    for candidate, reason in done.failed:
        yield f"could not remove {candidate.name}: {reason}"
    if done.busy:
        size = data_size(sum(candidate.size for candidate in done.busy))
        yield f"kept {plural(len(done.busy), 'thing')} ({size}) that a session uses, or that was used within the hour"
    freed = data_size(sum(candidate.size for candidate in done.removed))
    left = data_size(done.left)
    yield f"would free {freed}; {left} would be left" if dry_run else f"freed {freed}; {left} are left"
    if done.uncounted and limits.keep is not None:
        more = "" if limits.stores else "; probes go with a whole store alone: --stores"
        yield f"{data_size(done.uncounted)} do not count, since no limit removes them{more}"
    if done.over:
        results = "; runs and studies stay, since the rest alone is above it" if done.spared_results else ""
        yield f"still {data_size(done.over)} above the limit, and nothing else may go{results}"


def collection_json(done: Collection, dry_run: bool) -> dict[str, Any]:
    """Return a removal as JSON."""

    def row(candidate: Candidate) -> dict[str, Any]:
        return {
            "name": candidate.name, "path": str(candidate.path), "bytes": candidate.size,
            "used": _time(candidate.used),
        }  # fmt: skip

    return {
        "dry_run": dry_run,
        "removed": [row(each) for each in done.removed],
        "failed": [{**row(each), "reason": reason} for each, reason in done.failed],
        "in_use": [row(each) for each in done.busy],
        "bytes_freed": sum(each.size for each in done.removed),
        "bytes_left": done.left,
        "bytes_uncounted": done.uncounted,
        "bytes_over": done.over,
        "spared_results": done.spared_results,
    }
