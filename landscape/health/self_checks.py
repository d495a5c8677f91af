"""Take the measurements that ``landscape.health.checks`` judges, after the work of a run."""

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
from landscape.positions.direction import Direction
from landscape.positions.directions import Family
from landscape.positions.position import CENTER, OnRay
from landscape.probing.batches import Batch
from landscape.probing.plan import Probe, ProbePlan, ProbeResult, Window, blocks_of, ray_plan, require
from landscape.probing.runner import Runner
from landscape.session.progress import Progress, Silent
from landscape.session.run_record import Check
from landscape.session.session import Session
from quant.center import Center
from quant.corpora.texts import SELF
from quant.nll import batch_nll
from quant.space import WeightSpace

SLOPE_RATIO = 2.0**-6
"""λ/‖w‖ at which the slope at w is taken. On the built-in model the slope is the same from 2⁻¹⁰ to 2⁻⁴, to a tenth of
its standard error; farther out the third derivative shows."""
SLOPE_DIRECTIONS = 2
"""Largest number of directions for the slope at w."""
SLOPE_WINDOWS = 8
"""Largest number of windows for the slope at w, the first of the split."""
_COMPARED = 3  # directions: one held whole, the others one tensor at a time; drawing one takes a second at 1e8 weights


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run after its work, as the checks need it."""

    runner: Runner
    model: nn.Module
    """The model as the run leaves it."""
    space: WeightSpace
    center: Center
    family: Family
    n_directions: int
    """Number of directions of the family that the run used."""
    lam: float
    """Smallest λ along them, that of the slope included: see ``nearest``."""
    window: Window
    """A window on which w was evaluated."""
    slope: Check
    """Check of the slope at w: see ``slope_at_w``."""
    text: ProbedText | None = None
    """The text; None to leave it unchecked."""
    batch: int = 1
    """Number of windows in a forward pass."""

    @classmethod
    def of(
        cls,
        session: Session,
        family: Family,
        n_directions: int,
        lam: float,
        slope: Check,
        windows: tuple[Window, ...] | None = None,
    ) -> FinishedRun:
        """Describe the run of a session.

        Args:
            session: The session, after its work.
            family: The family of directions that it used.
            n_directions: Number of directions used.
            lam: Smallest λ that the job asked for.
            slope: The check of the slope at w.
            windows: Evaluated windows of the judged split; None for all.
        """
        subject, probed = session.subject, session.windows if windows is None else windows
        session.directions.release()  # the checks hold one of their own
        text = ProbedText.of(subject.checkpoint, subject.corpus, probed)
        return cls(
            session.runner, subject.model, subject.space, subject.center, family, n_directions,
            nearest(lam, subject.norm), probed[0], slope, text, session.batch,
        )  # fmt: skip


def examine(run: FinishedRun, progress: Progress | None = None) -> tuple[Check, ...]:
    """Make all checks of a run; if it evaluated nothing, only those without a model call or a direction.

    Args:
        run: The run.
        progress: Receives a warning for each check that failed.
    """
    if run.runner.evaluated:
        first = run.family.draw(0, run.center)
        model = _repeated(run.runner, run.model, Batch((run.window,), run.batch))
        others = range(1, min(run.n_directions, _COMPARED))
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
    """Return the smallest λ of a run: that of its job or of the slope at w, whichever is less; ``norm`` is ‖w‖."""
    return min(lam, SLOPE_RATIO * norm)


def slope_plan(family: Family, n_directions: int, norm: float, windows: tuple[Window, ...]) -> ProbePlan:
    """Plan the probes for the slope at w: both ways along the first directions."""
    count = min(n_directions, SLOPE_DIRECTIONS)
    return ray_plan(family, count, [SLOPE_RATIO * norm], windows[:SLOPE_WINDOWS], pairs=True)


def slope_at_w(
    runner: Runner, family: Family, n_directions: int, norm: float, windows: tuple[Window, ...], own_text: bool
) -> Check:
    """Check the slope at w, from the probes of ``slope_plan`` with the same arguments.

    Args:
        runner: The runner that evaluated the plan.
        family: The family of directions.
        n_directions: Number of directions that the run uses.
        norm: ‖w‖.
        windows: Windows of the split.
        own_text: Whether the model wrote them itself.
    """
    first, lam = windows[:SLOPE_WINDOWS], SLOPE_RATIO * norm
    indices = range(min(n_directions, SLOPE_DIRECTIONS))

    def results(index: int, signed: float) -> list[ProbeResult]:
        recipe = str(OnRay(family.name, index, signed))
        return [require(runner.known, Probe(recipe, window.identity)) for window in first]

    plus, minus = (np.array([[r.total for r in results(i, signed)] for i in indices]) for signed in (lam, -lam))
    return health.slope(plus, minus, np.array([r.tokens for r in results(0, lam)]), lam, own_text, blocks_of(first))


def measure_slope(session: Session, family: Family, windows: tuple[Window, ...] | None = None) -> Check:
    """Evaluate and check the slope at w, for jobs that evaluate nothing else so near to w.

    Args:
        session: Evaluates what is missing.
        family: The family of directions, of which the job uses at least ``SLOPE_DIRECTIONS``.
        windows: Windows that the job evaluates anyway; None for all of the judged split.
    """
    probed, norm = session.windows if windows is None else windows, session.subject.norm
    session.evaluate(slope_plan(family, SLOPE_DIRECTIONS, norm, probed), families=[family])
    return slope_at_w(session.runner, family, SLOPE_DIRECTIONS, norm, probed, session.request.corpus == SELF)


def _repeated(runner: Runner, model: nn.Module, batch: Batch) -> tuple[Check, Check]:
    """Evaluate one window twice more with the model as the run leaves it, in a batch of its own."""
    probe = Probe(CENTER, batch.windows[0].identity)
    again, once_more = (batch_nll(model, batch.tokens)[0].total for _ in range(2))
    others = [] if probe in runner.fresh else _other_provenances(runner)
    return health.reproduced(runner.known[probe].total, again, others), health.deterministic(again, once_more)


def _other_provenances(runner: Runner) -> list[str]:
    """Return the provenances in the store that differ from that of this run, reduced to the differences."""
    mine = json.loads(json.dumps(dict(runner.provenance)))
    differences = set()
    for record in runner.store.provenances():
        keys = sorted(key for key in record.keys() | mine.keys() if record.get(key) != mine.get(key))
        differences.add(", ".join(f"{key} {record.get(key, 'unknown')}" for key in keys))
    return sorted(differences - {""})


def _orthogonal(space: WeightSpace, first: Direction, family: Family, others: Sequence[int]) -> Check:
    """Check the cosines of the first directions, one tensor at a time.

    ``⟨a, b⟩ = Σ x_i``, ``x_i = a_i b_i``. For independent noise the signs of the x_i are random, whatever its scale in
    each coordinate, so the sum exceeds ``t·√Σx_i²`` with probability below 2·exp(−t²/2) (Hoeffding 1963). On the sphere
    that root is 1/√D; for a family with more weight on fewer coordinates it is larger.
    """
    if not others:
        return health.unchecked(health.ORTHOGONAL, "A single direction has no other to be orthogonal to.")
    indices = [0, *others]
    lengths = dict.fromkeys(indices, 0.0)
    sums = dict.fromkeys(combinations(indices, 2), (0.0, 0.0))  # Σx and Σx²
    for slot in space:
        parts = {0: first.raw(slot)}
        parts |= {index: family.part(slot, index, parts[0].device) for index in others}
        lengths = {i: length + _sum(parts[i] * parts[i]) for i, length in lengths.items()}
        for (i, j), (total, square) in sums.items():
            product = parts[i] * parts[j]
            sums[i, j] = total + _sum(product), square + _sum(product * product)
    cosines = [  # each with its standard deviation for random signs
        (total / scale, math.sqrt(square) / scale)
        for (i, j), (total, square) in sums.items()
        for scale in [math.sqrt(lengths[i] * lengths[j])]
    ]
    return health.orthogonal(*max(cosines, key=lambda each: abs(each[0]) / each[1] if each[1] else 0.0))


def _sum(values: Tensor) -> float:
    """Sum in float64."""
    return float(values.sum(dtype=torch.float64))


def _resolution(space: WeightSpace, center: Center, direction: Direction, lam: float) -> Check:
    """Check that the model's dtype resolves one step of length λ."""
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
    """Check that the losses of the run are finite."""
    kinds: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for probe in runner.asked:
        kind = probe.position.partition("/")[0]
        kinds[kind] += 1
        lost[kind] += not math.isfinite(runner.known[probe].total)
    return health.finite_losses(kinds, lost)
