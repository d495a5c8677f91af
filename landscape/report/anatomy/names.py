"""Name tensors and groups of tensors in short."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.positions.fused_layers import FUSED, fused_group
from landscape.positions.selection import ALL_TENSORS

_PLACE = {name: place for joined in FUSED for place, name in enumerate(joined)}


def group_name(slots: str) -> str:
    """Write a selection in short: ``block 3``, ``mlp.down_proj``, ``3.mlp.down_proj``."""
    if slots == ALL_TENSORS:
        return "all tensors"
    kind, equals, value = slots.partition("=")
    if equals:
        return f"block {value}" if kind == "block" else value
    parts = slots.removesuffix(".weight").split(".")
    first = next((i for i, part in enumerate(parts) if part.isdecimal()), 0)
    return ".".join(parts[first:])


def members_name(group: Sequence[str]) -> str:
    """Name the tensors of a group: ``3.self_attn.q_proj, k_proj, v_proj``, or a layer's experts by their module."""
    module = fused_group(group[0])
    if module.endswith(".experts") and len(group) > 1:
        return f"{group_name(module)} ({len(group)} tensors)"
    names = sorted(map(group_name, group), key=lambda name: _PLACE.get(_leaf(name), 0))
    return ", ".join([names[0], *map(_leaf, names[1:])])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
