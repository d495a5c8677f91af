"""Bound the numbers that users and files give: beyond these a run would not end, or the machine would give way.

Each bound is far above any use that makes sense, and below what makes a list, a plan or a library fail.
"""

from __future__ import annotations

from dataclasses import dataclass

from quant.errors import UsageError


@dataclass(frozen=True)
class Most:
    """The largest value of a number that a user gives."""

    value: int
    why: str
    """The reason, as a part of the sentence that refuses more."""

    def check(self, given: int, flag: str) -> None:
        """Check a number.

        Raises:
            UsageError: if it is larger.
        """
        if given > self.value:
            raise UsageError(f"expected at most {self.value} as {flag}, {self.why}, got {str(given)[:40]}; give fewer")


SEED = Most(2**64 - 1, "the largest seed of torch and numpy")
"""numpy's Philox takes keys from 0 to this, torch's generators all up to this."""
DIRECTIONS = Most(100_000, "each of which is followed through all windows")
"""The interval of R is narrower than 1 % of R with some hundreds."""
WINDOWS = Most(100_000, "each of which is evaluated at every position")
"""Fifty million tokens at 512 each; all windows of a longer text are evaluated by the preset ``paper``."""
EXAMPLES = Most(100_000, "each of which is read for every point")
EPOCHS = Most(10_000, "each of which goes through all examples")
POSITIONS = Most(10_000, "each of which is evaluated on every window")
"""Positions along one line: between two of so many no difference of losses is seen."""
TOKENS = Most(2**24, "the longest context of any model")
"""Models read up to ten million tokens."""
BATCH = Most(2**14, "which go through the model together")
"""Measured batches have 64 windows at most."""
WORKERS = Most(10_000, "each of which holds a model")
MOST_PROBES = 20_000_000
"""Most probes along the rays, or along one segment: their plan alone takes some gigabytes."""
MOST_THREADS = 1024
"""Most threads of one process: no machine has more cores, and torch ends with a fault of the system at 100,000."""
MOST_CARDS = 1024
"""Most GPUs of one actor."""
LEAST_DISTANCE, MOST_DISTANCE = 1e-12, 1e12
"""Distances from w that a user may give: nearer, float32 weights stay as they are; w itself is some thousands long."""
MOST_RATE = 1e3
"""Largest learning rate: beyond it Adam's first step already leaves the range in which weights are."""
MOST_VERSION = 2**31 - 1
"""Largest version of the evaluation."""


def check_probes(what: str, positions: int, windows: int) -> None:
    """Check that the plan of a run can be held in memory.

    Args:
        what: The options that give the positions.
        positions: Number of positions.
        windows: Number of windows at each.

    Raises:
        UsageError: if it cannot.
    """
    if positions * windows > MOST_PROBES:
        raise UsageError(
            f"expected at most {MOST_PROBES} probes, got {positions} positions ({what}) on {windows} windows each; "
            "use fewer"
        )
