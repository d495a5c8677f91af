"""Find all that determines how a tokenizer cuts a text, so that its tokens can be kept under it.

A name says nothing: one added token, another normalizer or another version of a library makes other ids of the same
text. So the record has the tokenizer's own content and the versions of the code that reads it. Where not all of it can
be seen there is no record, and nothing is kept.
"""

from __future__ import annotations

import json
from typing import Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from quant.files.temporary_files import scratch_folder
from quant.hashing import file_hash
from quant.versions import distribution_version

_LIBRARIES = ("transformers", "tokenizers", "sentencepiece")
_CALLS = ("__call__", "_encode_plus", "_batch_encode_plus", "_call_one", "encode_plus", "batch_encode_plus")
"""Methods that turn a text into ids; a fast tokenizer that has its own depends on more than its backend."""
_PLACES = frozenset({"name_or_path", "init_inputs", "deprecation_warnings", "files_loaded", "verbose"})
"""Attributes that say where a tokenizer came from."""


def tokenizer_record(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return all that determines the ids of a text without special tokens, as one line of JSON.

    Whether an added token counts as special is left out, as it makes no difference where special tokens are not split:
    reading a saved tokenizer can change that alone.

    Returns:
        The record; None if it cannot be determined: for a tokenizer with methods or rules of its own in Python, or
        with dropout, whose ids are random.
    """
    content = _fast(tokenizer) if tokenizer.is_fast else _slow(tokenizer)
    if content is None:
        return None
    kind = type(tokenizer)
    versions = {name: distribution_version(name) for name in _LIBRARIES}
    return json.dumps([f"{kind.__module__}.{kind.__qualname__}", versions, content])


def _fast(tokenizer: Any) -> list[object] | None:
    """Return the content of a tokenizer of the ``tokenizers`` library."""
    kind = type(tokenizer)
    if any(getattr(kind, name, None) is not getattr(PreTrainedTokenizerFast, name, None) for name in _CALLS):
        return None
    backend = tokenizer.backend_tokenizer
    if getattr(backend.model, "dropout", None):
        return None
    try:
        content: str = backend.to_str()
    except Exception:  # the library raises no narrower class for a part that was written in Python
        return None
    splits = bool(tokenizer.split_special_tokens or backend.encode_special_tokens)
    if not splits:  # inside a JSON string the quotes are escaped, so that this finds keys alone
        content = content.replace('"special":true', '"special":false')
    return [content, splits]


def _slow(tokenizer: Any) -> list[object] | None:
    """Return the content of a tokenizer in Python of transformers itself: the files it saves, and its settings."""
    if not type(tokenizer).__module__.startswith("transformers."):
        return None
    settings = {
        name: value
        for name, value in vars(tokenizer).items()
        if name not in _PLACES and (value is None or isinstance(value, bool | int | float | str))
    }
    with scratch_folder() as folder:
        try:
            tokenizer.save_pretrained(folder)
        except (OSError, ValueError, NotImplementedError, AttributeError):
            return None
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        hashes = [[path.relative_to(folder).as_posix(), file_hash(path)] for path in files]
    return [hashes, sorted(settings.items())] if hashes else None
