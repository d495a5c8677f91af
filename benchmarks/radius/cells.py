"""List the simulations: which landscapes are surveyed or searched, with how many directions and windows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.radius.landscapes import ARTICLES, LANDSCAPES, WIKITEXT, Synthetic
from benchmarks.rows import Row

DESIGNS = ((4, 16), (8, 16), (16, 16), (32, 16), (8, 4))  # directions × windows
ARTICLE_DESIGNS = ((8, 16), (8, 32), (16, 64))
SEARCHES = (
    *((LANDSCAPES[0], 0.05), (LANDSCAPES[0], 0.02)),
    *((LANDSCAPES[1], 0.05), (LANDSCAPES[2], 0.05), (LANDSCAPES[4], 0.05)),
    *((WIKITEXT, 0.05), (WIKITEXT, 0.02), (ARTICLES, 0.05)),
)  # with the precision that is requested


@dataclass(frozen=True)
class SurveyCell:
    """A row of the table of surveys."""

    landscape: Synthetic
    directions: int
    windows: int
    blocked: bool = False
    """True if the estimator knows the article of each window."""

    @property
    def name(self) -> str:
        """Name the row in its table."""
        return self.landscape.name + (", blocked" if self.blocked else "")

    @property
    def key(self) -> Row:
        """Return what identifies the row in its file."""
        return {"name": self.name, "directions": self.directions, "windows": self.windows}

    @property
    def seed(self) -> int:
        """Seed the random numbers, alike with and without blocks, so that both see the same surveys."""
        return zlib.crc32(f"{self.landscape.name} {self.directions} {self.windows}".encode())


@dataclass(frozen=True)
class SearchCell:
    """A row of the table of searches."""

    landscape: Synthetic
    precision: float

    @property
    def name(self) -> str:
        """Name the row in its table."""
        return self.landscape.name

    @property
    def key(self) -> Row:
        """Return what identifies the row in its file."""
        return {"name": self.name, "precision": self.precision}

    @property
    def seed(self) -> int:
        """Seed the random numbers."""
        return zlib.crc32(f"search {self.name} {self.precision:g}".encode())


def surveys() -> Iterator[SurveyCell]:
    """Yield all rows of the table of surveys."""
    for landscape in LANDSCAPES:
        yield from (SurveyCell(landscape, *design) for design in DESIGNS)
    for design in ARTICLE_DESIGNS:
        yield from (SurveyCell(ARTICLES, *design, blocked) for blocked in (False, True))


def searches() -> Iterator[SearchCell]:
    """Yield all rows of the table of searches."""
    yield from (SearchCell(landscape, precision) for landscape, precision in SEARCHES)
