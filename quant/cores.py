"""Count the cores of this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return the number of cores that this process may use: a batch job may have fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
