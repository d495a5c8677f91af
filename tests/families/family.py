"""One row of the table of model families: how a tiny member is built, and which of its parameters are not in w."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 61

ROUTER = "router"
KERNEL = "kernel of a short convolution"
DECAY = "decay rates of a recurrence"
MIXING = "shares of this and the last token"
EXPERT_BIAS = "biases, one row per expert"
HEAD_BIAS = "biases, one row per head"


@dataclass(frozen=True)
class Family:
    """A model family, and what a stranger who counts by hand expects of its weight space."""

    name: str
    """How tests name it."""
    kind: str
    """``dense``, ``mixture`` (of experts) or ``recurrent`` (wholly or in part)."""
    model_type: str
    """Its name in transformers."""
    options: Mapping[str, object] = field(repr=False)
    """What its configuration is given."""
    stack: str = "model.layers"
    """Qualified name of its list of decoder blocks."""
    outside: Mapping[str, str] = field(default_factory=dict)
    """Globs of parameters of two or more dimensions that blocks have and w leaves out, each with the reason."""
    refusal: str = ""
    """Why it has no weight space, in words; empty if it has one."""
    between_blocks: str = ""
    """What blocks leave for later ones beside their output, so that they are run again where others are replayed."""
    features: str = ""
    """What it brings that others do not."""
    slow: bool = True
    """Whether its tests are marked ``slow``; the others cover each kind of trouble once."""
    steps: int = 30
    """How many training steps it takes to beat chance clearly."""

    def build(self, seed: int = 0) -> nn.Module:
        """Make a tiny untrained model, the same for the same seed."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            config = AutoConfig.for_model(self.model_type, **self.options)
            return AutoModelForCausalLM.from_config(config).eval()

    def block_parameters(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Yield each parameter of two or more dimensions in the blocks once, by its name within its block."""
        for name, parameter in model.named_parameters():
            if name.startswith(f"{self.stack}.") and parameter.ndim >= 2:
                yield name.removeprefix(f"{self.stack}.").split(".", 1)[1], parameter

    def is_outside(self, name: str) -> bool:
        """Whether a parameter, by its name within its block, is left out of w."""
        return any(fnmatchcase(name, glob) for glob in self.outside)

    def dimension(self, model: nn.Module) -> int:
        """D, counted from the shapes of the parameters."""
        return sum(p.numel() for name, p in self.block_parameters(model) if not self.is_outside(name))


def llama_like(**options: object) -> dict[str, object]:
    """Return the options of a configuration that has Llama's names, changed by ``options``."""
    common: dict[str, object] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": None,
    }
    return {**common, **END, **options}


def gpt_like(**options: object) -> dict[str, object]:
    """Return the options of a configuration that has GPT-2's names, changed by ``options``."""
    return {"vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, **END, **options}


END = {"bos_token_id": 0, "eos_token_id": 0}
SLIDING_THEN_FULL = ["sliding_attention", "full_attention"]
