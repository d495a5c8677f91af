"""Measure Ray with two workers of one thread each against one worker, on the same probes.

Two processes share the memory, the last cache and perhaps the core of this machine. So the same forward passes in two
processes that know nothing of each other, over one alone, are measured beside it: no engine can do better.
"""

from __future__ import annotations

import os
import subprocess
import sys
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

LONG, SHORT, LAMBDAS, WINDOWS = 32, 8, 10, 4  # directions of a plan of half a minute, and of one of ten seconds
NEEDED = ("landscape.probing.engines.ray", "ray")
START = 15  # seconds in which a worker loads its libraries
PASSES = 80  # forward passes of a process on its own
ALONE = f"""
import time, torch
from quant.checkpoints.checkpoint import load_checkpoint
from quant.nll import window_nll
model = load_checkpoint("opt-nano").model
window = torch.arange(512) % 1000
window_nll(model, window)
print("ready", flush=True)
input()
begin = time.perf_counter()
for _ in range({PASSES}):
    window_nll(model, window)
print(time.perf_counter() - begin, flush=True)
"""


def bench_ray(options: Options) -> Iterator[Row]:
    """Evaluate the same plans on the built-in model by one worker and by two, in turns, each on a thread of its own."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        yield {"key": "ray/workers", "missing": f"not measured: {absent[0]} is not installed"}
        return
    rounds = range(max(2, options.rounds // 4))
    for key, directions in (("ray/workers", LONG), ("ray/short", SHORT)):
        taken = [(seconds(1, number, directions), seconds(2, number, directions)) for number in rounds]
        yield ratio(key, [one for one, _ in taken], [2 * two for _, two in taken])
    alone, together = zip(*((processes(1), processes(2)) for _ in rounds), strict=True)
    yield ratio("ray/processes", alone, together)


def seconds(workers: int, number: int, directions: int) -> float:
    """Time the evaluation of one plan, after another one has started the workers."""
    with tempfile.TemporaryDirectory() as store:
        request = RadiusRequest("opt-nano", store=Path(store), engine="ray", ray_workers=workers)
        with Session.open(request) as session:
            family, windows = Sphere(session.subject.space, number), session.windows
            lambdas = [session.subject.norm * k / LAMBDAS for k in range(1, LAMBDAS + 1)]
            session.evaluate(ray_plan(family, workers, lambdas[:1], windows[WINDOWS : WINDOWS + 1]), None, [family])
            time.sleep(START)  # the first plan ends as soon as one worker is there
            begin = time.perf_counter()
            session.evaluate(ray_plan(family, directions, lambdas, windows[:WINDOWS]), None, [family])
            return time.perf_counter() - begin


def processes(count: int) -> float:
    """Time the same forward passes in each of several processes of one thread, which begin at one moment."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ALONE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, env=environment, **pipes) for _ in range(count)]
    for process in started:
        process.stdout.readline()
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    return max(float(process.communicate()[0]) for process in started)
