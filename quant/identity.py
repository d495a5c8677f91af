"""Hash a model's weights and every setting that can change its function: its identity.

Two models with the same tensors are two functions if their activation, the base of their rotary embedding, the number
of their heads or the epsilon of their norms differ. So the whole configuration counts, except for a few fields that no
forward pass reads. An unknown field counts: at worst an identity changes for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig

from quant.hashing import tensor_bytes

FORMAT = 2
"""Version of the hashed content; in version 1 it was the weights alone."""

INERT = frozenset(
    {
        "_name_or_path", "name_or_path", "_commit_hash", "transformers_version",  # where it came from
        "architectures", "auto_map",  # the model's class is hashed itself
        "dtype", "torch_dtype",  # the tensors' own dtypes are hashed
        "use_cache", "output_attentions", "output_hidden_states", "return_dict", "use_return_dict",  # outputs
        "id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params",  # other heads
    }
)  # fmt: skip
"""Fields of a configuration on which no forward pass to logits depends. Token ids are not among them: some models
count positions from their padding token."""


def fingerprint(model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> str:
    """Return the sha256 over a model's function: its class, its configuration, its parameters and persistent buffers.

    The name and the place of the model do not matter. A tensor with several names (a head tied to the embedding) counts
    once, under the first.

    Args:
        model: The model.
        weights: Values that replace the model's own, by the name of the parameter.
    """
    persistent = model.state_dict(keep_vars=True).keys()
    tensors = {**dict(model.named_parameters()), **{n: b for n, b in model.named_buffers() if n in persistent}}
    tensors |= {name: tensor for name, tensor in (weights or {}).items() if name in tensors}

    def digest(item: tuple[str, Tensor]) -> str:
        name, tensor = item
        head = json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode()
        return hashlib.sha256(head + hashlib.sha256(tensor_bytes(tensor)).digest()).hexdigest()

    with ThreadPoolExecutor() as pool:  # hashlib releases the interpreter's lock
        digests = "".join(pool.map(digest, sorted(tensors.items())))
    return hashlib.sha256(f"{FORMAT}\n{function_record(model)}\n{digests}".encode()).hexdigest()


def function_record(model: nn.Module) -> str:
    """Return all that determines a model's function besides its tensors, as one line of JSON.

    The record has the class, the configuration without ``INERT``, and the implementations of attention and experts.
    """
    config = getattr(model, "config", None)
    record: dict[str, Any] = {"class": type(model).__name__}
    if config is not None:
        record["config"] = _plain(config)
        for kind in ("_attn_implementation", "_experts_implementation"):
            record[kind] = getattr(config, kind, None)
    return json.dumps(record, sort_keys=True)


def function_fields(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the fields of a configuration on which a forward pass may depend, as JSON has them."""
    return dict(_plain(config))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, with the fields of nested configurations, and without the inert ones."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items() if str(key) not in INERT}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
