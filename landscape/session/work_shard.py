"""Divide the work of a run among machines: ``--shard i/n`` takes the i-th of n parts, counted from 1.

Work is dealt like cards, so that a part follows from the request alone. The tasks of a SLURM array and the pods of an
indexed Kubernetes job take their parts from the environment with ``--shard auto``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from quant.errors import UsageError

AUTO = "auto"
_NUMBER = "[0-9]{1,18}"  # of a task or of shards, within 64 bits
_SLURM = "SLURM_ARRAY_TASK_"
_KUBERNETES = "JOB_COMPLETION_INDEX"
_EXAMPLES = "such as 1/8 (shards count from 1, up to 8/8), auto or auto/8"


@dataclass(frozen=True)
class WorkShard:
    """One of several parts of the work of a run."""

    index: int
    """Which part, from 1 to ``count``."""
    count: int
    """Number of parts."""

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            last = max(self.count, 1)
            raise UsageError(
                f"expected a shard from 1/{last} to {last}/{last} in --shard, got {self}; shards count from 1"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def takes(self, place: int) -> bool:
        """Return whether the piece of work at a place, counted from 0, is in this shard: they are dealt in turn."""
        return place % self.count == self.index - 1

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> WorkShard:
        """Read ``i/n``; ``auto`` and ``auto/n`` take the rest from the environment.

        Args:
            text: The words of the user.
            environment: The environment variables; None for those of this process.

        Raises:
            UsageError: if the words cannot be read, or the environment does not say which shard this is.
        """
        given, slash, count = text.partition("/")
        numbers = [given, count] if given != AUTO else [count] if slash else []
        if (given != AUTO and not slash) or not all(re.fullmatch(_NUMBER, number) for number in numbers):
            raise UsageError(f"expected --shard {_EXAMPLES}, got {text[:80]!r}")
        if given != AUTO:
            return cls(int(given), int(count))
        return _from_environment(os.environ if environment is None else environment, int(count) if slash else None)


def _from_environment(environment: Mapping[str, str], count: int | None) -> WorkShard:
    """Find the shard of this task of an array or of this pod.

    Args:
        environment: The environment variables.
        count: Number of shards that the user gave; None if the environment must know it.
    """
    slurm, kubernetes = f"{_SLURM}ID" in environment, _KUBERNETES in environment
    if slurm and kubernetes:
        raise UsageError(f"expected one of {_SLURM}ID and {_KUBERNETES} with --shard auto, got both; give --shard i/n")
    if slurm:
        return _from_slurm(environment, count)
    if not kubernetes:
        raise UsageError(
            f"expected {_SLURM}ID (a SLURM array) or {_KUBERNETES} (an indexed Kubernetes job) in the environment with "
            f"--shard auto, got neither; give --shard i/n, {_EXAMPLES}"
        )
    if count is None:
        raise UsageError(
            f"expected the number of shards with {_KUBERNETES}, which Kubernetes does not say; give --shard auto/N, "
            "where N is completions of the job"
        )
    index = _number(environment, _KUBERNETES)
    if index >= count:
        raise UsageError(
            f"expected {_KUBERNETES} below {count} with --shard auto/{count}, got {index}; give --shard auto/N, where "
            "N is completions of the job"
        )
    return WorkShard(index + 1, count)


def _from_slurm(environment: Mapping[str, str], count: int | None) -> WorkShard:
    """Find the shard of a task of an array, whatever its first index and its step are."""
    missing = [f"{_SLURM}{key}" for key in ("COUNT", "MIN") if f"{_SLURM}{key}" not in environment]
    if missing:
        raise UsageError(
            f"expected {' and '.join(missing)} beside {_SLURM}ID with --shard auto, got none; give --shard i/n"
        )
    task, tasks, first = (_number(environment, f"{_SLURM}{key}") for key in ("ID", "COUNT", "MIN"))
    step = _number(environment, f"{_SLURM}STEP") if f"{_SLURM}STEP" in environment else 1
    last = _number(environment, f"{_SLURM}MAX") if f"{_SLURM}MAX" in environment else first + step * (tasks - 1)
    place, rest = divmod(task - first, max(step, 1))
    if rest or not 0 <= place < tasks or last - first != step * (tasks - 1):
        raise UsageError(
            f"expected a SLURM array in equal steps, such as --array=1-{max(tasks, 2)}, with --shard auto, got task "
            f"{task} of {tasks} from {first} to {last} in steps of {step}; give --shard i/n"
        )
    if count not in (None, tasks):
        raise UsageError(
            f"expected --shard auto, or auto/{tasks} as the SLURM array has {tasks} tasks, got auto/{count}"
        )
    return WorkShard(place + 1, tasks)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not re.fullmatch(_NUMBER, text):
        raise UsageError(f"expected a whole number in {name}, got {text[:80]!r}; give --shard i/n")
    return int(text)
