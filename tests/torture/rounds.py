"""List the rounds. Another one is a file with a ``ROUND``, and its name here."""

from __future__ import annotations

from importlib import import_module

from tests.torture.contexts import Round

_FILES = ("words", "flips", "kills", "writers", "media", "names", "same", "hostile_inputs")
"""Files of this folder with a ``ROUND``."""

ROUNDS: tuple[Round, ...] = tuple(import_module(f"tests.torture.{name}").ROUND for name in _FILES)
