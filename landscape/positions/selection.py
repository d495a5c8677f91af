"""Select some of the tensors of a weight space by a string that is part of a position's identity.

block=3                         the matrices of one decoder block
type=mlp.down_proj              the matrices of that name in every block
model.layers.0.mlp.*            a glob over the slots' names
block=0,type=mlp.down_proj      either of them
!block=3                        all but those
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from quant.errors import UsageError
from quant.space import Slot, WeightSpace

ALL_TENSORS = "*"
"""Every tensor."""


def matrix_type(slot: Slot) -> str:
    """Name a matrix within its block, ``mlp.down_proj``; all experts of a layer are of one type."""
    _, _, inside = f".{slot.parameter}".partition(f".{slot.block}.")
    return inside.removesuffix(".weight")


def block_selection(slot: Slot) -> str:
    """Select the matrices of the slot's block."""
    return f"block={slot.block}"


def type_selection(slot: Slot) -> str:
    """Select the matrices of the slot's type."""
    return f"type={matrix_type(slot)}"


def tensor_selection(slot: Slot) -> str:
    """Select one matrix alone."""
    return slot.name


def either(selections: Iterable[str]) -> str:
    """Select the tensors of any of these selections, which are no complements, whatever their order."""
    return ",".join(sorted(set(selections)))


def selects(selection: str, slot: Slot) -> bool:
    """Return whether a tensor is among those selected.

    Raises:
        UsageError: if the selection cannot be read.
    """
    terms = selection.removeprefix("!").split(",")
    return any(_matches(term, slot) for term in terms) != selection.startswith("!")


def selected(selection: str, space: WeightSpace) -> tuple[Slot, ...]:
    """List the tensors selected, in flat order.

    Raises:
        UsageError: if there are none, or the selection cannot be read.
    """
    found = tuple(slot for slot in space if selects(selection, slot))
    if not found:
        example = space.slots[0]
        raise UsageError(
            f"expected a selection of tensors like {block_selection(example)}, {type_selection(example)} or "
            f"{tensor_selection(example)}, got {selection!r}, which selects none"
        )
    return found


def _matches(term: str, slot: Slot) -> bool:
    key, equals, value = term.partition("=")
    if not equals:
        return fnmatchcase(slot.name, term)
    if key == "block" and value.isdecimal():
        return slot.block == int(value)
    if key == "type":
        return matrix_type(slot) == value
    raise UsageError(f"expected block=NUMBER, type=NAME or a glob over tensor names, got {term!r}")
