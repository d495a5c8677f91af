"""Count what the tries found, and write the table of ``tests/torture/README.md``."""

from __future__ import annotations

import datetime
import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from quant.versions import library_versions
from tests.torture.contexts import Round
from tests.torture.verdict import FAULTS, Verdict

_HEAD = """# What was tried to break the command line

`make torture` writes this page: every command below is a real one, run in a process with 3 GiB of memory and 120 s of
time at most. A try ends well when it gives the numbers of an undisturbed run to the bit, or the numbers that were asked
for; it is refused when it ends in one sentence, with exit code 1 or 2. Everything else is a fault:

- **lost**: a row that had been committed is gone, or is evaluated again;
- **wrong**: another number than that of the undisturbed run;
- **traceback**: a traceback on the screen;
- **unexpected**: `unexpected …`, warnings of libraries, an exit without a sentence, what was left behind;
- **beyond limits**: more memory or time than that.

Where the time was bounded, the tries are those that it was enough for. `make torture SEED=7 MINUTES=5` draws others,
for so long, and writes no page.
"""


@dataclass
class Tally:
    """Counts of one round."""

    round: Round
    kinds: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    largest: int = 0
    distinct: set[str] = field(default_factory=set)

    def add(self, number: int, verdict: Verdict) -> None:
        """Count one try."""
        self.kinds[verdict.kind] += 1
        self.slowest = max(self.slowest, verdict.seconds)
        self.largest = max(self.largest, verdict.peak)
        self.distinct.add(verdict.words)

    @property
    def tries(self) -> int:
        """Number of tries."""
        return self.kinds.total()

    @property
    def faults(self) -> int:
        """Number of tries that show a fault."""
        return sum(self.kinds[kind] for kind in FAULTS)

    @property
    def line(self) -> str:
        """The counts as a line of text."""
        counts = ", ".join(f"{self.kinds[kind]} {kind}" for kind in ("well", "refused", *FAULTS))
        return f"{self.round.name}: {self.tries} tries, {counts}; {self.slowest:.1f} s, {self.largest / 2**20:.0f} MiB"

    @property
    def row(self) -> list[str]:
        """The counts as a row of the table."""
        counts = [str(self.kinds[kind]) for kind in ("well", "refused", *FAULTS)]
        size = f"{self.largest / 2**20:.0f}"
        tries = f"{self.tries}" if self.tries == self.round.count else f"{self.tries} of {self.round.count}"
        return [self.round.name, self.round.text, tries, *counts, f"{self.slowest:.1f}", size]


def write_table(path: Path, tallies: list[Tally], seed: int, seconds: float) -> None:
    """Write the page, with the seed, the day, the machine and the versions."""
    header = ["round", "what is tried", "tries", "ended well", "refused", *FAULTS[:-1], "beyond limits"]
    header += ["slowest, s", "largest, MiB"]
    rows = [header, ["---", "---", *["--:"] * (len(header) - 2)], *(tally.row for tally in tallies)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items() if version)
    total, faults = sum(tally.tries for tally in tallies), sum(tally.faults for tally in tallies)
    text = (
        f"{_HEAD}\n{table}\n\n{total} tries, {faults} faults, in {seconds / 60:.0f} minutes; seed {seed}, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, {versions}.\n"
    )
    path.write_text(text, encoding="utf-8", newline="\n")
