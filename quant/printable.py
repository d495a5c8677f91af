"""Make text from files safe for a terminal: names of tensors, model types and folders come from strangers."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control characters, invisible ones that turn the direction of text, unpaired surrogates, unassigned characters."""


def printable(text: str) -> str:
    r"""Return a text in which every character that a terminal would obey is written out, as ``\x1b`` for the escape.

    Line ends and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
