"""Hold what the tries of all rounds share, and lend each try a folder and a source of random numbers."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.torture.materials import Materials
from tests.torture.scenarios import Reference
from tests.torture.verdict import Verdict


@dataclass(frozen=True)
class Context:
    """Seed, folders, models and undisturbed results that all tries share."""

    seed: int
    work: Path
    materials: Materials
    references: dict[str, Reference]
    keep: bool = False
    """Keep the folder of every try, to look at it."""

    @contextmanager
    def folder(self, name: str, number: int) -> Iterator[Path]:
        """Lend a new folder, whose name depends on the try alone; it goes at the end."""
        path = self.work / f"{name}-{number}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        try:
            yield path
        finally:
            if not self.keep:
                shutil.rmtree(path, ignore_errors=True)

    def draw(self, name: str, number: int) -> random.Random:
        """Return the random numbers of one try."""
        return random.Random(f"{self.seed}/{name}/{number}")


Attempt = Callable[[Context, int], Verdict]


@dataclass(frozen=True)
class Round:
    """One kind of torture."""

    name: str
    count: int
    attempt: Attempt
    """Function that makes one try, by its number."""
    text: str
    """Description of the round in the table."""
    scenarios: tuple[str, ...] = ()
    """Scenarios whose undisturbed runs it needs."""
    seconds: float = 1.5
    """Seconds that a try takes, roughly."""

    @property
    def weight(self) -> float:
        """The share of the time that this round should have."""
        return self.count * self.seconds
