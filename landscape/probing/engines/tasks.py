"""Cut a plan into tasks for several workers: large ones first, small ones last, so that all end at about one time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from landscape.probing.plan import PlanStep, ProbePlan

SMALLEST = 8
"""Fewest windows of a task: a task draws its direction, which costs about as much as a window, and restores w."""
_LOOKAHEAD = 2
"""A task is this part of a worker's equal share of all that is left, so that a slow worker holds nobody up."""


class TaskQueue:
    """The probes of a plan that no worker has yet.

    A task is a run of steps in the order of the plan: its λ share a direction, and its positions the first blocks that
    they leave unchanged. The windows of a step come apart only where the step alone is more than a task.
    """

    def __init__(self, plan: ProbePlan, batch: int = 1) -> None:
        """Begin with a whole plan.

        Args:
            plan: The plan.
            batch: Number of windows in a forward pass: the windows of a step come apart between two.
        """
        self._steps, self._batch = deque(plan.steps), batch

    def __len__(self) -> int:
        """Count the windows that are left."""
        return sum(len(step.windows) for step in self._steps)

    def take(self, workers: int) -> ProbePlan:
        """Take the next task; an empty one if nothing is left.

        Args:
            workers: Number of workers that share what is left.
        """
        return ProbePlan(tuple(self._take(max(SMALLEST, -(-len(self) // (_LOOKAHEAD * workers))))))

    def give_back(self, plan: ProbePlan) -> None:
        """Put probes back, to be taken next."""
        self._steps.extendleft(reversed(plan.steps))

    def _take(self, size: int) -> Iterator[PlanStep]:
        while self._steps and size > 0:
            step = self._steps.popleft()
            cut = -(-size // self._batch) * self._batch
            if len(step.windows) >= cut + SMALLEST:
                self._steps.appendleft(replace(step, windows=step.windows[cut:]))
                step = replace(step, windows=step.windows[:cut])
            size -= len(step.windows)
            yield step
