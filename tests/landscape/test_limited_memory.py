"""Check in a child process that nothing of the landscape holds a flat vector of all weights."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's address space")
def test_a_model_several_times_larger_than_the_memory_left_is_probed() -> None:
    alone = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-m", "tests.landscape.limited_memory"]
    done = subprocess.run(command, capture_output=True, text=True, env=alone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "probes along its ray" in done.stdout
