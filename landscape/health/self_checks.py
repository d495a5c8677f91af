"""Measure what ``landscape.health.checks`` judges, when the work of a run is done."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from landscape.health import checks as health
from landscape.health.checks import CACHED, failed
from landscape.health.text_checks import ProbedText, text_checks
from landscape.positions.atlas import Ray
from landscape.positions.directions import Direction, Family
from landscape.positions.position import CENTER, OnRay
from landscape.probing.plan import Probe, ProbePlan, ProbeResult, Window, blocks_of, ray_plan, require
from landscape.probing.runner import Runner
from landscape.session.progress import Progress, Silent
from landscape.session.run_record import Check
from landscape.session.session import Session
from quant.center import Center
from quant.corpora.texts import SELF
from quant.nll import window_nll
from quant.space import WeightSpace

SLOPE_RATIO = 2.0**-6
"""λ/‖w‖ of the slope at w. On the built-in model the slope is the same, to a tenth of its standard error, from 2⁻¹⁰ to
2⁻⁴; farther out the third derivative shows."""
SLOPE_DIRECTIONS = 2
SLOPE_WINDOWS = 8
"""At most, and the first ones."""
_COMPARED = 3  # directions: one held whole, one tensor of each other; drawing one takes 2.4 s at 1e8 weights


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run whose work is done."""

    runner: Runner
    model: nn.Module
    """As the run leaves it."""
    space: WeightSpace
    center: Center
    family: Family
    directions: int
    """How many directions of the family it used."""
    lam: float
    """The smallest λ along them, the slope's own among them: ``nearest``."""
    window: Window
    """One on which w was evaluated."""
    slope: Check
    """Of the slope at w: see ``slope_at_w``."""
    text: ProbedText | None = None
    """The text, if it is to be checked too."""

    @classmethod
    def of(
        cls,
        session: Session,
        family: Family,
        directions: int,
        lam: float,
        slope: Check,
        windows: tuple[Window, ...] | None = None,
    ) -> FinishedRun:
        """Describe the run of a session.

        Args:
            session: The session, its work done.
            family: The directions that it used.
            directions: How many of them.
            lam: The smallest λ that the job asked for.
            slope: The check of the slope at w.
            windows: Those of the judged split that were evaluated; None for all.
        """
        subject, some = session.subject, session.windows if windows is None else windows
        text = ProbedText.of(subject.checkpoint, subject.corpus, some)
        return cls(
            session.runner, subject.model, subject.space, subject.center, family, directions,
            nearest(lam, subject.norm), some[0], slope, text,
        )  # fmt: skip


def examine(run: FinishedRun, progress: Progress | None = None) -> tuple[Check, ...]:
    """Make all checks of a run; if it evaluated nothing, only those that call no model and draw no direction.

    Args:
        run: The run.
        progress: Is warned of what failed.
    """
    if run.runner.evaluated:
        first = run.family.draw(0)
        model = _repeated(run.runner, run.model, run.window)
        others = range(1, min(run.directions, _COMPARED))
        drawn = (_orthogonal(run.space, first, run.family, others), _resolution(run.space, run.center, first, run.lam))
    else:
        model = (health.unchecked(health.L_AT_W, CACHED), health.unchecked(health.DETERMINISTIC, CACHED))
        drawn = (health.unchecked(health.ORTHOGONAL, CACHED), health.unchecked(health.RESOLUTION, CACHED))
    text = text_checks(run.text, run.model, bool(run.runner.evaluated)) if run.text else ()
    checks = (*model, run.slope, *drawn, _finite(run.runner), *text)
    for check in failed(checks):
        (progress or Silent()).warn(check.words)
    return checks


def nearest(lam: float, norm: float) -> float:
    """Return the smallest λ of a run: the least that its job asked for, or that of the slope at w; ``norm`` is ‖w‖."""
    return min(lam, SLOPE_RATIO * norm)


def slope_plan(family: Family, directions: int, norm: float, windows: tuple[Window, ...]) -> ProbePlan:
    """Plan what the slope at w is taken from: both ways along the first directions."""
    count = min(directions, SLOPE_DIRECTIONS)
    return ray_plan(family, count, [SLOPE_RATIO * norm], windows[:SLOPE_WINDOWS], pairs=True)


def slope_at_w(
    runner: Runner, family: Family, directions: int, norm: float, windows: tuple[Window, ...], own_text: bool
) -> Check:
    """Check the slope at w, from probes that ``slope_plan`` asked for with the same arguments.

    Args:
        runner: Which has evaluated the plan.
        family: Of the directions.
        directions: How many the run uses.
        norm: ‖w‖.
        windows: Those of the split.
        own_text: Whether the model wrote them itself.
    """
    some, lam = windows[:SLOPE_WINDOWS], SLOPE_RATIO * norm
    indices = range(min(directions, SLOPE_DIRECTIONS))

    def results(index: int, signed: float) -> list[ProbeResult]:
        recipe = str(OnRay(family.name, index, signed))
        return [require(runner.known, Probe(recipe, window.identity)) for window in some]

    plus, minus = (np.array([[r.total for r in results(i, signed)] for i in indices]) for signed in (lam, -lam))
    return health.slope(plus, minus, np.array([r.tokens for r in results(0, lam)]), lam, own_text, blocks_of(some))


