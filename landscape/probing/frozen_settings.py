"""Freeze the settings of a store in small JSON files, and choose them again where such a file is damaged.

    {"schema_version": 1, "settings": {"threads": 4, "evaluation": 3}, "sha256": "<of these two>"}

A file that cannot be right is set aside: an empty one, one that is no JSON, a pipe or a folder in its place, entries
that are not those of their sha256, a number out of its bounds. All that it said is then chosen again, but for the
numbers in their bounds of a file without a sha256, as earlier versions wrote it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.probing.atomic_files import is_gone, storage_errors, write_once
from quant.errors import StoreError
from quant.files.json_text import parse_object
from quant.files.odd_files import is_odd, odd_kind, set_aside
from quant.files.system_errors import reason

_LARGEST = 2**16  # bytes: a file has some sixty
_ATTEMPTS, _PAUSE = 50, 0.02  # seconds: a writer that was not killed fills a file within one


@dataclass(frozen=True)
class Whole:
    """A setting that is a whole number from 1."""

    most: int
    """Largest value accepted."""
    missing: int | None = None
    """Its value where a file of an earlier version lacks it; None if every file has it."""

    def takes(self, value: object) -> bool:
        """Return whether a value is in these bounds."""
        return type(value) is int and 1 <= value <= self.most


@dataclass(frozen=True)
class _Damaged:
    """Fault of a file, and the entries of it that are right."""

    fault: str
    content: bytes | None = None
    held: Mapping[str, Any] = field(default_factory=dict)


def frozen_settings(
    path: Path,
    version: int,
    propose: Mapping[str, Any],
    bounds: Mapping[str, Whole],
    warn: Callable[[str], None],
) -> Mapping[str, Any]:
    """Return the settings in a file, frozen to the first proposal of any process.

    Args:
        path: The file.
        version: Version of the layout.
        propose: JSON-able settings, stored if none are. A function in place of a value is called only for an entry that
            no file holds, and before a damaged file is set aside: one that refuses leaves the store as it was.
        bounds: Entries that must be whole numbers, with their bounds.
        warn: Takes one line about a file that was set aside.

    Raises:
        StoreError: The settings cannot be written, read or set aside, or are of a newer version.
    """
    found = _read(path, version, bounds)
    if found is None or isinstance(found, _Damaged):
        held = {} if found is None else found.held
        missing = {key: value() if callable(value) else value for key, value in propose.items() if key not in held}
        if found is not None:
            _set_aside(path, found, warn)
        content = {"schema_version": version, "settings": {**missing, **held}}
        write_once(path, json.dumps(content | {"sha256": _sha256(content)}, indent=2, sort_keys=True).encode())
        found = _read(path, version, {})
    if found is None or isinstance(found, _Damaged):
        raise StoreError(f"settings were written to {path} and cannot be read back; check the disk")
    return found


def _read(path: Path, version: int, bounds: Mapping[str, Whole]) -> dict[str, Any] | _Damaged | None:
    """Return the settings in a file, or what is wrong with it; None if there is none."""
    if is_odd(path):  # to open a pipe would wait for ever
        return _Damaged(f"is {odd_kind(path)}")
    with storage_errors("read", path):
        try:
            text = _settled(path)
        except FileNotFoundError:
            return None
    if not text:
        return _Damaged("is empty", text)
    try:
        stored = parse_object(text, path, StoreError, nonfinite=True)  # one such number is refused alone
        found, settings = stored["schema_version"], stored["settings"]
    except (StoreError, KeyError):
        return _Damaged(f"holds no settings, but {text[:40]!r}", text)
    if type(found) is not int or found < 1 or not isinstance(settings, dict):
        return _Damaged(f"holds no settings, but {text[:40]!r}", text)
    if stored.keys() - {"schema_version", "settings"} and stored.get("sha256") != _sha256(stored):
        return _Damaged("does not match its sha256", text)
    if found != version:
        raise StoreError(f"expected schema_version {version}, found {found} in {path}; update or use another --store")
    settings = {**{key: whole.missing for key, whole in bounds.items() if whole.missing is not None}, **settings}
    wrong = [key for key, whole in sorted(bounds.items()) if not whole.takes(settings.get(key))]
    if not wrong:
        return settings
    listed = ", ".join(f"{key} {json.dumps(settings.get(key))[:40]} (not 1 to {bounds[key].most})" for key in wrong)
    held = {key: settings[key] for key in bounds if key not in wrong}
    return _Damaged(f"has {listed}", text, held)


def _sha256(content: Mapping[str, Any]) -> str:
    """Return the sha256 of all other entries, which a file keeps under that name in any version."""
    entries = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _settled(path: Path) -> bytes:
    """Read a file that its writer may not have filled yet, on a file system without hard links."""
    for _ in range(_ATTEMPTS):
        if text := _head(path):
            return text
        time.sleep(_PAUSE)
    return b""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST)


def _set_aside(path: Path, damaged: _Damaged, warn: Callable[[str], None]) -> None:
    """Rename a damaged file, unless another process has put a good one in its place since."""
    try:
        aside = set_aside(path)
        if damaged.content is not None and not is_odd(aside) and _head(aside) != damaged.content:
            with suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink()
            return
    except OSError as error:
        if is_gone(error):
            return
        raise StoreError(
            f"expected settings in {path}, which {damaged.fault} and cannot be moved ({reason(error, path)}); "
            "remove it, or use another --store"
        ) from error
    warn(f"{path} {damaged.fault}: moved to {aside.name}; what it said is chosen again")
