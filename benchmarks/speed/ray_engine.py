"""Measure Ray with two workers of one thread each against one worker, on the same probes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.speed.models import Options
from benchmarks.speed.turns import ratio
from landscape.positions.directions import Sphere
from landscape.probing.plan import ray_plan
from landscape.radius import RadiusRequest
from landscape.session.session import Session

DIRECTIONS, LAMBDAS, WINDOWS = 8, 10, 4
NEEDED = ("landscape.probing.engines.ray", "ray")
START = 15  # seconds in which a worker loads its libraries


def bench_ray(options: Options) -> Iterator[Row]:
    """Evaluate 320 probes of the built-in model by one worker and by two, in turns, each on a thread of its own."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        yield {"key": "ray/workers", "missing": f"not measured: {absent[0]} is not installed"}
        return
    one, two = [], []
    for number in range(max(2, options.rounds // 4)):
        one.append(seconds(1, number))
        two.append(seconds(2, number))
    yield ratio("ray/workers", one, [2 * each for each in two])


def seconds(workers: int, number: int) -> float:
    """Time the evaluation of one plan, after another one has started the workers."""
    with tempfile.TemporaryDirectory() as store:
        request = RadiusRequest("opt-nano", store=Path(store), engine="ray", ray_workers=workers)
        with Session.open(request) as session:
            family, windows = Sphere(session.subject.space, number), session.windows
            lambdas = [session.subject.norm * k / LAMBDAS for k in range(1, LAMBDAS + 1)]
            session.evaluate(ray_plan(family, workers, lambdas[:1], windows[WINDOWS : WINDOWS + 1]), None, [family])
            time.sleep(START)  # the first plan ends as soon as one worker is there
            begin = time.perf_counter()
            session.evaluate(ray_plan(family, DIRECTIONS, lambdas, windows[:WINDOWS]), None, [family])
            return time.perf_counter() - begin
