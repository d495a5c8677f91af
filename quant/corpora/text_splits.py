"""Cut the splits that a text lacks from its training split, by article where its articles are known."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from quant.corpora.text_files import Text
from quant.errors import CorpusError

SPLITS = ("train", "validation", "test")
SHARE = 0.1
"""Share of the training split's characters that each split cut from its end gets."""


def complete(texts: Mapping[str, Text], source: str) -> dict[str, Text]:
    """Cut a missing validation or test split from the end of train, and say so in the notes.

    Articles stay whole where they are known and numerous enough; any other text is cut between two lines.

    Args:
        texts: The text of each split that exists.
        source: The name of the corpus in notes and errors.

    Raises:
        CorpusError: if there is no train, or it is too short to be cut.
    """
    texts = _with_shared(texts)
    missing = [split for split in SPLITS if split not in texts]
    if not missing:
        return dict(texts)
    if "train" in missing:
        raise CorpusError(
            f"expected train in {source}, from which the other splits can be cut, found {', '.join(texts)}"
        )
    train = texts["train"]
    marks = [len(train.content) * (1 - SHARE * left) for left in range(len(missing), 0, -1)]
    edges, how = _article_edges(train, marks), "whole articles"
    if edges is None:
        edges, how = _line_edges(train.content, marks), "contiguous parts"
        how += ", so that an article may be in two of them" if train.starts is None else ", its articles being too few"
    if edges is None:
        raise CorpusError(f"expected {' and '.join(missing)} in {source}, or a train long enough to cut them from")
    parts = [_part(train, a, b) for a, b in zip([0, *edges], [*edges, len(train.content)], strict=True)]
    note = f"{source} has no {' and no '.join(missing)}: cut from the end of train, {SHARE:.0%} each, in {how}."
    found = {**texts, "train": parts[0], **dict(zip(missing, parts[1:], strict=True))}
    return {split: replace(text, note=note) if split == missing[0] else text for split, text in found.items()}


def _with_shared(texts: Mapping[str, Text]) -> dict[str, Text]:
    """Return the texts, each with a note if all of it is also in another split."""
    noted = dict(texts)
    for split, text in texts.items():
        content = text.content.strip()
        for other in SPLITS[: SPLITS.index(split)]:
            if content and other in texts and content in texts[other].content:
                noted[split] = replace(text, note=f"All of {split} is also in {other}, so that it is no unseen text.")
    return noted


def _article_edges(text: Text, marks: list[float]) -> list[int] | None:
    """Return the starts of articles nearest to the marks, one each; None if there are not enough articles."""
    starts = list(text.starts or ())[1:]
    if len(starts) < len(marks):
        return None
    edges: list[int] = []
    for index, mark in enumerate(marks):
        some = starts[len(edges) : len(starts) - (len(marks) - index) + 1]  # leaves one for each later mark
        some = [start for start in some if not edges or start > edges[-1]]
        edges.append(min(some, key=lambda start: abs(start - mark)))
    return edges


def _line_edges(content: str, marks: list[float]) -> list[int] | None:
    """Return the first places after the marks that follow a line end, else a space; None if two coincide."""
    edges: list[int] = []
    for mark in map(int, marks):
        end = next((place for sign in ("\n", " ") if (place := content.find(sign, mark)) >= 0), None)
        edges.append(mark if end is None else end + 1)
    inside = [0, *edges, len(content)]
    if all(a < b for a, b in pairwise(inside)):
        return edges
    plain = [0, *map(int, marks), len(content)]
    return plain[1:-1] if all(a < b for a, b in pairwise(plain)) else None


def _part(text: Text, begin: int, end: int) -> Text:
    """Return the characters from ``begin`` to ``end``, and the articles that begin there."""
    starts = None
    if text.starts is not None:
        inside = text.starts[bisect_left(text.starts, begin) : bisect_left(text.starts, end)]
        starts = (0, *(start - begin for start in inside if start > begin))
    return Text(text.content[begin:end], starts)
