"""Describe the processor of this machine, as far as results depend on it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

_LISTING = Path("/proc/cpuinfo")  # Linux


def usable_cores() -> int:
    """Return the number of cores that this process may use: a batch job may have fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Return the name of the processor: two kinds may round the last bits of a product differently."""
    listing = _LISTING.read_text(encoding="utf-8") if _LISTING.exists() else ""
    found = re.search(r"^model name\s*:\s*(.*)$", listing, re.MULTILINE)
    return re.sub(r"\s+", " ", found[1]).strip() if found else platform.processor() or platform.machine()
