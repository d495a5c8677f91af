"""Make text from files safe for a terminal or a file: names of tensors, model types and folders come from strangers."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterable

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


def utf8(text: str) -> bytes:
    r"""Encode a text as UTF-8; bytes of a file's name that are none of it are written out, as ``\udcff`` for 0xff."""
    return text.encode("utf-8", "backslashreplace")


def shell_command(words: Iterable[str]) -> str:
    r"""Return the command of these words, quoted for a shell, on one line that a terminal can show.

    Characters that a terminal would obey are written as bash and zsh read them, in ``$'…'``: ``$'two\nlines'``.
    """
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if not any(c in _KEPT or unicodedata.category(c) in _HIDDEN for c in word):
        return shlex.quote(word)
    return f"$'{''.join(map(_in_shell, word))}'"


def _in_shell(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if character not in _KEPT and unicodedata.category(character) not in _HIDDEN:
        return character
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"  # a byte of a file's name
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", errors))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
