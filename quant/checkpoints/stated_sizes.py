"""Hold the sizes that a configuration states against the tensors that are stored, before a model is built from it.

A configuration is a few lines that anyone can write. One of a billion layers takes all time and memory: transformers
makes a list with an entry for each layer, and then modules, before it looks for the first weight.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from quant.errors import CheckpointError
from quant.printable import printable

_UNREAD = ("model_max_length",)
"""Ends of names of tokenizers' limits, which are 10^30 where there is none; no model is built from them."""
_LAYERS = re.compile(r"(layers?|blocks?|depths?|block_count|layers?_count|_predict_layers)$")
_EXPERTS = re.compile(r"(experts?|expert_count)$")
_POSITIONS = re.compile(r"(position|context|seq|window|max_length|_len$|n_ctx)")
_SIZES = re.compile(
    r"(size|dims?|rank|heads?|groups?|channels?|count|length|width|embd|inner|units|kernel|head_count_kv|d_model|d_ff"
    r"|d_inner|d_state|d_conv|states?|_num|features?)$"
)
_FEW = 512
"""Layers or experts that a configuration may state whatever is stored: of a part that the files leave out, such as the
encoder of images. They are built within a second."""
_DEEP, _SPARSE = 2**12, 2**16
"""Layers and experts at most; the most in use are some hundreds and 16,384, and to build so many takes ten seconds."""
_WIDE = 2**20
"""The same for other sizes, of which the largest in use, that of a vocabulary, is four times smaller."""
_LONG = 2**27
"""Tokens of the longest context that is believed; the longest in use is 10 million."""
_MOST_BUILT, _FEW_WEIGHTS = 8, 2**24
"""Weights of a model for each that is stored, which may be packed or shared; and as many as take little memory."""
_TABLES = 2**31
"""Bytes of the tables that a model computes, such as masks of positions, of which GPT-Neo has one in each layer."""
_LARGEST = 2**25  # bytes of a configuration; real ones have at most some hundred thousand
_DEEPEST = 50  # real ones are nested four deep


@dataclass(frozen=True)
class Stored:
    """Number and sizes of the tensors in the files of a model."""

    tensors: int
    """Number of tensors with values: every layer has one at least."""
    stack: int
    """Largest number of matrices in one tensor, as experts are stacked, or of rows, where they are these (Doge)."""
    values: int
    """Number of values of the largest tensor."""

    @classmethod
    def of(cls, shapes: Iterable[Sequence[int]]) -> Stored:
        """Sum up the shapes of all tensors."""
        held = [shape for shape in shapes if math.prod(shape)]
        stacks = (math.prod(shape[:-2]) if len(shape) > 2 else max(shape) for shape in held if len(shape) > 1)
        return cls(len(held), max(stacks, default=0), max(map(math.prod, held), default=0))


def check_configuration(path: Path, stored: Stored) -> None:
    """Check the sizes in a ``config.json``; one that is no JSON object is left to its reader.

    Raises:
        CheckpointError: if a size is beyond what is stored, or the file is too large for a configuration.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise CheckpointError(
                f"expected a configuration of at most {_LARGEST >> 20} MiB in {path}, got {size >> 20} MiB; save the "
                "model again with `save_pretrained`"
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(content, dict):
        check_sizes(content, stored, path)


def check_sizes(configuration: Mapping[str, Any], stored: Stored, source: Path, few: int = _FEW) -> None:
    """Check that no size of a configuration is beyond what the stored tensors can hold.

    Args:
        configuration: Sizes by name, possibly nested.
        stored: The tensors.
        source: The file, for the message.
        few: Layers that it may state whatever is stored.

    Raises:
        CheckpointError: if one is.
    """
    for name, value in _numbers(configuration):
        most, held = _bound(name.rpartition(".")[2], stored, few)
        if value > most:
            raise CheckpointError(
                f"expected {printable(name)} of at most {most} in {source}, {held}, got {str(value)[:40]}; give the "
                "configuration that belongs to the weights"
            )


def check_outline(config: PreTrainedConfig, count: int, source: Path) -> None:
    """Check that the model of a configuration has about as many weights as are stored, before memory is taken for them.

    A size that a configuration leaves out is that of some large model, which transformers would build and fill.

    Args:
        config: The configuration as transformers read it.
        count: Number of stored values.
        source: The file or folder, for the message.

    Raises:
        CheckpointError: if it has many more, or computes tables beyond all use.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tables = sum(held.nbytes for held in model.buffers())
    if tables > _TABLES:
        raise CheckpointError(
            f"expected a model that computes tables of at most {_TABLES >> 20} MiB in {source}, got {tables >> 20} "
            "MiB; give the configuration that belongs to the weights"
        )
    built = sum(held.numel() for held in model.parameters())
    if built > _MOST_BUILT * count + _FEW_WEIGHTS:
        raise CheckpointError(
            f"expected the configuration of a model of about {count:,} weights in {source}, as are stored, got one of "
            f"{built:,}; give the configuration that belongs to the weights"
        )


def _bound(name: str, stored: Stored, few: int) -> tuple[float, str]:
    """Return the largest value that a number of this name may have, and the reason."""
    if name.endswith(_UNREAD):
        return math.inf, ""
    if _LAYERS.search(name):
        return max(few, min(stored.tensors, _DEEP)), f"whose weights are {stored.tensors} tensors"
    if _EXPERTS.search(name):
        return min(max(_FEW, stored.tensors, stored.stack), _SPARSE), f"whose weights are {stored.tensors} tensors"
    if _POSITIONS.search(name):
        return _LONG, "where contexts of models end"
    if _SIZES.search(name):
        return max(_WIDE, stored.values), f"whose largest tensor has {stored.values} values"
    return math.inf, ""


def _numbers(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a configuration with their names."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
    elif depth < _DEEPEST and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}" if name else str(key), depth + 1)
    elif depth < _DEEPEST and isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner, name, depth + 1)
