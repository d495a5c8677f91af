"""Find the raw stories that are new: none of whose text is in the built-in corpus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.corpus import read_raw

RUN = 12
"""Words in a row that no two stories share by chance.

With 12 the raw forms of all 2,143 stories of the corpus are found, and 14 others that share a phrase; with 8 two fifths
of what is new would be lost."""


def new_stories(folder: Path, known: Iterable[str]) -> list[str]:
    """Return the raw stories of a folder that share no run of words with a known story, one paragraph a line.

    The built-in corpus was cut out of such files, so that its held-out stories may be among them, longer than there.

    Args:
        folder: Folder with `tales-*.jsonl.xz`.
        known: The stories of all splits of the corpus.
    """
    seen = {run for story in known for run in _runs(story)}
    return [_one_paragraph_a_line(story) for story in read_raw(folder) if seen.isdisjoint(_runs(story))]


def _runs(story: str) -> Iterator[tuple[str, ...]]:
    """Yield every run of words in a row, without their case and punctuation, which cleaning changed."""
    words = re.findall(r"[a-z]+", story.lower())
    return (tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1))


def _one_paragraph_a_line(story: str) -> str:
    """Return a story in the form of the corpus, without empty lines."""
    return "\n".join(line.strip() for line in story.splitlines() if line.strip())
