"""Measure probes on rays: a direction drawn, written into the model and evaluated; and the drawing alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.rows import Row
from benchmarks.speed.models import Options, smollm, subject
from benchmarks.speed.reference import bare_loss
from benchmarks.speed.turns import in_turns, ratio, timed
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Sphere, noise
from landscape.positions.position import OnRay
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import PlanStep, ProbePlan, identified
from quant.center import Center
from quant.space import WeightSpace

WINDOWS, LENGTH, LAMBDAS = 4, 512, 10


def bench_probe(options: Options) -> Iterator[Row]:
    """Compare a direction's probes at ten λ by the inline engine with bare losses of the same windows.

    After every λ one bare loss is timed, of which the median counts: a next direction that is drawn in the background
    slows the first few of them. A direction before and one after those that count make the plan that of a long run.
    """
    model, tokens = subject(options, WINDOWS, LENGTH)
    space = WeightSpace.of(model)
    center, family, windows = Center.of(model, space), Sphere(space), identified(tokens)
    engine = InlineEngine(model, space, Atlas(center, {}, {family.name: family}))
    count = max(2, options.rounds // 4)
    lambdas = [0.01 * (k + 1) for k in range(LAMBDAS)]
    steps = [PlanStep(OnRay(family.name, d, lam), windows) for d in range(1, count + 1) for lam in lambdas]
    first, last = (PlanStep(OnRay(family.name, d, lambdas[0]), windows[:1]) for d in (0, count + 1))
    results = engine.evaluate(ProbePlan((first, *steps, last)))
    next(results)
    with torch.inference_mode():
        bare_loss(model, tokens[0])
    probes, bare = [], []
    for number in range(len(steps)):
        begin = time.perf_counter()
        for _ in windows:
            next(results)
        probes.append(time.perf_counter() - begin)
        with torch.inference_mode():
            bare.append(timed(lambda window=tokens[number % WINDOWS]: bare_loss(model, window)))
    results.close()
    ours = [sum(probes[d * LAMBDAS : (d + 1) * LAMBDAS]) for d in range(count)]
    forwards = WINDOWS * LAMBDAS
    theirs = [forwards * statistics.median(bare[d * LAMBDAS : (d + 1) * LAMBDAS]) for d in range(count)]
    yield ratio("probe/bare", ours, theirs)


def bench_drawing(options: Options) -> Iterator[Row]:
    """Compare the noise of all matrices, and a whole direction, with numpy's and torch's normals of the same shapes."""
    space = WeightSpace.of(smollm(options.blocks))
    family, generator = Sphere(space), np.random.Generator(np.random.PCG64(0))
    shapes = [tuple(slot.shape) for slot in space]

    def direction() -> None:
        drawn = family.draw(1)
        for slot in space:
            drawn.tensor(slot)

    seconds = in_turns(
        {
            "noise": lambda: [noise(slot, 0, 1) for slot in space],
            "direction": direction,
            "numpy": lambda: [generator.standard_normal(shape, dtype=np.float32) for shape in shapes],
            "torch": lambda: [torch.randn(shape) for shape in shapes],
        },
        options.rounds,
    )
    yield ratio("drawing/numpy", seconds["noise"], seconds["numpy"], normals=space.dimension)
    yield ratio("drawing/torch", seconds["noise"], seconds["torch"], normals=space.dimension)
    yield ratio("drawing/direction", seconds["direction"], seconds["noise"], normals=space.dimension)
