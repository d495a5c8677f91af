"""Find the transformer stack of a causal language model and the weight matrices in it.

A decoder block holds its matrices in three ways: ``nn.Linear`` (out, in), GPT-2's ``Conv1D`` (in, out), and stacks of
experts, one parameter for all experts of a layer. Any other parameter with two or more axes is known by its kind (a
router, a convolution, the state matrix of a recurrence); a model with one of an unknown kind is refused, since it
would be measured without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from quant.errors import CheckpointError

ROUTER, CONVOLUTION, STATE = "router", "convolution", "state matrix"
UNKNOWN = "unknown"

_STACKED: dict[str, dict[str, bool]] = {
    "Llama4TextExperts": {"gate_up_proj": True, "down_proj": True},
    "JetMoeParallelExperts": {"weight": False},
    "DbrxExpertGLU": {"w1": False, "v1": False, "w2": True},
    "RecurrentGemmaRglru": {"input_gate_weight": True, "recurrent_gate_weight": True},
    "ZambaMambaMixer": {"x_proj_weight": False, "dt_proj_weight": False},
}
"""Classes that stack matrices without transformers' ``is_transposed``: their parameters, and whether each matrix is
stored (in, out)."""
_ROUTER = re.compile(r"(?P<layer>.*?)\b(?:gate|router|gating)\.")
"""A module beside the experts of a layer that chooses among them, with all that is in it."""
_SCALAR_GATE = re.compile(r"\w+_(gate|router)\.weight$")
"""A gate with a single output, such as a shared expert's."""
_STATES = ("A_log", "A", "D")


@dataclass(frozen=True)
class BlockMatrix:
    """A parameter of a decoder block that is one weight matrix, or a stack of several."""

    name: str
    """Name of the parameter within the block, ``mlp.up_proj.weight``."""
    shape: tuple[int, int]
    """Shape of a matrix as stored."""
    transposed: bool
    """Whether it is stored (in, out)."""
    count: int | None = None
    """How many are stacked; None for a single matrix."""


@dataclass(frozen=True)
class Outside:
    """A parameter of a decoder block that is no weight matrix of the space."""

    name: str
    """Its name in the model, or within the block."""
    size: int
    """How many numbers it holds."""
    kind: str
    """``router``, ``convolution``, ``state matrix``, ``unknown``; ``excluded`` if a user left it out."""


def decoder_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return the qualified name and the list of the model's decoder blocks, in the order data flows through them.

    The stack is the one ``ModuleList`` of the text model with as many members as the configuration has hidden layers.

    Raises:
        CheckpointError: if there is no such list, or more than one.
    """
    depth = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)  # type: ignore[operator, union-attr]
    root = _text_model(model)
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    found = [(name, m) for name, m in found if f"{name}.".startswith(root)]
    outermost = [(name, m) for name, m in found if not any(name.startswith(f"{other}.") for other, _ in found)]
    if len(outermost) != 1:
        raise CheckpointError(
            f"expected one stack of {depth} decoder blocks in {type(model).__name__}, found {len(outermost)}; "
            "the model families that are supported are listed in tests/families/README.md"
        )
    return outermost[0]


def _text_model(model: nn.Module) -> str:
    """Return the prefix of names below the text model, which can be one part beside a vision or audio tower."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None  # type: ignore[operator]
    if decoder is None or not any(isinstance(module, nn.ModuleList) for module in decoder.modules()):
        return ""  # ModernBERT calls its head a decoder
    names = [name for name, module in model.named_modules() if module is decoder and module is not model]
    return f"{names[0]}." if names else ""


def block_contents(block: nn.Module) -> Iterator[BlockMatrix | Outside]:
    """Yield every matrix of a block, and any other parameter with two or more axes longer than 1, by its name in it."""
    experts = _experts(block)
    for prefix, module in block.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            linear = isinstance(module, nn.Linear | Conv1D) and leaf == "weight"
            vector = sum(length > 1 for length in parameter.shape) < 2 or re.search(r"(^|_)bias$", leaf)
            if vector and not linear:
                continue
            name = f"{prefix}.{leaf}" if prefix else leaf
            yield _contents(name, leaf, module, parameter, experts)


def _contents(name: str, leaf: str, module: nn.Module, parameter: Tensor, experts: set[str]) -> BlockMatrix | Outside:
    if _is_router(name, parameter, experts):
        return Outside(name, parameter.numel(), ROUTER)
    if isinstance(module, nn.Linear | Conv1D) and leaf == "weight":
        rows, columns = parameter.shape
        return BlockMatrix(name, (rows, columns), isinstance(module, Conv1D))
    stacked = _stacked(leaf, module, parameter)
    if stacked is not None:
        count, rows, columns = stacked
        return BlockMatrix(name, (rows, columns), _stored_transposed(leaf, module), count)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return Outside(name, parameter.numel(), CONVOLUTION)
    return Outside(name, parameter.numel(), STATE if leaf in _STATES else UNKNOWN)


def _stacked(leaf: str, module: nn.Module, parameter: Tensor) -> tuple[int, int, int] | None:
    """Return (count, rows, columns) of a stack of matrices; None if the parameter is of no known kind."""
    own = _STACKED.get(type(module).__name__)
    if (own is None or leaf not in own) and not hasattr(module, "is_transposed"):
        return None
    if parameter.ndim == 3:
        count, rows, columns = parameter.shape
        return count, rows, columns
    count = getattr(module, "moe_num_experts", 0)  # DBRX keeps its experts one below the other
    if parameter.ndim == 2 and count and parameter.shape[0] % count == 0:
        return count, parameter.shape[0] // count, parameter.shape[1]
    return None


def _stored_transposed(leaf: str, module: nn.Module) -> bool:
    own = _STACKED.get(type(module).__name__)
    return own[leaf] if own and leaf in own else bool(module.is_transposed)


def _experts(block: nn.Module) -> set[str]:
    """Return the names of the block's modules that hold experts, stacked or one module each."""
    found = set()
    for name, module in block.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] == "experts":
            found.add(name)
        if any(_stacked(leaf, module, p) is not None for leaf, p in module.named_parameters(recurse=False)):
            found.add(name)
    return found


def _is_router(name: str, parameter: Tensor, experts: set[str]) -> bool:
    """Return whether a parameter belongs to a router of tokens to experts, or weighs a shared expert."""
    layers = [match["layer"] for match in _ROUTER.finditer(name)]
    if _SCALAR_GATE.search(name) and parameter.shape[0] == 1:
        layers.append(name.rpartition(".")[0].rpartition(".")[0])
    return any(f"{holder}.".startswith(layer) for layer in layers for holder in experts)


def input_device(model: nn.Module) -> torch.device:
    """Return the device that token ids go to: that of the embeddings, where a model lies on several."""
    find = getattr(model, "get_input_embeddings", None)
    weight = getattr(find() if find else None, "weight", None)
    return weight.device if isinstance(weight, torch.Tensor) else next(model.parameters()).device


def vocabulary_size(model: nn.Module) -> int:
    """Return |V|, the number of logits that the head gives; ln|V| is the NLL of a uniform guess (chance).

    Raises:
        CheckpointError: if the model has no head that is a matrix over the vocabulary.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    weight = getattr(head, "weight", None)
    if not isinstance(weight, torch.Tensor):
        raise CheckpointError(f"expected a head with one row for each token in {type(model).__name__}, found none")
    return weight.shape[0]
