"""The one cache folder, and how a file gets into it: whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from quant.errors import StoreError

ENVIRONMENT_VARIABLE = "LANDSCAPE_CACHE"
_ADVICE = f"free some space, or set {ENVIRONMENT_VARIABLE} to another folder"


def cache_folder() -> Path:
    """``$LANDSCAPE_CACHE``, else the platform's own place for a user's caches; it need not exist yet."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return (
        Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("quant-landscape", appauthor=False))
    )


@contextmanager
def atomic_path(path: Path, advice: str = _ADVICE) -> Iterator[Path]:
    """Lend a temporary name beside ``path``; what is written there becomes ``path`` when the block ends well.

    A file or a folder may be written. A file replaces an older one; a folder that another process put there in the
    meantime is kept. After an exception or Ctrl-C nothing is left.

    Args:
        path: A file or a folder; missing folders above it are made.
        advice: What to do if it cannot be written; by default what helps with the cache.

    Raises:
        StoreError: if the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_file():
            _flush(temporary)
        if not (temporary.is_dir() and path.is_dir()):
            os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"expected to write {path}, got: {error}; {advice}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Force the bytes to disk, so that the new name never stands for an empty file after a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
