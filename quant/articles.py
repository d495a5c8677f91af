"""Articles: where the documents of a text begin, and in which of them each window lies.

Windows of one article resemble each other, so that what they say of the text is less than as many windows of different
articles would. Two kinds of text tell where their documents begin; of any other it is not known.

    WikiText    a line `` = Title = ``, with one ``=`` on each side and blank lines around it. Tables have lines that
                look alike, such as `` = Wins ; L = ``, but others follow upon them.
    tales       a line that starts with ``</s>``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

END = "</s>"
_HEADING = re.compile(r" = (?!= ).*(?<! =) = \n?")


def article_starts(lines: Sequence[str], gap: int = 0) -> tuple[int, ...] | None:
    """The characters of a text at which its articles begin, the first of them 0.

    Args:
        lines: The lines of the text, or the rows that it was made of.
        gap: Characters between one and the next that are in neither.

    Returns:
        None if the text does not begin as one whose articles are known: then it is any text.
    """
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    if lines[first].startswith(END):
        begin = [i for i, line in enumerate(lines) if line.startswith(END)]
    elif _is_title(lines, first):
        begin = [i for i in range(len(lines)) if _is_title(lines, i)]
    else:
        return None
    places = list(accumulate((len(line) + gap for line in lines), initial=0))
    return (0, *(places[i] for i in begin[1:]))  # what stands before the first article counts as its own


def _is_title(lines: Sequence[str], index: int) -> bool:
    """Whether a line is the heading of an article of WikiText."""
    beside = [lines[i] for i in (index - 1, index + 1) if 0 <= i < len(lines)]
    return _HEADING.fullmatch(lines[index]) is not None and not any(line.strip() for line in beside)


def window_articles(starts: Sequence[int] | NDArray[np.int64], count: int, seq_len: int) -> NDArray[np.int64]:
    """The article of each window, (count,): the one in which most of its tokens lie, of several with as many the first.

    Two windows that share an article can still be of different ones, if each lies mostly in another.

    Args:
        starts: (n,) tokens at which the articles begin, increasing from 0.
        count: How many windows there are, one after the other from token 0.
        seq_len: Tokens of each.
    """
    starts = np.asarray(starts, np.int64)
    edges = np.union1d(starts[starts < count * seq_len], np.arange(count + 1) * seq_len)
    begin, length = edges[:-1], np.diff(edges)  # the pieces into which articles and windows cut the text
    window = begin // seq_len
    order = np.lexsort((begin, -length, window))
    largest = order[np.unique(window[order], return_index=True)[1]]
    return np.asarray(np.searchsorted(starts, begin[largest], side="right") - 1)
