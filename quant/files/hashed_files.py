"""Keep tensors and folders with the hash of their content, and read them back only if the hash is right."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from quant.files.cache import atomic_path, note_use
from quant.files.odd_files import is_odd, set_aside
from quant.files.system_errors import reason
from quant.hashing import file_hash, tensor_bytes

_HASH = "sha256"
_SUMS = "SHA256SUMS"


def write_hashed(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file whose header has the hash of all its content.

    Args:
        path: The file; an older one is replaced, and what is no file is set aside.
        tensors: The tensors to keep, by name.
        metadata: Their recipe, and any other text; ``read_hashed`` returns it.

    Raises:
        StoreError: if it cannot be written.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        if is_odd(path):
            set_aside(path)
        save_file(held, temporary, {**metadata, _HASH: _content_hash(held, metadata)})


def read_hashed(path: Path, recipe: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Read a file of ``write_hashed``.

    Args:
        path: The file.
        recipe: Entries that its metadata must have; a file of another recipe under this name counts as missing.

    Returns:
        Tensors and metadata; None if the file is missing, or differs in any bit from the file that was written.
    """
    if is_odd(path):  # to open a pipe would wait for ever
        return None
    try:
        with safe_open(path, framework="pt") as file:  # type: ignore[no-untyped-call]
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError):
        return None
    stated = metadata.pop(_HASH, None)
    if stated != _content_hash(tensors, metadata) or not recipe.items() <= metadata.items():
        return None
    note_use(path)
    return tensors, metadata


def fault_of_unread(path: Path, damage: str = "is damaged") -> str | None:
    """Say why a file of which ``read_hashed`` returned nothing was not taken; None if there is no file.

    Args:
        path: The file.
        damage: Words for one that can be read.
    """
    if not os.path.lexists(path):
        return None
    try:
        if not is_odd(path):
            path.open("rb").close()
    except OSError as error:
        return f"cannot be read ({reason(error, path)})"
    return damage


def _content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the sha256 over names, dtypes, shapes, bytes and metadata."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(hashlib.sha256(tensor_bytes(tensor)).digest())
    return digest.hexdigest()


def seal(folder: Path) -> None:
    """Write the hash of every file of a folder into it, in the format of ``sha256sum``."""
    (folder / _SUMS).write_text(_sums(folder), encoding="utf-8", newline="\n")


def is_sealed(folder: Path) -> bool:
    """Return whether a folder exists and holds, to the bit, the files that ``seal`` found in it."""
    if is_odd(folder / _SUMS):
        return False
    try:
        intact = (folder / _SUMS).read_text(encoding="utf-8") == _sums(folder)
    except (OSError, UnicodeDecodeError):
        return False
    note_use(folder / _SUMS)
    return intact


def _sums(folder: Path) -> str:
    """Return the lines ``hash  name``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SUMS)
    return "".join(f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
