"""Keep files in the one cache folder: written whole or not at all, and read back only if their hash is right."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from quant.errors import StoreError
from quant.hashing import file_hash, tensor_bytes

ENVIRONMENT_VARIABLE = "LANDSCAPE_CACHE"
_HASH = "sha256"
_SUMS = "SHA256SUMS"
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
    meantime is kept. After an exception or Ctrl-C nothing is left. Its mode follows the umask, whatever wrote it, so
    that the users of a shared cache can read it where the umask lets them.

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
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Force the bytes to disk, so that the new name never stands for an empty file after a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _open_to_umask(path: Path) -> None:
    """Give a file or folder the mode that a plain ``open`` or ``mkdir`` would; safetensors writes 0600."""
    mask = os.umask(0o077)  # the only portable way to read it is to set it
    os.umask(mask)
    with suppress(OSError):  # a file system without modes has none to set
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def write_hashed(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file that is headed by the hash of all that it holds.

    Args:
        path: The file; an older one is replaced.
        tensors: What to keep, by name.
        metadata: What they are: their recipe, and any words that belong to them. ``read_hashed`` gives it back.

    Raises:
        StoreError: if it cannot be written.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(held, temporary, {**metadata, _HASH: _content_hash(held, metadata)})


def read_hashed(path: Path, recipe: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Read what ``write_hashed`` wrote.

    Args:
        path: The file.
        recipe: What its metadata must hold; a file of another recipe, put under this name, is not taken for it.

    Returns:
        Tensors and metadata; None if the file is missing, or is not, to the bit, what was written. Damage is absence.
    """
    try:
        with safe_open(path, framework="pt") as file:  # type: ignore[no-untyped-call]
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError):
        return None
    stated = metadata.pop(_HASH, None)
    if stated != _content_hash(tensors, metadata) or not recipe.items() <= metadata.items():
        return None
    return tensors, metadata


def _content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """sha256 over names, dtypes, shapes, bytes and metadata."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(hashlib.sha256(tensor_bytes(tensor)).digest())
    return digest.hexdigest()


def seal(folder: Path) -> None:
    """Write the hash of every file of a folder into it, as ``sha256sum`` would list them."""
    (folder / _SUMS).write_text(_sums(folder), encoding="utf-8", newline="\n")


def is_sealed(folder: Path) -> bool:
    """Whether a folder is there and holds, to the bit, the files that ``seal`` found in it."""
    try:
        return (folder / _SUMS).read_text(encoding="utf-8") == _sums(folder)
    except (OSError, UnicodeDecodeError):
        return False


def _sums(folder: Path) -> str:
    """Lines ``hash  name``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SUMS)
    return "".join(f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
