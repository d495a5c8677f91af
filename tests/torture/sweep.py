"""Read hostile input for as long as asked, each batch in a child process, and keep what no parser may do.

    python -m tests.torture.sweep --minutes 60 --seed 1 [--parser gguf] [--faults folder]

A child has a limit of memory and an alarm of 10 s for each input. A crash, a hang, a growth beyond 1 GiB and any
exception but a ToolkitError are faults; the input that caused one is kept in the folder as a Python literal:
``python -m tests.torture.sweep --again FILE`` reads it once more.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import mmap
import os
import re
import resource
import signal
import struct
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from landscape.cli.commands import COMMANDS
from quant.errors import ToolkitError
from tests.torture import readers, samples
from tests.torture.parser_outcomes import FaultError, outcome, place
from tests.torture.parsers import PARSERS, Parser

SECONDS = 10
"""Time for one input."""
GROWTH = 2**30
"""Bytes by which a process may grow."""
_SPACE = 4 * GROWTH  # of addresses, of which allocators reserve more than they use
_PATIENCE = 2.5  # times SECONDS, until a child that takes no signal is killed
_KEPT = 3  # inputs that are kept of one fault


class _SlowError(BaseException):
    """An input took too long; no ``except Exception`` stops it."""


class _OverError(BaseException):
    """The time of a batch is over."""


@dataclass
class Tally:
    """What came of one parser."""

    inputs: int = 0
    refused: int = 0
    read: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Board:
    """Numbers that a child writes and its parent reads: inputs, refused, read, and when the present input began."""

    def __init__(self, folder: Path) -> None:
        self.memory = mmap.mmap(-1, 4096)
        self.current, self.log = folder / "current", folder / "log"

    def write(self, inputs: int, refused: int, read: int, began: float) -> None:
        self.memory[:32] = struct.pack("<QQQd", inputs, refused, read, began)

    def numbers(self) -> tuple[int, int, int, float]:
        inputs, refused, read, began = struct.unpack("<QQQd", self.memory[:32])
        return inputs, refused, read, began


def run_batch(parser: Parser, number: int, board: Board, seconds: float) -> None:
    """Read many inputs in this process, and write each fault to the log."""
    _limit_memory()
    counts = {"inputs": 0, "refused": 0, "read": 0}
    end = time.monotonic() + seconds

    def handler(*_: object) -> None:
        raise _SlowError

    signal.signal(signal.SIGALRM, handler)

    @seed(number)
    @settings(
        max_examples=100_000, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(parser.make)
    def one(value: Any) -> None:
        if time.monotonic() > end:
            raise _OverError
        board.current.write_text(repr(value), encoding="utf-8", errors="surrogatepass")
        counts["inputs"] += 1
        board.write(*counts.values(), time.monotonic())
        before = _peak()
        signal.setitimer(signal.ITIMER_REAL, SECONDS, 5)  # again, for a finalizer may swallow the first
        try:
            counts[outcome(parser, value)] += 1
        except FaultError as error:
            _note(board, str(error))
        except _SlowError as error:
            _note(board, f"hang at {place(error)}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            board.write(*counts.values(), 0.0)
        if (grown := _peak() - before) > GROWTH:
            _note(board, f"growth of {grown >> 20} MiB")

    with contextlib.suppress(_OverError):
        one()


def _note(board: Board, fault: str) -> None:
    with board.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(repr((fault, board.current.read_text(encoding="utf-8", errors="surrogatepass"))) + "\n")


def _peak() -> int:
    """Return the peak of the resident memory in bytes, and let the next peak begin."""
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return int(found) * 1024


def _limit_memory() -> None:
    (size,) = re.findall(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    resource.setrlimit(resource.RLIMIT_AS, (int(size) * 1024 + _SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def watch(parser: Parser, number: int, folder: Path, tally: Tally, seconds: float) -> list[tuple[str, str]]:
    """Run a batch in a child; return the faults, each with its input."""
    board = Board(folder)
    board.log.write_text("")
    board.write(0, 0, 0, 0.0)
    child = os.fork()
    if child == 0:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        code = 3
        try:
            run_batch(parser, number, board, seconds)
            code = 0
        except BaseException as error:
            _note(board, f"the sweep itself: {type(error).__name__}: {error}")
        finally:
            os._exit(code)
    killed = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        began = board.numbers()[3]
        if began and time.monotonic() - began > _PATIENCE * SECONDS:
            os.kill(child, signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    inputs, refused, read, _ = board.numbers()
    tally.inputs, tally.refused, tally.read = tally.inputs + inputs, tally.refused + refused, tally.read + read
    faults = [ast.literal_eval(line) for line in board.log.read_text(encoding="utf-8").splitlines()]
    if os.WIFSIGNALED(status):
        what = "hang that takes no signal" if killed else f"crash by signal {os.WTERMSIG(status)}"
        faults.append((what, board.current.read_text(encoding="utf-8", errors="surrogatepass")))
    return faults


def warm() -> None:
    """Import what commands import when they need it: a child of a busy machine would spend its time on that."""
    for command in COMMANDS:
        for verb in (command.verb, *(command.shard or ())[:1], *(command.dry_run or ())[:1]):
            import_module(verb.partition(":")[0])
    readers.model(samples.model_files("llama"))
    samples.make_all()
    for kind, packed in ((".txt", ".xz"), (".jsonl", ".zst"), (".parquet", "")):
        readers.text({f"x{kind}{packed}": samples.PACKERS[packed](samples.corpus(kind))})
    readers.run_file({"x.json": samples.run_file("survey")})
    readers.cache(samples.store_files())
    with contextlib.suppress(ToolkitError):
        readers.options(("radius",))


def sweep(parsers: list[Parser], minutes: float, first: int, folder: Path, seconds: float) -> dict[str, Tally]:
    """Give each parser its share of the time, in turns."""
    warm()
    tallies = {parser.name: Tally() for parser in parsers}
    end, turn = time.monotonic() + 60 * minutes, 0
    with tempfile.TemporaryDirectory(prefix="sweep-") as work:
        os.environ["TORTURE_TMP"] = work
        while time.monotonic() < end:
            parser, tally = parsers[turn % len(parsers)], tallies[parsers[turn % len(parsers)].name]
            for fault, content in watch(parser, 1000 * first + turn, Path(work), tally, seconds):
                _keep(parser, fault, content, tally, folder)
            turn += 1
    return tallies


def _keep(parser: Parser, fault: str, content: str, tally: Tally, folder: Path) -> None:
    sort = re.sub(r"\d{3,}|'.*", "…", fault)
    tally.faults[sort] = tally.faults.get(sort, 0) + 1
    if tally.faults[sort] > _KEPT:
        return
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{parser.name}-{hashlib.sha256(sort.encode()).hexdigest()[:8]}-{tally.faults[sort]}.txt"
    text = f"# {fault!r}\n{content}\n"
    (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    print(f"{parser.name}: {fault[:300]!r} ({name})", file=sys.stderr, flush=True)


def again(path: Path) -> None:
    """Read a kept input once more, in this process."""
    parser = next(p for p in sorted(PARSERS, key=lambda p: -len(p.name)) if path.name.startswith(f"{p.name}-"))
    text = path.read_text(encoding="utf-8", errors="surrogatepass")
    print(outcome(parser, ast.literal_eval(text.partition("\n")[2])))


def main() -> int:
    """Sweep as the command line says; the exit code is 1 where there were faults."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--batch", type=float, default=20.0, help="seconds of one child")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--parser", choices=[parser.name for parser in PARSERS], action="append")
    options.add_argument("--faults", type=Path, default=Path("faults"), help="folder for the inputs")
    options.add_argument("--again", type=Path, help="kept input to read once more")
    asked = options.parse_args()
    if asked.again:
        again(asked.again)
        return 0
    chosen = [parser for parser in PARSERS if not asked.parser or parser.name in asked.parser]
    tallies = sweep(chosen, asked.minutes, asked.seed, asked.faults.resolve(), asked.batch)
    for name, tally in tallies.items():
        faults = sum(tally.faults.values())
        print(
            f"{name:16} {tally.inputs:7} inputs {tally.refused:7} refused {tally.read:7} read {faults:5} faults"
            f"   seed {asked.seed}"
        )
    return int(any(tally.faults for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
