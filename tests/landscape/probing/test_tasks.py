"""Tasks hold every probe once, become smaller, and come back when their worker dies."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.positions.position import CENTER, At, OnRay
from landscape.probing.engines.tasks import SMALLEST, TaskQueue
from landscape.probing.plan import Fidelity, PlanStep, ProbePlan, ProbeResult, Window, point_plan

WINDOWS = tuple(Window(f"w{i}", torch.tensor([i])) for i in range(200))


def plan_of(center: int, directions: int, lambdas: int, windows: int) -> ProbePlan:
    rays = (OnRay("f", i, float(lam)) for i in range(directions) for lam in range(1, lambdas + 1))
    return point_plan([CENTER] if center else [], WINDOWS[:center]) + ProbePlan.of(rays, WINDOWS[:windows])


@given(st.integers(0, 200), st.integers(0, 9), st.integers(1, 14), st.integers(1, 40), st.integers(1, 9))
def test_every_probe_is_in_one_task_in_order(
    center: int, directions: int, lambdas: int, windows: int, workers: int
) -> None:
    plan = plan_of(center, directions, lambdas, windows)
    queue, tasks = TaskQueue(plan), []
    while queue:
        left = len(queue)
        tasks.append(queue.take(workers))
        assert 0 < left - len(queue) == len(tasks[-1])
        assert len(tasks[-1]) < max(SMALLEST, -(-left // (2 * workers))) + SMALLEST
    assert [p for task in tasks for p in task.probes()] == list(plan.probes())
    assert not queue.take(workers).steps


def test_two_workers_end_at_about_one_time() -> None:
    """Each takes the next task when it is free; a task costs its windows, and one more for its direction."""
    queue, ends, probes = TaskQueue(plan_of(0, 3, 14, 16)), [0, 0], 3 * 14 * 16
    while queue:
        free = ends.index(min(ends))
        ends[free] += len(queue.take(2)) + 1
    assert max(ends) <= probes / 2 / 0.95  # three directions whole would be 2/3 of all on one


def test_windows_come_apart_between_two_batches() -> None:
    queue, tasks = TaskQueue(plan_of(150, 0, 1, 1), 16), []
    while queue:
        tasks.append(queue.take(3))
    assert len(tasks) > 2
    assert all(len(task) % 16 == 0 for task in tasks[:-1])


def test_a_task_of_a_dead_worker_comes_next() -> None:
    plan = plan_of(20, 2, 3, 8)
    queue = TaskQueue(plan)
    task = queue.take(2)
    done = {probe: ProbeResult(probe, 1.0, 11) for probe in list(task.probes())[:5]}
    queue.give_back(task.missing(done))
    again: list[object] = []
    while queue:
        again += queue.take(1).probes()
    assert again == [p for p in plan.probes() if p not in done]


def test_a_cut_step_still_asks_for_its_fidelity() -> None:
    queue, flags = TaskQueue(point_plan([CENTER], WINDOWS, fidelity=True)), []
    while queue:
        flags += [step.fidelity for step in queue.take(3).steps]
    assert len(flags) > 2
    assert all(flags)


def test_a_dead_worker_gives_the_question_for_fidelity_back() -> None:
    plan = ProbePlan((PlanStep(At(CENTER), WINDOWS[:4], fidelity=True),))
    first = next(iter(plan.probes()))
    assert [s.fidelity for s in plan.missing({first: ProbeResult(first, 1.0, 11)}).steps] == [True]
    assert len(plan.missing({first: ProbeResult(first, 1.0, 11)})) == 4  # its result lacks the fidelity
    assert len(plan.missing({first: ProbeResult(first, 1.0, 11, Fidelity(0.0, 11, 1.0))})) == 3
