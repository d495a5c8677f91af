"""Convert a GGUF file once, and keep it as a folder of safetensors.

A GGUF file takes a minute to read, nearly all of it the text of its vocabulary, and a folder a second. The folder is

    <cache>/models/gguf-<sha256>/        config.json, model.safetensors, the tokenizer's files
        conversion.json                  the file's name, and all that the sha256 is over: its hash, dtype, versions
        SHA256SUMS                       the hash of every file

Its name has all that determines the conversion, so that another file, dtype or version is another folder. Before it is
kept, it is read back and compared with the file's own model and tokenizer: a file that is not the same afterwards is
read anew every time. A file that is refused leaves nothing, and is refused again. Any number of processes may convert
one file at once: the first to finish is kept, and none takes it away from the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from quant.checkpoints.pretrained import DeviceMap, read_folder, read_gguf
from quant.checkpoints.reading import quiet
from quant.checkpoints.tokenizer_record import tokenizer_record
from quant.checkpoints.weight_files import check_companions
from quant.errors import CheckpointError, StoreError
from quant.files.cache import atomic_path
from quant.files.hashed_files import is_sealed, seal
from quant.files.system_errors import reason
from quant.files.temporary_files import remove, temporary_name
from quant.hashing import file_hash
from quant.identity import FORMAT, fingerprint
from quant.versions import distribution_version

CONVERSION = 2
"""Version of ``read_gguf``; raise it when the code reads another model or tokenizer from a file, or refuses a file that
it took before."""

_LIBRARIES = ("transformers", "tokenizers", "gguf", "torch", "numpy", "safetensors")
_COMPANIONS = (
    "*config*.json", "*token*", "*vocab*", "*merges*", "*.model", "*.spm", "*.codes", "*.jinja", "*chat_template*",
    "tekken.json", "dict.txt", "emoji.json", "normalizer.json", "byte_maps.json", "word_*.json",
)  # fmt: skip
"""Files beside a GGUF file that transformers may read with it, such as another tokenizer."""
_WEIGHTS = ("*.gguf", "*.safetensors", "*.bin", "*.pt", "*.pth")
_NOTE = "conversion.json"
_UNLIKE = "READ-ANEW"
"""File in the place of a model that is not the same when it is read back."""


@dataclass(frozen=True)
class GGUFSource:
    """A GGUF file that may still have to be fetched."""

    name: str
    """Name of the file, for messages and for the note beside its conversion."""
    sha256: str
    """The hash of its bytes."""
    companions: tuple[tuple[str, str], ...]
    """Name and hash of each file beside it that transformers may read with it."""
    fetch: Callable[[], Path]
    """Function that returns its path, fetched if need be."""

    @classmethod
    def of(cls, file: Path) -> GGUFSource:
        """Hash a file and its companions.

        Raises:
            CheckpointError: if a file cannot be read, or one beside it would be loaded on top of it.
        """
        try:
            beside = sorted(file.parent.iterdir())
            check_companions(file.parent, [path.name for path in beside], CheckpointError)
            hashes = tuple((path.name, file_hash(path)) for path in beside if _is_companion(path))
            return cls(file.name, file_hash(file), hashes, lambda: file)
        except OSError as error:
            place = Path(error.filename or file)
            raise CheckpointError(
                f"expected to read {file} and the files beside it, got: {place}: {reason(error, place)}"
            ) from error


def read_once(
    source: GGUFSource,
    dtype: str,
    cache: Path,
    warn: Callable[[str], None],
    stage: Callable[[str], None],
    device_map: DeviceMap = None,
) -> tuple[PreTrainedModel, Tokenizer]:
    """Read a GGUF file from its kept conversion; convert it first if there is none, or it is damaged.

    Args:
        source: The file.
        dtype: ``float32``, ``float16``, ``bfloat16`` or ``auto``.
        cache: Folder whose ``models`` keeps conversions.
        warn: Function for one line about a cache that cannot be written, or about a damaged conversion that cannot be
            removed; the file is then read directly.
        stage: Function for the name of the conversion, before it begins.
        device_map: Map of modules to devices as accelerate takes it; None for the host, where files are converted.

    Raises:
        CheckpointError: if the file cannot be fetched or read, or transformers leaves a part of it out of the model.
        StoreError: if the file itself has to be fetched into a cache that cannot be written.
    """
    recipe = _recipe(source, dtype)
    folder = cache / "models" / f"gguf-{hashlib.sha256(recipe.encode()).hexdigest()}"
    found = _handle(folder)  # before the check, so that nothing is removed that was not checked
    if not is_sealed(folder):
        if found is not None:
            _remove_damaged(folder, found)
        stage(f"converting {source.name}, once")
        file = source.fetch()
        try:
            _convert(source, file, dtype, folder, recipe)
        except StoreError as error:
            warn(f"{source.name} is read anew at every run, since its conversion cannot be kept: {error}")
            return read_gguf(file, dtype, device_map)
        if not is_sealed(folder):  # what cannot be removed stays in the place of the new conversion
            warn(
                f"{source.name} is read anew at every run, since its kept conversion {folder} is damaged and cannot be "
                "replaced; remove that folder, or ask its owner to"
            )
            return read_gguf(file, dtype, device_map)
    if (folder / _UNLIKE).exists():
        return read_gguf(source.fetch(), dtype, device_map)
    return read_folder(folder, dtype, device_map)


def _handle(folder: Path) -> tuple[int, ...] | None:
    """Return a mark that no other folder under the same name has; None if there is no folder."""
    with suppress(OSError):
        status = folder.stat()
        if stat.S_ISDIR(status.st_mode):
            return status.st_dev, status.st_ino, status.st_ctime_ns  # an inode alone is soon used again
    return None


def _remove_damaged(folder: Path, found: tuple[int, ...]) -> None:
    """Remove a folder that is not sealed, if it can be removed and is still the one that was found.

    Another process may have put a good conversion in its place since, and may be reading it. So the folder is moved
    aside in one step, checked there, and put back if it is sealed.
    """
    aside = temporary_name(folder)
    with suppress(OSError):
        if _handle(folder) != found:
            return
        os.replace(folder, aside)
        if is_sealed(aside):
            os.replace(aside, folder)  # fails where yet another process has put a conversion there
    remove(aside)


def _convert(source: GGUFSource, file: Path, dtype: str, folder: Path, recipe: str) -> None:
    """Write a file's model and tokenizer into a folder, and check that they are the same when they are read back.

    Raises:
        CheckpointError: if the file cannot be read, or changes while it is read.
        StoreError: if the folder cannot be written; if it can never be, before the file is read.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        model, tokenizer = read_gguf(file, dtype)
        expected = _identity(model, tokenizer)
        with quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        del model, tokenizer  # so that there is never more than one model in memory
        if file_hash(file) != source.sha256:
            raise CheckpointError(f"expected {file} to stay as it is while it is read, but it changed; run it again")
        if not _reads_as(temporary, dtype, expected):
            shutil.rmtree(temporary)
            temporary.mkdir()
            (temporary / _UNLIKE).write_text("")
        note = json.dumps({"file": source.name, **json.loads(recipe)}, indent=2)
        (temporary / _NOTE).write_text(f"{note}\n", encoding="utf-8", newline="\n")
        seal(temporary)


def _reads_as(folder: Path, dtype: str, expected: tuple[object, ...]) -> bool:
    """Return whether a folder has a model and a tokenizer of this identity."""
    try:
        found = _identity(*read_folder(folder, dtype))
    except CheckpointError:
        return False
    return found == expected and expected[1] is not None


def _identity(model: PreTrainedModel, tokenizer: Tokenizer) -> tuple[object, ...]:
    """Return what a conversion must keep: the model's function, the cuts of a text, and the ids that matter here."""
    return fingerprint(model), tokenizer_record(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id


def _recipe(source: GGUFSource, dtype: str) -> str:
    """Return all that determines a conversion, as JSON; the file's name does not."""
    content = {
        "sha256": source.sha256, "dtype": dtype, "companions": dict(source.companions), "conversion": CONVERSION,
        "identity": FORMAT, "versions": {name: distribution_version(name) for name in _LIBRARIES},
    }  # fmt: skip
    return json.dumps(content, sort_keys=True)


def _is_companion(path: Path) -> bool:
    """Return whether transformers may read a file together with a GGUF file beside it."""
    matches = partial(fnmatch, path.name.lower())
    return any(map(matches, _COMPANIONS)) and not any(map(matches, _WEIGHTS)) and path.is_file()
