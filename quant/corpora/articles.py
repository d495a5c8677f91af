"""Find where the documents of a text begin, and the document of each window.

Windows of one article resemble each other, so that they say less about the text than the same number of windows from
different articles. Two kinds of text show where their documents begin; for any other it is not known.

    WikiText    a line `` = Title = ``, with one ``=`` on each side and blank lines around it. Tables have lines that
                look alike, such as `` = Wins ; L = ``, but others follow upon them. Spaces at the ends may be stripped.
                Where the blank lines were removed, a title is such a line with a paragraph after it and no other such
                line within two: on WikiText-2 that finds 599 of 600, 60 and 60, and no other line.
    tales       a line that starts with ``</s>``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

END = "</s>"
_HEADING = re.compile(r" ?= (?!= )(.*)(?<! =) = ?\n?")
_PARAGRAPH = 40
"""Least number of characters in an article's first paragraph; entries of a table are shorter."""


def article_starts(lines: Sequence[str], gap: int = 0) -> tuple[int, ...] | None:
    """Return the characters of a text at which its articles begin, the first of them 0.

    Args:
        lines: The lines of the text, or the rows from which it was made.
        gap: Number of characters between one line and the next that are in neither.

    Returns:
        The starts; None if the text does not begin like one of the two kinds.
    """
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    if lines[first].startswith(END):
        begin = [i for i, line in enumerate(lines) if line.startswith(END)]
    elif _is_heading(lines[first]):
        begin = _titles(lines, first)
        if begin[:1] != [first]:
            return None
    else:
        return None
    places = list(accumulate((len(line) + gap for line in lines), initial=0))
    return (0, *(places[i] for i in begin[1:]))  # text before the first article counts as part of it


def _is_heading(line: str) -> bool:
    """Return whether a line has the form of an article's title."""
    return _HEADING.fullmatch(line) is not None


def _titles(lines: Sequence[str], first: int) -> list[int]:
    """Return the lines of WikiText that are titles; ``first`` is the first line that is not blank."""
    if first + 1 < len(lines) and lines[first + 1].strip():
        return _titles_among_paragraphs(lines)
    return [i for i, line in enumerate(lines) if _is_heading(line) and not any(_beside(lines, i))]


def _titles_among_paragraphs(lines: Sequence[str]) -> list[int]:
    """Return the lines that are titles where no blank line is left."""
    headings = {i for i, line in enumerate(lines) if _is_heading(line)}

    def is_title(i: int) -> bool:
        alone = not any(j in headings for j in range(i - 2, i + 3) if j != i)
        before, after = (lines[j].strip() if 0 <= j < len(lines) else "" for j in (i - 1, i + 1))
        complete = " ; " not in lines[i] and _is_balanced(lines[i]) and not before.endswith(",")
        return alone and complete and len(after) >= _PARAGRAPH

    return sorted(filter(is_title, headings))


def _is_balanced(line: str) -> bool:
    """Return whether every parenthesis of a line is closed in it, and none is closed before it is opened."""
    depth = list(accumulate((c == "(") - (c == ")") for c in line))
    return min(depth) >= 0 and depth[-1] == 0


def _beside(lines: Sequence[str], index: int) -> list[str]:
    """Return the text of the lines before and after one."""
    return [lines[i].strip() for i in (index - 1, index + 1) if 0 <= i < len(lines)]


def window_articles(starts: Sequence[int] | NDArray[np.int64], count: int, seq_len: int) -> NDArray[np.int64]:
    """Return the article of each window, (count,): the one that holds most of its tokens, the first among equals.

    Two windows that share an article can still get different ones, if most of each lies in another.

    Args:
        starts: (n,) tokens at which the articles begin, increasing from 0.
        count: Number of windows, one after the other from token 0.
        seq_len: Tokens of each window.
    """
    starts = np.asarray(starts, np.int64)
    edges = np.union1d(starts[starts < count * seq_len], np.arange(count + 1) * seq_len)
    begin, length = edges[:-1], np.diff(edges)  # pieces of the text between borders of articles and windows
    window = begin // seq_len
    order = np.lexsort((begin, -length, window))
    largest = order[np.unique(window[order], return_index=True)[1]]
    return np.asarray(np.searchsorted(starts, begin[largest], side="right") - 1)
