"""Text from files on its way to a terminal: names of tensors, of model types and of folders are not ours."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control characters, invisible ones that turn the direction of text, unpaired surrogates, unassigned ones."""


def printable(text: str) -> str:
    r"""Return a text with every character that a terminal would act on written out, ``\x1b`` in place of the escape.

    Line ends and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
