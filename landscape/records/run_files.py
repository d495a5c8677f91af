"""Name the files of runs, and find a run by its name.

    <store>/<model>-<dtype>/runs/<kind>-<model>-<hash>.json     a survey or an anatomy, beside its probes
    <store>/studies/<name>.json                                 a study

The hash is over the command, so that a command that is repeated replaces its own run, and others stand beside it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from quant.errors import UsageError

RUNS, STUDIES, SUFFIX = "runs", "studies", ".json"
_HASHED = 8  # hex digits of a hash: a store holds tens of runs
_LISTED = 8  # names that an error lists


def run_path(folder: Path, kind: str, model: str, command: str) -> Path:
    """Return the file of a run.

    Args:
        folder: Store of its model.
        kind: Kind of its result.
        model: Name that the user gave the model; its last part is taken, in plain characters.
        command: The command line, without the store and the folder of the page.
    """
    digest = hashlib.sha256(command.encode()).hexdigest()[:_HASHED]
    return folder / RUNS / f"{kind}-{plain_name(model)}-{digest}{SUFFIX}"


def study_path(root: Path, name: str) -> Path:
    """Return the file of a study in a cache folder."""
    return root / STUDIES / f"{plain_name(name)}{SUFFIX}"


def plain_name(name: str) -> str:
    """Return the last part of a path or a name of the Hub, in characters that every file system takes."""
    last = name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.") or "model"


def run_files(root: Path) -> list[Path]:
    """List the files of all runs in a cache folder, studies included, by name."""
    found = [*root.glob(f"*/{RUNS}/*{SUFFIX}"), *root.glob(f"{STUDIES}/*{SUFFIX}")]
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: (path.stem, str(path)))


def find_run(name: str, root: Path) -> Path:
    """Return the file of a run.

    Args:
        name: Its name, the beginning of its name if no other begins so, or the path of a file.
        root: The cache folder.

    Raises:
        UsageError: if there is none, or several.
    """
    if not name.removesuffix(SUFFIX):
        raise UsageError(f"expected the name of a run, or of a file, got {name!r}; landscape cache ls lists the runs")
    as_path = _as_file(name)
    if as_path is not None:
        return as_path
    files = run_files(root)
    stem = name.removesuffix(SUFFIX)
    found = [path for path in files if path.stem == stem] or [path for path in files if path.stem.startswith(stem)]
    if len(found) == 1:
        return found[0]
    if found:
        names = [path.stem for path in found]
        several = len(set(names)) < len(names)  # one name in the stores of two dtypes
        listed = ", ".join(map(str, found) if several else names[:_LISTED])
        raise UsageError(f"expected a run, got {name!r}, with which {len(found)} begin: {listed}; name one of them")
    known = ", ".join(path.stem for path in files[:_LISTED]) or "none yet: landscape probe makes one"
    raise UsageError(f"expected a run in {root} or a file, got {name!r}; runs there: {known}")


def _as_file(name: str) -> Path | None:
    """Return a name as the path of a file; None if there is none, or the name is none that a file can have."""
    try:
        path = Path(name).expanduser()  # RuntimeError: a user without a home
        return path if path.is_file() else None
    except (RuntimeError, OSError, ValueError):  # a name too long; one with NUL
        return None
