"""A signal ends a command soon, with one line and its exit code, whatever the main thread is at.

Each case is a real process, forked from this one, so that nothing has to be imported again.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from landscape.cli import main, signals
from landscape.cli.progress import ConsoleProgress
from landscape.probing.plan import Probe, ProbePlan, ProbeResult
from landscape.probing.runner import Runner
from quant import interruption
from quant.files.temporary_files import scratch_folder, temporary_path
from tests.killed import fork

Ready = Callable[[], None]
RESULT = ProbeResult(Probe("p", "w"), 1.0, 2)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")


@dataclass(frozen=True)
class Ended:
    """Exit code, output and time of a process."""

    code: int
    lines: list[str]
    seconds: float
    """From the last signal to the end."""


class Signalled:
    """Runs a command in a process of its own, and sends signals to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, monkeypatch

    def __call__(self, work: Callable[[Ready], object], *sent: int, pause: float = 0.0) -> Ended:
        """Run a command whose work says when it is ready for the first signal."""
        reader, writer = os.pipe()

        def answer(words: list[str]) -> int:
            work(lambda: os.write(writer, b"r") and None)
            return 0

        self._patch.setattr("landscape.cli.application.answer", answer)
        stderr = self.folder / "stderr"
        pid = fork()
        if not pid:
            self._run(stderr)
        os.read(reader, 1)
        for place, number in enumerate(sent):
            time.sleep(pause if place else 0.02)
            started = time.monotonic()
            os.kill(pid, number)
        deadline = time.monotonic() + 20
        while not (done := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.005)
        if not done[0]:
            os.kill(pid, signal.SIGKILL)
            done = os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
        return Ended(os.waitstatus_to_exitcode(done[1]), stderr.read_text().splitlines(), time.monotonic() - started)

    def _run(self, stderr: Path) -> None:
        """Run the command in the forked process, and end it as Python would."""
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 – for the rest of the process
        code = 99
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(code)


