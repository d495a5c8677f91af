"""Choose how a model is computed, whatever its configuration requests.

A ``config.json`` can name a kernel to fetch from the Hub, ask for fused or compiled layers, or name another file of
weights. None of this is obeyed: attention is PyTorch's own (``sdpa``, or ``eager`` where a model has no other), experts
are applied one by one, and a configuration that would load something else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants
from transformers import PreTrainedConfig

from quant.errors import CheckpointError

EXPERTS = "eager"
"""Each expert is a plain matrix product on the tokens that were routed to it."""

_IGNORED = (
    "fusion_config", "kernel_config", "use_kernels", "allow_all_kernels", "compile_config", "distributed_config",
    "tp_plan", "device_map", "reference_compile", "attn_implementation", "experts_implementation",
)  # fmt: skip
_QUANTIZED = ("quantization_config", "compression_config")
_OTHER_WEIGHTS = "transformers_weights"
_RESCALED = "rescale_every"
"""Field with which RWKV, for the sake of float16, halves its hidden state after every so many layers: it divides its
own matrices by powers of two in its first forward pass, so that its weights are no longer those that were loaded."""


def choose_implementations(config: PreTrainedConfig, source: object) -> None:
    """Set how a model will be computed, in a configuration and all configurations inside it.

    With no attention named, transformers takes ``sdpa`` where a class supports it, else ``eager``, part by part.

    Args:
        config: The configuration as it was read; changed in place.
        source: The file or folder it was read from; for the message.

    Raises:
        CheckpointError: if it says that the weights are quantized, lie in another file than the usual one, or are
            changed by the model itself.
    """
    for each in _nested(config):
        for name in _QUANTIZED:
            if getattr(each, name, None) is not None:
                raise CheckpointError(
                    f"expected full-precision weights in {source}, got quantized ones; name the original model"
                )
        if getattr(each, _OTHER_WEIGHTS, None) is not None:
            raise CheckpointError(
                f"expected the weights of {source} in model.safetensors, but its config.json names another file "
                f"({_OTHER_WEIGHTS}); rename that file, and delete the field"
            )
        for name in _IGNORED:
            vars(each).pop(name, None)
        every = getattr(each, _RESCALED, 0)
        if 0 < every < each.num_hidden_layers:
            raise CheckpointError(
                f"expected weights that stay as they are in {source}, but with {_RESCALED} = {every} the model divides "
                f"its own matrices when it runs; set {_RESCALED} to 0 in its config.json, which is the same function "
                "but for the epsilon of its norms"
            )
        each._attn_implementation = None
        each._experts_implementation = EXPERTS


def _nested(value: Any) -> Iterator[PreTrainedConfig]:
    """Yield a configuration and those inside it, the outer ones first: setting one sets its known parts."""
    if isinstance(value, PreTrainedConfig):
        yield value
        value = dict(vars(value))
    if isinstance(value, dict):
        for entry in value.values():
            yield from _nested(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _nested(entry)


@contextmanager
def offline() -> Iterator[None]:
    """Answer no request to the Hub inside: all that is needed was fetched before, into a folder."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
