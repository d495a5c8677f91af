"""A run that was killed or interrupted goes on where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.conftest import ROOT
from tests.landscape.cli.asking import probe_words, stable


@pytest.mark.long
def test_a_killed_run_resumes_to_the_identical_result(run, tmp_path, monkeypatch):
    words = probe_words(tmp_path / "killed", "--bits", "2", "--directions", "6", "--json")
    monkeypatch.setattr("landscape.probing.runner.COMMIT_SECONDS", 0.0)
    script = "import landscape.probing.runner as r; r.COMMIT_SECONDS = 0.0\nfrom landscape.cli import main; main()\n"
    child = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    shards = tmp_path / "killed" / "store"
    deadline = time.monotonic() + 120
    while len(list(shards.rglob("probes/*.h5"))) < 25 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    code, out, err = run(*words)
    assert code == 0, err
    resumed = json.loads(out)
    assert resumed["probes"]["cached"] >= 20

    code, out, _ = run(*probe_words(tmp_path / "whole", "--bits", "2", "--directions", "6", "--json"))
    assert stable(resumed) == stable(json.loads(out))


def test_ctrl_c_is_one_line_and_keeps_what_was_done(run, tmp_path, forwards):
    def interrupt(module, *_):
        if len(forwards) == 24:  # those at w, which all points are compared with, are no probes
            raise KeyboardInterrupt

    handle = torch.nn.modules.module.register_module_forward_hook(interrupt)
    try:
        code, out, err = run(*probe_words(tmp_path, "--methods", "rtn", "--bits", "2"))
    finally:
        handle.remove()
    assert (code, out) == (130, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert "goes on from there" in line
    _, out, _ = run(*probe_words(tmp_path, "--methods", "rtn", "--bits", "2", "--json"))
    assert json.loads(out)["probes"]["cached"] >= 8