@pytest.fixture
def signalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Signalled]:
    """A suite in the background of a script, or below nohup, ignores what its processes must not."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield Signalled(tmp_path, monkeypatch)
    for number, handler in before.items():
        signal.signal(number, handler)


def waits(ready: Ready) -> None:
    ready()
    time.sleep(30)


def makes_another_error(ready: Ready) -> None:
    """As the import of an extension does."""
    try:
        waits(ready)
    except BaseException:
        raise ImportError("initialization failed") from None


def swallows(ready: Ready) -> None:
    try:
        waits(ready)
    except BaseException:
        ConsoleProgress(quiet=True).advance(1.0)


class _Deaf:
    def __init__(self, ready: Ready) -> None:
        self._ready = ready

    def __del__(self) -> None:
        waits(self._ready)


def loses(ready: Ready) -> None:
    """As where the exception is raised while an object is taken apart."""
    _Deaf(ready)
    ConsoleProgress(quiet=True).stage("next")


def computes(ready: Ready) -> None:
    """As a long kernel does: one call into C that no handler of Python interrupts."""
    ready()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")],
)
def test_a_signal_ends_a_command_in_one_line(number: int, said: str, signalled: Signalled) -> None:
    ended = signalled(waits, number)
    (line,) = ended.lines
    assert line.startswith(f"landscape: error: {said}; evaluated probes and finished points are kept")
    assert ended.code == 128 + number
    assert ended.seconds < 2


@pytest.mark.parametrize("work", [makes_another_error, swallows, loses, computes])
def test_an_exception_that_gets_lost_changes_nothing(
    work: Callable[[Ready], None], signalled: Signalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.4)
    ended = signalled(work, signal.SIGTERM)
    assert (ended.code, len(ended.lines)) == (143, 1)
    assert ended.seconds < 2


class _Engine:
    def __init__(self, ready: Ready) -> None:
        self._ready = ready

    def evaluate(self, plan: ProbePlan) -> Iterator[ProbeResult]:
        yield RESULT
        computes(self._ready)


class _Store:
    def __init__(self, kept: Path) -> None:
        self._kept = kept

    def probes(self) -> dict[Probe, ProbeResult]:
        return {}

    def commit(self, results: list[ProbeResult], provenance: object) -> None:
        with self._kept.open("a") as file:
            file.writelines(f"{result.probe.position}\n" for result in results)


def test_what_was_evaluated_is_kept_though_the_main_thread_does_not_answer(
    signalled: Signalled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.1)
    runner = Runner(_Store(tmp_path / "kept"), {})  # type: ignore[arg-type]
    ended = signalled(lambda ready: runner.run(ProbePlan(()), _Engine(ready)), signal.SIGTERM)  # type: ignore[arg-type]
    assert (ended.code, len(ended.lines)) == (143, 1)
    assert (tmp_path / "kept").read_text() == "p\n"


def test_results_that_cannot_be_kept_are_not_said_to_be(
    signalled: Signalled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.1)
    runner = Runner(_Store(tmp_path), {})  # type: ignore[arg-type]
    ended = signalled(lambda ready: runner.run(ProbePlan(()), _Engine(ready)), signal.SIGINT)  # type: ignore[arg-type]
    (line,) = ended.lines
    assert "interrupted; what was evaluated last could not be kept" in line
    assert ended.code == 130


def test_nothing_that_is_being_written_is_left(
    signalled: Signalled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def writes(ready: Ready) -> None:
        with temporary_path(tmp_path / "page.html") as file, scratch_folder() as folder:
            file.write_text("half")
            (folder / "vocab").write_text("half")
            computes(ready)

    monkeypatch.setattr(signals, "GRACE", 0.1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert signalled(writes, signal.SIGINT).code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["stderr"]


AGAIN = signals.SAME + 0.1
"""Seconds after which a second signal counts."""


def test_a_second_signal_keeps_what_was_evaluated(signalled: Signalled, tmp_path: Path) -> None:
    runner = Runner(_Store(tmp_path / "kept"), {})  # type: ignore[arg-type]

    def work(ready: Ready) -> None:
        runner.run(ProbePlan(()), _Engine(ready))  # type: ignore[arg-type]

    ended = signalled(work, signal.SIGINT, signal.SIGINT, pause=AGAIN)
    (line,) = ended.lines
    assert line.startswith("landscape: error: interrupted; evaluated probes and finished points are kept")
    assert ended.code == 130
    assert ended.seconds < signals.HURRY
    assert (tmp_path / "kept").read_text() == "p\n"


def writes_slowly(ready: Ready) -> None:
    """As to a disk that hangs, while the main thread does not answer."""
    with interruption.rescued_by(lambda: time.sleep(30)):
        computes(ready)


def writes_in_main(ready: Ready) -> None:
    """As where the main thread itself writes what no rescue knows of."""
    with interruption.shielded():
        waits(ready)


@pytest.mark.parametrize("work", [writes_slowly, writes_in_main])
def test_a_second_signal_ends_soon_and_says_that_results_are_lost(
    work: Callable[[Ready], None], signalled: Signalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "HURRY", 0.3)
    ended = signalled(work, signal.SIGINT, signal.SIGTERM, pause=AGAIN)
    (line,) = ended.lines
    assert "interrupted; what was evaluated last could not be kept: it was not written within 0.3 s" in line
    assert ended.code == 143
    assert 0.2 < ended.seconds < 2


@pytest.mark.parametrize("work", [writes_slowly, writes_in_main])
def test_results_that_take_too_long_to_write_are_not_said_to_be_kept(
    work: Callable[[Ready], None], signalled: Signalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.1)
    monkeypatch.setattr(signals, "WRITING", 0.3)
    ended = signalled(work, signal.SIGTERM)
    (line,) = ended.lines
    assert "ended by SIGTERM; what was evaluated last could not be kept: it was not written within 0.3 s" in line
    assert ended.code == 143


def test_a_second_signal_is_heard_while_results_are_written(
    signalled: Signalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.1)
    monkeypatch.setattr(signals, "HURRY", 0.3)
    ended = signalled(writes_slowly, signal.SIGINT, signal.SIGINT, pause=AGAIN)
    assert (ended.code, len(ended.lines)) == (130, 1)
    assert ended.seconds < 2


def test_a_signal_that_comes_twice_by_two_ways_is_one(signalled: Signalled, tmp_path: Path) -> None:
    def tidies(ready: Ready) -> None:
        try:
            waits(ready)
        finally:
            time.sleep(0.2)
            (tmp_path / "tidy").touch()

    assert signalled(tidies, signal.SIGINT, signal.SIGINT, pause=0.01).code == 130
    assert (tmp_path / "tidy").exists()


def test_an_ignored_signal_stays_ignored(signalled: Signalled) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        ended = signalled(waits, signal.SIGHUP, signal.SIGTERM, pause=0.1)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.code == 143


def test_a_forked_process_leaves_the_signal_to_its_parent(signalled: Signalled) -> None:
    def has_child(ready: Ready) -> None:
        child = fork()
        if not child:
            time.sleep(30)
        time.sleep(0.05)
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        time.sleep(0.2)
        interruption.check()
        waits(ready)

    assert signalled(has_child, signal.SIGINT).code == 130


def test_handlers_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with signals.handled():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
