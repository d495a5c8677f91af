"""Compare what a GGUF file says of its model with the model that transformers made of it.

transformers reads some of the metadata and some of the tensors, and ignores the rest in silence: a scaling of the
rotary embedding that is stored as a tensor, a soft cap on logits, an attention window. So every key of the architecture
must be known here and followed by the model, and every tensor must have gone into a weight.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import PreTrainedConfig, PreTrainedModel

from quant.checkpoints.gguf_header import check_header
from quant.checkpoints.gguf_metadata import unfollowed
from quant.checkpoints.stated_sizes import Stored, check_sizes
from quant.errors import CheckpointError
from quant.printable import printable

_ROPE = "rope_freqs.weight"
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
"""Settings of Llama 3.1 to 3.3, of which GGUF keeps only the factors that follow from them."""
_FACTORS, _ORIGINAL = (8.0, 32.0), 8192
_LISTED = 3  # keys that a message names
_TOLERANCE = 1e-5  # the factors are stored in float32


class GGUFFile:
    """The metadata and the names of the tensors of a GGUF file."""

    def __init__(self, path: Path) -> None:
        """Read the head of a file; no tensor is read.

        Raises:
            CheckpointError: if it is not a whole model, or a count or length of its header is beyond the file.
            ValueError: if it is not a GGUF file.
        """
        self.path = path
        check_header(path)
        reader = gguf.GGUFReader(path)
        fields = reader.fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.architecture = str(fields["general.architecture"].contents())
        own = f"{self.architecture}."
        self.metadata = {key.removeprefix(own): f.contents() for key, f in fields.items() if key.startswith(own)}
        self._rope_read = False
        kind = fields["general.type"].contents() if "general.type" in fields else "model"
        if kind != "model":
            raise CheckpointError(f"expected a model in {path}, got {printable(str(kind))!r}; give the model itself")

    @property
    def tensor_types(self) -> dict[str, str]:
        """The type in which each tensor is stored, by its name: ``Q4_K``, ``F32``."""
        return {name: tensor.tensor_type.name for name, tensor in self._tensors.items()}

    @property
    def weights(self) -> int:
        """Number of values of its tensors."""
        return sum(int(tensor.n_elements) for tensor in self._tensors.values())

    def check_sizes(self) -> None:
        """Check that no size in the metadata is beyond what the tensors of the file can hold.

        Raises:
            CheckpointError: if one is.
        """
        stored = Stored.of(tuple(map(int, tensor.shape[::-1])) for tensor in self._tensors.values())
        # No layer is left out of such a file, and the time in which transformers names them grows as their square.
        check_sizes(self.metadata, stored, self.path, few=1)

    def complete(self, config: PreTrainedConfig) -> None:
        """Add the rotary scaling of Llama 3.1, which the file keeps in a tensor, to a configuration.

        Raises:
            CheckpointError: if no configuration reproduces the scaling.
        """
        factors = self._values(_ROPE)
        if factors is None:
            return
        parameters = dict(getattr(config, "rope_parameters", None) or {})
        if config.model_type != "llama" or parameters.get("rope_type", "default") != "default":
            return
        found = self._llama3(factors, float(parameters["rope_theta"]))
        if found is None:
            raise CheckpointError(
                f"expected a rotary scaling of Llama 3.1's kind in {_ROPE} of {self.path}, got another, which is not "
                "read; give the original model as safetensors"
            )
        self._rope_read = True
        if found:
            config.rope_parameters = {**parameters, **found}

    def dropped(self, model: PreTrainedModel) -> set[str]:
        """Return the tensors of the file that went into no weight of the model."""
        from transformers.modeling_gguf_pytorch_utils import (
            TENSOR_PROCESSORS,
            TensorProcessor,
            get_gguf_hf_weights_map,
        )

        if self.architecture in _converted():
            return set()  # transformers' own list of dropped tensors is complete
        kind = TENSOR_PROCESSORS.get(self.architecture, TensorProcessor)
        places = get_gguf_hf_weights_map(model, kind(config=model.config.to_dict()))
        taken = {*places, *(f"{name}.weight" for name in places)}  # fused experts are known without the ending
        taken |= {"output.weight"} if self.architecture == "gpt2" else set()
        return self._tensors.keys() - taken - ({_ROPE} if self._rope_read else set())

    def check(self, config: PreTrainedConfig) -> None:
        """Check that a model follows all metadata of the file.

        Raises:
            CheckpointError: if it does not follow some keys; the message names them.
        """
        if listed := self.unfollowed(config):
            raise CheckpointError(
                f"expected a GGUF file that transformers reads in full, {self.path} has {listed}, which the "
                "model read from it does not follow; give the original model as safetensors"
            )

    def unfollowed(self, config: PreTrainedConfig) -> str:
        """Return the metadata that a model of this configuration does not follow, as text; empty if there is none."""
        keys = unfollowed(self.architecture, self.metadata, config.get_text_config(decoder=True))
        return printable(
            "; ".join(f"{self.architecture}.{key} = {str(self.metadata[key])[:40]}" for key in keys[:_LISTED])
        )

    def _values(self, name: str) -> Any:
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64).ravel()

    def _llama3(self, factors: Any, theta: float) -> dict[str, Any] | None:
        """Return the parameters that give these factors, {} if all factors are one; None if there are none."""
        if np.allclose(factors, 1, rtol=_TOLERANCE):
            return {}
        original = int(self.metadata.get("rope.scaling.original_context_length", _ORIGINAL))
        for factor in (float(factors.max()), *_FACTORS):
            if np.allclose(factors, _llama3_factors(len(factors), theta, factor, original), rtol=_TOLERANCE):
                settings = {**_LLAMA3, "factor": round(factor, 4), "original_max_position_embeddings": original}
                return {"rope_type": "llama3", **settings}
        return None


def _llama3_factors(count: int, theta: float, factor: float, original: int) -> Any:
    """Return how much longer each of ``count`` wavelengths becomes: short ones stay, long ones grow by ``factor``."""
    waves = 2 * math.pi * theta ** (np.arange(count) / count)
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    smooth = np.clip((original / waves - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / factor + smooth)


def _converted() -> set[str]:
    """Return the architectures that newer releases of transformers read tensor by tensor."""
    try:
        from transformers.integrations.gguf import GGUF_ARCHS
    except ImportError:
        return set()
    return set(GGUF_ARCHS)
