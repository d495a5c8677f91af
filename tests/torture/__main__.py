"""Try to break the command line:  python -m tests.torture [--seed 1] [--minutes 5] [--round words --only 17].

Every try is drawn from the seed, the name of its round and its number, so that it can be repeated alone.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.torture import forks
from tests.torture.contexts import Context, Round
from tests.torture.materials import Materials, make_materials
from tests.torture.rounds import ROUNDS
from tests.torture.scenarios import BY_NAME, make_references
from tests.torture.table import Tally, write_table
from tests.torture.verdict import Verdict

_WORKERS = 2


def main(words: Sequence[str] | None = None) -> int:
    """Run the rounds, print what they find, and return 1 if that is a fault."""
    arguments = _read(words)
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**32)
    print(f"seed {seed}", flush=True)
    rounds = [each for each in ROUNDS if arguments.round in (None, each.name)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        context = _prepare(rounds, seed, work, keep=arguments.only is not None and arguments.work is not None)
        if arguments.only is not None:
            return _alone(context, rounds, arguments.only)
        until = began + 60 * arguments.minutes if arguments.minutes else None
        tallies = _all(context, rounds, until, arguments.tries)
    for tally in tallies:
        print(tally.line)
    if arguments.table is not None:
        write_table(arguments.table, tallies, seed, time.monotonic() - began)
    faults = sum(tally.faults for tally in tallies)
    print(f"{sum(tally.tries for tally in tallies)} tries in {time.monotonic() - began:.0f} s, {faults} faults")
    return int(faults > 0)


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="what all tries are drawn from; a new one by default")
    parser.add_argument("--minutes", type=float, help="end after so long; each round gets its share")
    parser.add_argument("--round", choices=[each.name for each in ROUNDS], help="run this round alone")
    parser.add_argument("--tries", type=int, help="tries of each round, at most")
    parser.add_argument("--only", type=int, help="run this try of --round alone; with --work, its folder stays")
    parser.add_argument("--work", type=Path, help="folder for models and caches; a temporary one by default")
    parser.add_argument("--table", type=Path, help="file to write the table to")
    arguments = parser.parse_args(words)
    if arguments.only is not None and arguments.round is None:
        parser.error("expected --round with --only, got none; name the round of the try")
    return arguments


def _prepare(rounds: Sequence[Round], seed: int, work: Path, keep: bool) -> Context:
    """Make the models, warm up, and run the scenarios undisturbed."""
    forks.load()
    materials = make_materials(work / "materials")
    _warm_up(materials, work / "warm")
    names = sorted({name for each in rounds for name in each.scenarios})
    references = make_references(materials, work / "references", names) if names else {}
    return Context(seed, work / "tries", materials, references, keep)


def _warm_up(materials: Materials, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    words = shlex.split(BY_NAME["rtn"].words.format(m=materials))
    forks.warm_up([str(folder / word) if word == "page" else word for word in words], folder / "cache")


def _alone(context: Context, rounds: Sequence[Round], number: int) -> int:
    (only,) = rounds
    verdict = only.attempt(context, number)
    print(f"{verdict.kind}: {verdict.words}")
    return int(verdict.is_fault)


def _all(context: Context, rounds: Sequence[Round], until: float | None, tries: int | None) -> list[Tally]:
    """Run the rounds one after another, each for its share of the time that is left."""
    tallies, left = [], sum(each.weight for each in rounds)
    for each in rounds:
        now = time.monotonic()
        share = None if until is None else now + max(until - now, 0) * each.weight / left
        left -= each.weight
        tally = Tally(each)
        count = min(each.count, tries or each.count)
        workers = [_worker(context, each, range(first, count, _WORKERS), share, first) for first in range(_WORKERS)]
        for worker, path in workers:
            status = os.waitpid(worker, 0)[1]
            if status:
                raise RuntimeError(f"expected round {each.name} to end, a worker ended with {status}")
            for line in path.read_text(encoding="utf-8").splitlines():
                number, fields = json.loads(line)
                tally.add(number, Verdict(**fields))
        tallies.append(tally)
    return tallies


def _worker(context: Context, each: Round, numbers: range, until: float | None, place: int) -> tuple[int, Path]:
    """Start a fork that makes tries, one after another, and writes a line for each."""
    context.work.mkdir(parents=True, exist_ok=True)
    path = context.work / f"{each.name}.{place}.jsonl"
    sys.stdout.flush()
    worker = os.fork()
    if worker:
        return worker, path
    code = 1
    try:
        with path.open("w", encoding="utf-8") as file:
            for number in numbers:
                if until is not None and time.monotonic() > until and number != place:
                    break
                verdict = each.attempt(context, number)
                print(json.dumps([number, asdict(verdict)]), file=file, flush=True)
                if verdict.is_fault:
                    again = f"python -m tests.torture --seed {context.seed} --round {each.name} --only {number}"
                    print(f"{verdict.kind}: {verdict.words}\n    again: {again}", flush=True)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
