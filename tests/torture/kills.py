"""Kill commands with SIGKILL at random moments, and run them again: nothing is lost, and the numbers are the same."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from tests.torture.contexts import Context, Round
from tests.torture.forks import Settings, command, run_work
from tests.torture.rows import Rows, changed, read_rows
from tests.torture.scenarios import Reference
from tests.torture.verdict import Verdict, evaluated, judge

_SCENARIOS = (
    "rtn",
    "qaft",
    "qaft",
    "gguf",
    "self",
    "radius",
    "quantize",
    "point",
    "study",
    "anatomy",
    "export",
    "plot",
    "merge",
)
_LATER = 2 * 24 * 3600.0
"""Seconds after which what a killed process left is nobody's."""


def attempt(context: Context, number: int) -> Verdict:
    """Kill one command, once or a few times, and let it end."""
    draw = context.draw("kills", number)
    name = draw.choice(_SCENARIOS)
    reference = context.references["rtn" if name == "merge" else name]
    with context.folder("kills", number) as folder:
        cache = reference.begin(folder, finished=name == "merge")
        if name == "merge":
            _split(cache, 12)
        before, killed = read_rows(cache), []
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            moment = draw.uniform(0.05, max(reference.seconds, 0.3))
            outcome = reference.run(folder, kill_after=moment)
            killed.append(f"{moment:.2f}")
            if outcome.code != -9 and (verdict := reference.check(outcome, folder)).is_fault:
                return verdict.of(f"{name}, before the kill at {moment:.2f} s")
            rows = read_rows(cache)
            if words := changed(before, rows):
                return Verdict("lost", f"{name}, killed at {', '.join(killed)} s: {words}")
            before = rows
        return _again(reference, folder, before).of(
            f"{name}, killed at {', '.join(killed)} of {reference.seconds:.2f} s"
        )


def _again(reference: Reference, folder: Path, before: Rows) -> Verdict:
    """Run the command to its end: the same numbers, no row lost or evaluated again, nothing left behind later."""
    for mark in (folder / "cache" / "in-use").glob("*"):  # as if this were two days later
        os.utime(mark, (time.time() - _LATER, time.time() - _LATER))
    outcome = reference.run(folder)
    verdict = reference.check(outcome, folder)
    if verdict.kind == "refused":
        return replace(verdict, kind="unexpected", words=f"refused after a kill: {verdict.words}")
    if verdict.is_fault:
        return verdict
    rows = read_rows(folder / "cache")
    if words := changed(before, rows) or changed(reference.rows, rows):
        return replace(verdict, kind="lost", words=words)
    needed = evaluated(reference.answer.json) - len(before)
    if (again := evaluated(json.loads(outcome.out))) > max(needed, 0):
        return replace(verdict, kind="lost", words=f"{again} probes evaluated again, {max(needed, 0)} were missing")
    if words := left_later(folder):
        return replace(verdict, kind="unexpected", words=words)
    return verdict


def left_later(folder: Path) -> str:
    """Tidy a cache two days later, and say what killed processes left for ever; empty if that is nothing."""
    outcome = run_work(
        lambda: _days_later(["cache", "gc", "--keep", "100GB", "--json"]), Settings(folder, Path("cache"))
    )
    verdict = judge(outcome)
    if verdict.kind != "well":
        return f"cache gc ended with {verdict.kind}: {verdict.words}"
    cache = folder / "cache"
    left = [path for path in cache.rglob("*") if path.suffix in (".partial", ".tmp") or path.parent.name == "in-use"]
    return f"left after two days and cache gc: {left[0].relative_to(folder)}" if left else ""


def _days_later(words: list[str]) -> None:
    """Run a command whose clocks, and those of whose file system, are two days later."""
    from landscape.cache import collect
    from landscape.session import in_use

    now, clock = time.time, in_use.clock
    time.time = lambda: now() + _LATER  # type: ignore[assignment]
    for module in (collect, in_use):
        module.clock = lambda folder: clock(folder) + _LATER  # type: ignore[attr-defined]
    command(words)()


def _split(cache: Path, parts: int) -> None:
    """Split the shards of a cache into many, as killed runs leave them, so that the next run merges them."""
    outcome = run_work(lambda: _split_stores(cache, parts), Settings(cache.parent, Path("cache"), name="split"))
    if outcome.code != 0:
        raise RuntimeError(f"expected to split the shards of {cache}, got: {outcome.err}")


def _split_stores(cache: Path, parts: int) -> None:
    from landscape.probing.shard_file import open_shard
    from landscape.probing.store import Store

    for folder in {path.parent.parent for path in cache.glob("*/probes/*.h5")}:
        shards = sorted((folder / "probes").glob("*.h5"))
        shard = open_shard(shards[0])
        assert shard is not None
        with shard:
            store = Store(cache, shard.attributes["model"], shard.attributes["dtype"])
        results, records = list(store.probes().values()), store.provenances()
        for part in range(parts):
            store.commit(results[part::parts], records[0])
        for shard in shards:
            os.unlink(shard)


ROUND = Round(
    "kills", 240, attempt, "SIGKILL at a random moment, one to three times, then the command again",
    tuple(name for name in dict.fromkeys(_SCENARIOS) if name != "merge"), 4.0,
)  # fmt: skip
