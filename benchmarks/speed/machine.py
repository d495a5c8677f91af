"""Describe the machine, the date and the code of a measurement."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.rows import Row
from quant.processor import processor_name, usable_cores


def commit(code: Path) -> str:
    """Return the commit of a checkout, with a plus sign if its packages were edited since; empty if there is none."""
    packages = ("landscape", "quant")

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", code, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short=9", "HEAD") + ("+" if git("status", "--porcelain", "--", *packages) else "")


def environment(code: Path) -> Row:
    """Return what the numbers of one run depend on besides its options."""
    return {
        "commit": commit(code),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
    }
