"""Find pairs of matrices between which a positive scale can move without changing the model: v and o, up and down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.external.flow import Flow, powers_of_two
from quant.space import Slot


@dataclass(frozen=True)
class Pair:
    """Rows of one matrix whose scale can move to the inputs of another."""

    first: str
    """The module whose outputs are scaled."""
    second: str
    """The module whose inputs are scaled."""
    outputs: int
    """Number of outputs of the first one."""
    rows: slice
    """Rows that feed the second: all, or the last ones, where values are in a fused query, key and value."""
    of_input: Tensor
    """Index of the row that each input of the second reads, (in,); with grouped queries one row feeds several."""


def find_pairs(flow: Flow, slots: Mapping[str, Slot]) -> list[Pair]:
    """Return the pairs of a model, each matrix in one of them at most.

    A pair is guessed from the shapes and the order of calls, and tested for all blocks at once.

    Args:
        flow: The record of one forward pass.
        slots: The slots by the names of their modules.
    """
    found: list[Pair] = []
    used: set[tuple[str, str]] = set()
    for candidates in _kinds(flow, slots).values():
        free = [p for p in candidates if ("first", p.first) not in used and ("second", p.second) not in used]
        if free and _commutes(flow, slots, free):
            found += free
            used |= {key for p in free for key in (("first", p.first), ("second", p.second))}
    return found


def _kinds(flow: Flow, slots: Mapping[str, Slot]) -> dict[tuple[str, str, int], list[Pair]]:
    """Group candidates by their places in a block: the first reads a norm, the second, called later, reads none."""
    after_norm = {reader for readers in flow.readers.values() for reader in readers}
    calls = [name for name in flow.calls if name in slots]
    blocks: dict[int, list[str]] = {}
    for name in calls:
        blocks.setdefault(slots[name].block, []).append(name)
    kinds: dict[tuple[str, str, int], list[Pair]] = {}
    for block, names in blocks.items():
        for position, second in enumerate(names):
            for first in names[:position]:
                if first in after_norm and second not in after_norm:
                    for variant, pair in enumerate(_guesses(flow, slots, first, second)):
                        key = (_place(first, block), _place(second, block), variant)
                        kinds.setdefault(key, []).append(pair)
    return kinds


def _guesses(flow: Flow, slots: Mapping[str, Slot], first: str, second: str) -> Iterator[Pair]:
    outputs, inputs = _out(slots[first]), _in(slots[second])
    if outputs >= inputs:
        yield Pair(first, second, outputs, slice(outputs - inputs, outputs), torch.arange(inputs))
    elif inputs % outputs == 0:
        for width in _head_widths(flow):
            if outputs % width == 0:
                head, feature = torch.arange(inputs) // width, torch.arange(inputs) % width
                of_input = head // (inputs // outputs) * width + feature
                yield Pair(first, second, outputs, slice(0, outputs), of_input)


def _head_widths(flow: Flow) -> list[int]:
    config = flow.model.config.get_text_config()
    width, heads = getattr(config, "head_dim", None), getattr(config, "num_attention_heads", None)
    widths = [width] if isinstance(width, int) and width else []
    if isinstance(heads, int) and heads:
        widths.append(config.hidden_size // heads)
    return list(dict.fromkeys(widths))


def _commutes(flow: Flow, slots: Mapping[str, Slot], pairs: list[Pair]) -> bool:
    outputs, inputs = {}, {}
    for seed, pair in enumerate(pairs):
        weight = flow.model.get_parameter(slots[pair.first].name)
        factors = torch.ones(pair.outputs).to(weight)
        factors[pair.rows] = powers_of_two(len(factors[pair.rows]), seed, weight)
        outputs[pair.first], inputs[pair.second] = factors, 1 / factors[pair.rows][pair.of_input.to(factors.device)]
    return flow.moves(outputs, inputs)


def _place(name: str, block: int) -> str:
    return name.partition(f".{block}.")[2]


def _out(slot: Slot) -> int:
    return slot.shape[1 - slot.input_dim]


def _in(slot: Slot) -> int:
    return slot.shape[slot.input_dim]