def measure_slope(session: Session, family: Family, windows: tuple[Window, ...] | None = None) -> Check:
    """Measure and check the slope at w, for jobs that evaluate nothing else so near to it.

    Args:
        session: Evaluates what is missing.
        family: The directions, of which the job uses as many at least.
        windows: Those that the job evaluates anyway; None for all of the judged split.
    """
    some, norm = session.windows if windows is None else windows, session.subject.norm
    session.evaluate(slope_plan(family, SLOPE_DIRECTIONS, norm, some), families=[family])
    return slope_at_w(session.runner, family, SLOPE_DIRECTIONS, norm, some, session.request.corpus == SELF)


def _repeated(runner: Runner, model: nn.Module, window: Window) -> tuple[Check, Check]:
    """One window at w again, and then again, of the model as it stands."""
    probe = Probe(CENTER, window.identity)
    again, once_more = (window_nll(model, window.tokens).total for _ in range(2))
    others = [] if probe in runner.fresh else _made_otherwise(runner)
    return health.reproduced(runner.known[probe].total, again, others), health.deterministic(again, once_more)


def _made_otherwise(runner: Runner) -> list[str]:
    """How some numbers of the store were made that this run would make in another way."""
    mine = json.loads(json.dumps(dict(runner.provenance)))
    told = set()
    for record in runner.store.provenances():
        keys = sorted(key for key in record.keys() | mine.keys() if record.get(key) != mine.get(key))
        told.add(", ".join(f"{key} {record.get(key, 'unknown')}" for key in keys))
    return sorted(told - {""})


def _orthogonal(space: WeightSpace, first: Direction, family: Family, others: Sequence[int]) -> Check:
    """The cosines of the first directions, one tensor at a time.

    ``⟨a, b⟩ = Σ x_i``, ``x_i = a_i b_i``. Of independent noise the signs of the x_i are random, whatever its scale in
    each coordinate, so the sum exceeds ``t·√Σx_i²`` with probability below 2·exp(−t²/2) (Hoeffding 1963). On the sphere
    that root is 1/√D; where a family puts more weight on fewer coordinates it is larger by itself.
    """
    if not others:
        return health.unchecked(health.ORTHOGONAL, "A single direction has no other to be orthogonal to.")
    indices = [0, *others]
    lengths = dict.fromkeys(indices, 0.0)
    sums = dict.fromkeys(combinations(indices, 2), (0.0, 0.0))  # Σx and Σx²
    for slot in space:
        parts = {0: first.parts[slot.name], **{index: family.part(slot, index) for index in others}}
        lengths = {i: length + _sum(parts[i] * parts[i]) for i, length in lengths.items()}
        for (i, j), (total, square) in sums.items():
            product = parts[i] * parts[j]
            sums[i, j] = total + _sum(product), square + _sum(product * product)
    found = [
        (total / scale, math.sqrt(square) / scale)
        for (i, j), (total, square) in sums.items()
        for scale in [math.sqrt(lengths[i] * lengths[j])]
    ]
    return health.orthogonal(*max(found, key=lambda each: abs(each[0]) / each[1] if each[1] else 0.0))


def _sum(values: Tensor) -> float:
    """In float64."""
    return float(values.sum(dtype=torch.float64))


def _resolution(space: WeightSpace, center: Center, direction: Direction, lam: float) -> Check:
    """What the model's dtype makes of one step of length λ."""
    ray = Ray(center, direction, lam)
    moved, lost = [], []
    for slot in space:
        w, e = center.tensor(slot).double(), direction.tensor(slot).to(center.tensor(slot).device)
        step = ray.tensor(slot).to(center.tensor(slot).dtype).double() - w
        moved.append(float(step.square().sum()))
        lost.append(float((step - lam * e.double()).square().sum()))
    dtype = str(center.tensor(space.slots[0]).dtype).removeprefix("torch.")
    return health.resolution(math.sqrt(math.fsum(moved)) / lam, math.sqrt(math.fsum(lost)) / lam, lam, dtype)


def _finite(runner: Runner) -> Check:
    """The losses that the run used."""
    every: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for probe in runner.asked:
        kind = probe.position.partition("/")[0]
        every[kind] += 1
        lost[kind] += not math.isfinite(runner.known[probe].total)
    return health.finite_losses(every, lost)
