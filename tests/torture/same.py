"""Measure the same in fresh stores, with other numbers of threads, and in shards: the same losses."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.torture.contexts import Context, Round
from tests.torture.forks import Settings, run
from tests.torture.rows import Rows, changed, read_rows
from tests.torture.scenarios import Reference
from tests.torture.verdict import Verdict, judge

_SCENARIOS = ("rtn", "qaft", "gguf", "self", "radius", "study", "anatomy")
_ROUNDING = 1e-5
"""Relative difference of a loss that another number of threads, which sums in another order, may make in float32."""


def _fresh(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Measure again in a fresh store: the same numbers to the bit."""
    cache = reference.begin(folder / "run")
    verdict = reference.check(reference.run(folder / "run"), folder / "run")
    return _same_rows(verdict, reference.rows, read_rows(cache)).of("a fresh store")


def _threads(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Measure with two threads, and finish with one: the store keeps the number that it was begun with."""
    cache = reference.begin(folder / "run")
    outcome = reference.run(folder / "run", threads=2)
    verdict = judge(outcome)
    rows = read_rows(cache)
    shared = reference.rows.keys() & rows.keys()
    far = [key for key in shared if not math.isclose(rows[key][0], reference.rows[key][0], rel_tol=_ROUNDING)]
    if far:
        return replace(verdict, kind="wrong", words=f"{rows[far[0]]}, not {reference.rows[far[0]]} at {far[0]}")
    if not shared and reference.rows:
        return replace(verdict, kind="wrong", words="no row is that of one thread")
    if not verdict.is_fault:
        again = judge(reference.run(folder / "run", threads=1))
        verdict = again if again.is_fault else _same_rows(verdict, rows, read_rows(cache))
    return verdict.of("two threads, then one")


def _shards(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Measure in shards, in any order, and put them together: the same numbers to the bit."""
    cache, parts = reference.begin(folder / "run"), draw.choice((2, 3, 5))
    for part in draw.sample(range(1, parts + 1), parts):
        words = [*reference.words, "--shard", f"{part}/{parts}"]
        verdict = judge(run(words, Settings(folder / "run", Path("cache"))))
        if verdict.kind != "well":
            return verdict.of(f"shard {part} of {parts}")
    verdict = reference.check(reference.run(folder / "run"), folder / "run")
    return _same_rows(verdict, reference.rows, read_rows(cache)).of(f"{parts} shards")


def _same_rows(verdict: Verdict, expected: Rows, found: Rows) -> Verdict:
    words = "" if verdict.is_fault else changed(expected, found)
    return replace(verdict, kind="wrong", words=words) if words else verdict


_WAYS: tuple[Callable[[Reference, Path, random.Random], Verdict], ...] = (_fresh, _threads, _shards)


def attempt(context: Context, number: int) -> Verdict:
    """Measure one scenario again, in another way."""
    draw = context.draw("same", number)
    way = _WAYS[number % len(_WAYS)]
    names = ("rtn", "qaft", "gguf", "self", "study") if way is _shards else _SCENARIOS  # those that take --shard
    reference = context.references[draw.choice(names)]
    with context.folder("same", number) as folder:
        return way(reference, folder, draw).of(reference.scenario.name)


ROUND = Round("same", 12, attempt, "fresh stores, other numbers of threads, shards: the same losses", _SCENARIOS, 6.0)
