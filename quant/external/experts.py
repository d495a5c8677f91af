"""Find how a checkpoint stores the matrices of a weight space: most as they are, stacks of experts often one by one.

transformers 5 holds the experts of a layer in one parameter, gate and up projections side by side; files hold a matrix
for each expert and projection. transformers' own conversion shows which rows of which matrix a stored tensor is: it is
run on a parameter whose numbers are their own positions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from quant.errors import PointError
from quant.grid import channel_view
from quant.space import Slot, WeightSpace


@dataclass(frozen=True, eq=False)
class Piece:
    """A stored tensor, or one matrix of it, that holds some of the outputs of a slot's matrix."""

    slot: Slot
    """Its name, its shape, and whether inputs come first, all as stored."""
    outputs: Tensor
    """(n,) indices of its outputs among those of the whole matrix."""
    index: int | None = None
    """Index of the matrix in a stored stack; None where it is stored by itself."""


def stored_pieces(
    model: PreTrainedModel, space: WeightSpace, present: Collection[str] = ()
) -> dict[str, tuple[Piece, ...]]:
    """Find the stored tensors that make up each slot, by the slot's name.

    Args:
        model: The model, as transformers loads it.
        space: Its weight space.
        present: Names of stored tensors; a stack that is among them is stored as the model holds it.
    """
    pieces: dict[str, list[Piece]] = {}
    stacks: dict[str, list[Slot]] = {}
    for slot in space:
        if slot.stack is None:
            pieces[slot.name] = [Piece(slot, torch.arange(slot.shape[1 - slot.input_dim]))]
        else:
            stacks.setdefault(slot.stack, []).append(slot)
    for stack, slots in stacks.items():
        if stack in present:
            own = [(slot.name, _as_held(slot, stack)) for slot in slots]
        else:
            own = _stack_pieces(model, stack, {slot.index: slot for slot in slots})
        for name, piece in own:
            pieces.setdefault(name, []).append(piece)
    return {slot.name: tuple(pieces[slot.name]) for slot in space}


def stored_names(model: PreTrainedModel, pieces: Mapping[str, tuple[Piece, ...]]) -> dict[str, str]:
    """Return the model's name of every tensor that transformers stores under another one, pieces of slots aside."""
    names = {}
    taken = {piece.slot.name for each in pieces.values() for piece in each}
    for name, tensor in model.state_dict().items():
        stored = list(revert_weight_conversion(model, {name: torch.empty_like(tensor, device="meta")}))
        if len(stored) == 1 and stored[0] != name and stored[0] not in taken:
            names[stored[0]] = name
    return names


def assembled(slot: Slot, parts: Mapping[Piece, Tensor]) -> Tensor:
    """Put the decoded matrices of a slot's pieces together, in the slot's own layout.

    Raises:
        PointError: if they are not all of its outputs, each once.
    """
    (piece, part), *others = parts.items()
    if not others and piece.slot.transposed == slot.transposed and tuple(part.shape) == slot.shape:
        return part
    outputs = torch.cat([each.outputs for each in parts])
    whole = slot.shape[1 - slot.input_dim]
    if sorted(outputs.tolist()) != list(range(whole)):
        raise PointError(f"expected all {whole} outputs of {slot.name}, found {len(outputs)} in its stored tensors")
    rows = torch.cat([channel_view(each.slot, tensor) for each, tensor in parts.items()])
    matrix = torch.empty_like(rows)
    matrix[outputs] = rows
    return channel_view(slot, matrix).contiguous()


def _as_held(slot: Slot, stack: str) -> Piece:
    """Return the piece of a slot in a file that holds the model's own stack."""
    outputs = torch.arange(slot.shape[1 - slot.input_dim])
    return Piece(Slot(stack, slot.shape, slot.transposed, slot.block, 0), outputs, slot.index)


def _stack_pieces(model: PreTrainedModel, stack: str, slots: Mapping[int, Slot]) -> list[tuple[str, Piece]]:
    """Return the pieces of one stack, each with the name of its slot."""
    count = model.get_parameter(stack).numel() // next(iter(slots.values())).size
    some = next(iter(slots.values()))
    outputs, inputs = some.shape[1 - some.input_dim], some.inputs
    places = torch.arange(count * outputs).view((count, 1, outputs) if some.transposed else (count, outputs, 1))
    found = []
    for name, stored in revert_weight_conversion(model, {stack: places}).items():
        matrices = [(None, stored)] if stored.ndim == 2 else list(enumerate(stored))
        for index, matrix in matrices:
            which, rows = matrix.flatten() // outputs, matrix.flatten() % outputs
            if len(set(which.tolist())) != 1 or int(which[0]) not in slots:
                continue
            slot, transposed = slots[int(which[0])], matrix.shape[0] == 1 and matrix.shape[1] > 1
            shape = (inputs, len(rows)) if transposed else (len(rows), inputs)
            own = name if name.endswith(".weight") or index is not None else f"{name}.weight"
            found.append((slot.name, Piece(Slot(own, shape, transposed, slot.block, 0), rows, index)))
    return found
