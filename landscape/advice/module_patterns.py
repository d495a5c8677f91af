"""Write regular expressions that match some module names and no others, the shorter for what the names share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_BLOCK = re.compile(r"(?P<stack>.*?)\.(?P<block>\d+)\.(?P<inside>.+)")
STACKED = {"gate_up_proj": ("gate_proj", "up_proj")}
"""Matrices that tools and files keep apart where transformers stacks experts."""
_Tree = dict[str, "_Tree"]
"""Names by their first part; the empty part is the end of a name."""


def tool_modules(name: str) -> tuple[str, ...]:
    """Return the modules that a tool finds for a matrix: two for the halves of an expert's.

    Args:
        name: Name of the matrix in the weight space.
    """
    module = name.removesuffix(".weight")
    stem, dot, leaf = module.rpartition(".")
    if ".experts." in module and leaf in STACKED:
        return tuple(f"{stem}{dot}{half}" for half in STACKED[leaf])
    return (module,)


def module_patterns(names: Iterable[str]) -> tuple[str, ...]:
    r"""Return expressions that match these names from end to end: one for the modules that the same blocks have.

    Args:
        names: Names of modules, ``model.layers.3.mlp.down_proj``.

    Returns:
        ``^model\.layers\.(0|3)\.(mlp\.down_proj|self_attn\.(k_proj|q_proj))$`` and others, which share no name.
    """
    blocks: dict[tuple[str, str], list[str]] = {}
    alone: list[str] = []
    for name in names:
        found = _BLOCK.fullmatch(name)
        if found is None:
            alone.append(name)
        else:
            blocks.setdefault((found["stack"], found["inside"]), []).append(found["block"])
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (stack, inside), which in blocks.items():
        alike.setdefault((stack, tuple(sorted(which, key=int))), []).append(inside)
    within = (f"^{re.escape(stack)}\\.{_any(which)}\\.{_names(inside)}$" for (stack, which), inside in alike.items())
    return (*within, *(f"^{re.escape(name)}$" for name in alone))


def _names(names: Iterable[str]) -> str:
    """Match any of these names."""
    tree: _Tree = {}
    for name in names:
        place = tree
        for part in (*name.split("."), ""):
            place = place.setdefault(part, {})
    return _below(tree)


def _below(tree: Mapping[str, _Tree]) -> str:
    """Match any name in a tree; parts with the same names below them are written once."""
    alike: dict[str, list[str]] = {}
    for part, after in tree.items():
        alike.setdefault(_rest(after), []).append(re.escape(part))
    return _any([f"{_any(parts)}{rest}" for rest, parts in alike.items()])


def _rest(tree: Mapping[str, _Tree]) -> str:
    """Match what may follow a part: nothing where the name ends with it."""
    longer = {part: after for part, after in tree.items() if part}
    if not longer:
        return ""
    return f"(\\.{_below(longer)})?" if "" in tree else f"\\.{_below(longer)}"


def _any(parts: Iterable[str]) -> str:
    """Match any of these expressions."""
    each = tuple(parts)
    return each[0] if len(each) == 1 else f"({'|'.join(each)})"
