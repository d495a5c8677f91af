"""Write the options of the command line that say which model and text a request is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from landscape.session.presets import PRESETS
from landscape.session.request import PresetRequest, Request

_ELSEWHERE = {"model", "store", "device", "device_map"}
"""Fields that do not belong to it: the model has a place of its own, and the others say where a run is computed."""
_PLAIN = "quick"
"""The preset that ``landscape probe`` and ``quantize`` have by default."""


def subject_words(request: Request) -> tuple[str, ...]:
    """Return the options that differ from the defaults: ``--data x --exclude '*.fc1' --preset standard``.

    They are options of every command, so that one command can follow another on the same weights and text.

    Args:
        request: Any request. A preset that was made in Python has no name there: its tokens per window are written.
    """
    return tuple(_words(request))


def _words(request: Request) -> Iterator[str]:
    for field in fields(Request):
        value = getattr(request, field.name)
        if field.name not in _ELSEWHERE and value != field.default:
            yield f"--{field.name.replace('_', '-')}"
            if not isinstance(value, bool):
                yield ",".join(value) if isinstance(value, tuple) else str(value)
    if isinstance(request, PresetRequest):
        preset, plain = request.preset, PRESETS[_PLAIN]
        if preset.name in PRESETS:  # one made in Python has no name on the command line
            plain = PRESETS[preset.name]
            yield from ("--preset", preset.name) if plain.name != _PLAIN else ()
        if preset.seq_len != plain.seq_len:
            yield from ("--seq-len", str(preset.seq_len))
