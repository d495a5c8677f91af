"""Run the recipes of MACHINES.md on this machine: all give the numbers of one process, to the bit."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from landscape.cli import main
from landscape.probing.plan import Probe, ProbeResult
from landscape.probing.store import Store
from quant.checkpoints.checkpoint import load_checkpoint
from tests.conftest import ROOT
from tests.landscape.cli.asking import stable

PAGE = (ROOT / "landscape" / "MACHINES.md").read_text()
SMALL = [
    "--windows", "2", "--test-windows", "1", "--seq-len", "64", "--lambda-count", "4", "--alphas", "2",
    "--refinements", "1", "--calibration-windows", "2", "--qaft-examples", "3", "--qaft-epochs", "1",
    "--qaft-rates", "1e-4",
]  # fmt: skip
MAIN = """
import signal
from landscape.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background of a script ignores it
main()
"""


def code_block(language: str) -> str:
    """The first block of the page in a language."""
    (text, *_) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return text


def commands(text: str) -> list[list[str]]:
    """The words after ``landscape`` of every command on lines of its own."""
    return [shlex.split(line)[1:] for line in re.findall(r"^ *(landscape .*)$", text, re.MULTILINE)]


INDENTED = [words for words in commands(re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)) if words]
WITH_RAY = next(words for words in INDENTED if "--ray-workers" in words)
(PLAIN,) = [words for words in INDENTED if "--shard" not in words and "--engine" not in words]


@dataclass
class Place:
    """A store of its own, and the commands that run in it."""

    folder: Path

    @property
    def own(self) -> list[str]:
        """Words that make a command small and its folders those of this place."""
        return ["--store", f"{self.folder}/store", "--output", f"{self.folder}/page", "--json", *SMALL]

    def start(self, words: Sequence[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command of the page, with smaller numbers, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *words, *self.own],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )  # fmt: skip

    def run(self, *words: str) -> dict[str, Any]:
        """Run a command and read its JSON."""
        return finished(self.start(words))

    @property
    def losses(self) -> dict[Probe, ProbeResult]:
        return Store(self.folder / "store", load_checkpoint("opt-nano").identity, "float32").probes()


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[Probe, ProbeResult]]:
    """The result and the losses of one process."""
    place = Place(tmp_path_factory.mktemp("inline"))
    found = place.run(*PLAIN)
    assert found["probes"]["evaluated"] == found["probes"]["total"] == len(place.losses)
    return found, place.losses


@contextmanager
def one_thread() -> Iterator[None]:
    """As the processes of this file have it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


Inline = tuple[dict[str, Any], dict[Probe, ProbeResult]]


def check_shards(inline: Inline, place: Place, done: Sequence[dict[str, Any]]) -> None:
    """What three shards evaluated in an empty store, then the run without --shard."""
    assert [each["shard"] for each in done] == [{"index": index, "count": 3} for index in (1, 2, 3)]
    assert not (place.folder / "page").exists()
    evaluated = [each["probes"]["evaluated"] for each in done]
    whole, losses = inline
    assert sum(evaluated) <= 1.2 * len(losses)  # the pilot is everybody's
    assert max(evaluated) < 0.5 * len(losses)
    assert len(place.losses) >= 0.6 * len(losses)  # a shard that ends early leaves the lines to the others' points
    rest = place.run(*PLAIN)
    assert rest["probes"]["total"] == whole["probes"]["total"]
    assert rest["probes"]["evaluated"] == len(losses) - rest["probes"]["cached"]
    assert stable(rest) == stable(whole)
    assert place.losses == losses
    assert Path(rest["page"]).exists()


@pytest.mark.long
def test_shards_of_a_slurm_array_give_the_numbers_of_one_process(inline: Inline, place: Place) -> None:
    script = code_block("bash")
    first, last = map(int, re.findall(r"#SBATCH --array=(\d+)-(\d+)", script)[0])
    (words,) = commands(script)
    array = {"COUNT": last - first + 1, "MIN": first, "MAX": last, "STEP": 1}
    shards = [  # all at one moment
        place.start(words, {f"SLURM_ARRAY_TASK_{key}": str(value) for key, value in {**array, "ID": task}.items()})
        for task in range(first, last + 1)
    ]
    check_shards(inline, place, [finished(process) for process in shards])


def test_pods_of_an_indexed_job_give_the_numbers_of_one_process(
    inline: Inline, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    job = yaml.safe_load(code_block("yaml"))
    assert job["spec"]["completionMode"] == "Indexed"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    program, *words = container["command"]
    assert program == "landscape"
    done = []
    with one_thread():
        for index in range(job["spec"]["completions"]):  # one after the other, in this process
            monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
            monkeypatch.setattr(sys, "argv", ["landscape", *words, *place.own])
            with pytest.raises(SystemExit):
                main()
            done.append(json.loads(capsys.readouterr().out))
    check_shards(inline, place, done)


def actors(process: subprocess.Popen[str], title: str = "ray::RayWorker") -> list[int]:
    """The ids of the actors that a command of ours has started."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            found += [child.pid] if " ".join(child.cmdline()).startswith(title) else []
    return found


def until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 120
    while not (value := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


@pytest.mark.long
def test_ray_with_an_actor_killed_gives_the_numbers_of_one_process(inline: Inline, place: Place) -> None:
    process = place.start(WITH_RAY)
    until(lambda: list(place.folder.rglob("probes/*.h5")), process)  # w is evaluated
    (victim, *_) = until(lambda: actors(process, "ray::RayWorker.evaluate"), process)
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    whole, losses = inline
    assert "an actor of Ray died, and its work goes to the 1 left" in " ".join(err.split())
    found = json.loads(out)  # Ray says nothing on stdout
    assert found["probes"] == whole["probes"]
    assert stable(found) == stable(whole)
    assert place.losses == losses


@pytest.mark.long
def test_ctrl_c_ends_the_actors_too(place: Place) -> None:
    process = place.start([*WITH_RAY, "--directions", "99"])
    until(lambda: actors(process, "ray::RayWorker.evaluate"), process)
    started = [psutil.Process(pid) for pid in (process.pid, *actors(process))]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted; evaluated probes" in " ".join(err.split())
    assert "Traceback" not in err
    assert not psutil.wait_procs(started, timeout=30)[1]
