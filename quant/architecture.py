"""Where a causal language model keeps its transformer stack and the weight matrices in it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from quant.errors import CheckpointError


def decoder_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The qualified name and the list of the model's decoder blocks, in the order data flows through them.

    The stack is the one ``ModuleList`` with as many members as the configuration has hidden layers.

    Raises:
        CheckpointError: if there is no such list, or more than one.
    """
    depth = getattr(model.config, "num_hidden_layers", None)
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    outermost = [(name, m) for name, m in found if not any(name.startswith(f"{other}.") for other, _ in found)]
    if len(outermost) != 1:
        raise CheckpointError(
            f"expected one stack of {depth} decoder blocks in {type(model).__name__}, found {len(outermost)}; "
            "GPT-2, OPT and Llama-type models are supported"
        )
    return outermost[0]


def block_matrices(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The linear layers ``y = x Wᵀ + b`` inside one decoder block, by their name within it."""
    for name, module in block.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            yield name, module


def is_transposed(module: nn.Module) -> bool:
    """Whether it stores Wᵀ, (in, out), as GPT-2's ``Conv1D`` does; ``nn.Linear`` stores W, (out, in)."""
    return isinstance(module, Conv1D)


def vocabulary_size(model: nn.Module) -> int:
    """|V|: how many logits the head puts out; ln|V| is the NLL of a uniform guess (chance)."""
    weight: Tensor = model.get_output_embeddings().weight  # type: ignore[operator, union-attr]
    return weight.shape[0]
