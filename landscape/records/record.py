"""Save the result of a run in a file, and load it again.

    {"format": "quant-landscape run", "version": 1, "kind": "survey", "written_by": {"torch": …}, "command": "…",
     "sha256": "…", "result": {…}}

``sha256`` is over the result as compact JSON, so that a damaged number is not taken for one that was measured. A
version of this package reads the files of all earlier ones: fields that a result gains later have defaults.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from landscape.records.values import from_json_values, to_json_values
from quant.errors import StoreError
from quant.files.cache import atomic_path
from quant.files.json_text import parse_object
from quant.files.odd_files import is_odd, odd_kind, set_aside
from quant.files.system_errors import reason
from quant.versions import library_versions

FORMAT = "quant-landscape run"
VERSION = 1
"""Version of the file; raise it when a reader of the earlier version would misread a file."""
KINDS = {
    "survey": "landscape.survey.result:SurveyResult",
    "study": "landscape.study.result:StudyResult",
    "anatomy": "landscape.anatomy.result:AnatomyResult",
    "advice": "landscape.advice.advise:AdviceResult",
}
"""Kinds of results, with their types, which are imported when they are needed."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADER = {"format", "version", "kind", "written_by", "command", "sha256", "result"}
_HEAD = ("kind", "written_by", "command")
_HEAD_HASH = "head_sha256"
"""The hash of these, which files of earlier versions lack."""


@dataclass(frozen=True)
class Record:
    """A result, and the run that it came from."""

    kind: str
    """One of ``KINDS``."""
    result: Any
    """The result, of the type of its kind."""
    command: str
    """Command line that measures it again."""
    written_by: Mapping[str, str | None]
    """Versions of this package and its libraries that wrote the file."""


@dataclass(frozen=True)
class _File:
    """The parts of a file whose hash is right, with the result as JSON values."""

    kind: str
    written_by: Mapping[str, str | None]
    command: str
    result: Any


def kind_of(result: object) -> str:
    """Return the kind of a result.

    Raises:
        TypeError: if results of this type are not kept.
    """
    name = f"{type(result).__module__}:{type(result).__qualname__}"
    for kind, home in KINDS.items():
        if name == home:
            return kind
    raise TypeError(f"expected one of {', '.join(KINDS.values())}, got {name}")


def save_record(result: object, path: Path, command: str) -> None:
    """Write a result to a file, whole or not at all; an older file is replaced.

    Args:
        result: A result of one of ``KINDS``.
        path: The file, ``….json``; what is there and no file is set aside.
        command: Command line that measures it again.

    Raises:
        StoreError: if the file cannot be written.
        TypeError: if a value of the result is not of the type of its hint.
    """
    kind, values = kind_of(result), to_json_values(result)
    content = {
        "format": FORMAT, "version": VERSION, "kind": kind, "written_by": library_versions(), "command": command,
        "sha256": _hash(values), "result": values,
    }  # fmt: skip
    content[_HEAD_HASH] = _hash({name: content[name] for name in _HEAD})
    text = json.dumps(content, allow_nan=False, ensure_ascii=False)
    text = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # a byte of a name that is no UTF-8
    with atomic_path(path) as temporary:
        if is_odd(path):
            set_aside(path)
        temporary.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def load_record(path: Path) -> Record:
    """Read a result from its file.

    Raises:
        StoreError: in one line: if the file cannot be read, is no record, is damaged, is of a newer version, or lacks a
            field or has one that is unknown.
    """
    file = _read(path)
    try:
        result = from_json_values(file.result, resolve_name(KINDS[file.kind]))
    except StoreError as error:
        raise StoreError(f"cannot read the run {path}: {error}; run its command again: {file.command}") from error
    return Record(file.kind, result, file.command, file.written_by)


def check_record(path: Path) -> None:
    """Check that a file is a record whose result has its hash; its fields are not checked, so that no torch is needed.

    Raises:
        StoreError: in one line, as by ``load_record``.
    """
    _read(path)


@dataclass(frozen=True)
class RecordHead:
    """Description of a run in its file, without the fields of the result."""

    kind: str
    command: str
    written_by: Mapping[str, str | None]
    settings: Mapping[str, object]
    """Settings of the run, as text."""


def read_head(path: Path) -> RecordHead:
    """Read what a record says of its run.

    Raises:
        StoreError: in one line, as by ``load_record``.
    """
    file = _read(path)
    held = file.result.get("run", file.result)
    settings = held.get("settings", {}) if isinstance(held, dict) else None
    if not isinstance(settings, dict):
        raise StoreError(f"expected settings of a run in {path}, found none; run its command again: {file.command}")
    return RecordHead(file.kind, file.command, file.written_by, settings)


def _read(path: Path) -> _File:
    if is_odd(path):
        raise StoreError(f"expected a run of quant-landscape in {path}, found {odd_kind(path)}; name another")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"cannot read the run {path}: {reason(error, path)}; check its name and permissions"
        ) from error
    content = parse_object(text, path, StoreError, "run it again, or name a run of quant-landscape")
    if (found := content.get("format")) != FORMAT:
        raise StoreError(
            f"expected the format {FORMAT!r} in {path}, found {str(found)[:40]!r}; name a run of this tool"
        )
    version = content.get("version")
    if type(version) is not int or version > VERSION:
        raise StoreError(f"expected at most version {VERSION} of a run in {path}, found {version}; update the tool")
    if content.keys() - {_HEAD_HASH} != _HEADER or not _is_sound(content):
        raise StoreError(f"expected a run with {', '.join(sorted(_HEADER))} in {path}, found another; run it again")
    if _hash(content["result"]) != content["sha256"]:
        raise StoreError(f"the run {path} is damaged: its result has not its hash; run it again: {content['command']}")
    if content.get(_HEAD_HASH, own := _hash({name: content[name] for name in _HEAD})) != own:
        raise StoreError(f"the run {path} is damaged: its kind, versions and command have not their hash; run it again")
    return _File(content["kind"], content["written_by"], content["command"], content["result"])


def _is_sound(content: Mapping[str, Any]) -> bool:
    """Return whether the entries of a file are of their types; the result is checked by its reader."""
    texts = all(isinstance(content[key], str) for key in ("kind", "command", "sha256"))
    held = isinstance(content["written_by"], dict) and isinstance(content["result"], dict)
    return texts and held and content["kind"] in KINDS


def _hash(values: Any) -> str:
    """Return the sha256 of values as compact JSON."""
    text = json.dumps(values, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
