"""Time implementations of the same task in turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.rows import Row

Work = Callable[[], object]


def timed(work: Work) -> float:
    """Time one call, in seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turns(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Call each work once to warm up, then all of them one after the other in every round.

    Returns:
        The seconds of each work, by its name and in the order of the rounds.
    """
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(timed(work))
    return seconds


def ratio(key: str, ours: Sequence[float], theirs: Sequence[float], **more: object) -> Row:
    """Return the row of a ratio: the median and the quartiles of ours over theirs, neighbour by neighbour.

    Args:
        key: Name of the row, unique in its benchmark and thread count.
        ours: Seconds above the line.
        theirs: Seconds below the line, taken in turns with them.
        more: Other fields of the row.
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    seconds = [statistics.median(ours), statistics.median(theirs)]
    return {"key": key, "ratio": [low, middle, high], "seconds": seconds, "rounds": len(ratios), **more}


def peak() -> float:
    """Return the peak memory of this process, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
