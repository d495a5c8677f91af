"""Read a model's ``config.json`` before transformers does, and refuse fields of a kind that no reader expects.

transformers raises anything at all on such a file: a TypeError of a list where it looks up a name says nothing to the
one who wrote the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from quant.errors import CheckpointError
from quant.files.json_text import json_kind, parse_json, parse_object, read_bytes, read_object
from quant.printable import printable

_REMEDY = "save the model again with `save_pretrained`"
_LARGEST = 2**26  # bytes of a file beside the weights that is looked at after a failure


_COUNT = re.compile(
    r"(\w+_)?(hidden_size|intermediate_size|vocab_size|ffn_dim|proj_dim|d_model|n_embd|heads|layers)|(num|n|d)_(head|layer)"
)
"""Names of sizes; a layer by its number, which may count from the end (``vision_feature_layer: -2``), is none."""
_SHARE = re.compile(r"(?!(lora|adapter)_)(\w+_)?(dropout|pdrop|layerdrop|dropout_prob)")
"""Names of shares of a model; those of tools that train parts of it (``lora_dropout: -1``) are not read."""
_READ = ("config.json", "generation_config.json", "*token*.json", "vocab*.json", "chat_template*.json", "*.index.json")
"""Files of JSON that transformers reads beside the weights; others of a folder say nothing of its failure."""
_OBJECTS = (
    "config",
    "tokenizer",
    "tokenizer_config",
    "special_tokens_map",
    "added_tokens",
    "generation_config",
    "vocab",
)
"""Names of the files of a model that hold an object."""


def _is_dtype(value: Any) -> bool:
    return isinstance(value, str) and isinstance(getattr(torch, value.removeprefix("torch."), None), torch.dtype)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model_type": (lambda value: isinstance(value, str), "a text"),
    "architectures": (_is_names, "a list of names"),
    "dtype": (_is_dtype, "the name of a dtype, such as float32"),
    "torch_dtype": (_is_dtype, "the name of a dtype, such as float32"),
    "text_config": (lambda value: isinstance(value, dict), "an object"),
    "quantization_config": (lambda value: isinstance(value, dict), "an object"),
    "compression_config": (lambda value: isinstance(value, dict), "an object"),
}
"""Fields that are read here or choose the code that reads the others; each may also be null."""


def read_configuration(folder: Path) -> dict[str, Any]:
    """Read the configuration of a model.

    Raises:
        CheckpointError: if it is no JSON object, or one of its fields is of another kind than any reader expects.
    """
    content = read_object(folder / "config.json", CheckpointError, _REMEDY, nonfinite=True)
    for name, (fits, expected) in _KINDS.items():
        value = content.get(name)
        if value is not None and not fits(value):
            got = repr(value)[:60] if isinstance(value, str | int | float) else json_kind(value)
            raise CheckpointError(f"expected {expected} as {name} in {folder / 'config.json'}, got {printable(got)}")
    for part in (content, content.get("text_config") or {}):
        _check_numbers(part, folder / "config.json")
    return content


def _check_numbers(part: Mapping[str, Any], path: Path) -> None:
    """Check numbers of which some would fail in the first forward pass alone."""
    for name, value in part.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if _COUNT.fullmatch(name) and value < 0:
            raise CheckpointError(
                f"expected {printable(name)} of at least 0 in {path}, got {str(value)[:40]}; {_REMEDY}"
            )
        if _SHARE.fullmatch(name) and not 0 <= value <= 1:
            raise CheckpointError(f"expected {printable(name)} from 0 to 1 in {path}, got {str(value)[:40]}; {_REMEDY}")


def damaged_json(folder: Path) -> str | None:
    """Return what is wrong with the first file of a model that is named as JSON and is none.

    Returns:
        The message; None if all are sound, or beyond what is looked at.
    """
    for path in sorted(folder.glob("*.json")):
        if not any(fnmatchcase(path.name, pattern) for pattern in _READ):
            continue
        try:
            text = read_bytes(path, CheckpointError, most=_LARGEST)
            parse = parse_object if path.stem in _OBJECTS else parse_json
            parse(text, path, CheckpointError, _REMEDY, nonfinite=True, repeated=True)
        except CheckpointError as error:
            return str(error)
    return None
