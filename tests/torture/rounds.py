"""List the rounds. A round that another file adds, such as ``parsers``, is one more name here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from tests.torture.contexts import Round

_FILES = ("words", "flips", "kills", "writers", "media", "names", "same", "parsers")
"""Files of this folder with a ``ROUND``; one that does not exist yet is left out."""

ROUNDS: tuple[Round, ...] = tuple(
    import_module(f"tests.torture.{name}").ROUND for name in _FILES if find_spec(f"tests.torture.{name}")
)
