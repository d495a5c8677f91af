"""Write the table of model families that README links: ``python -m tests.families.render``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.families import FAMILIES, Family

PAGE = Path(__file__).with_name("README.md")

_HEAD = """# Model families

"Supported" means "in this table". Each row is a tiny model made from transformers' own configuration and trained for a
moment. Each was checked against numbers computed in another way, by plain transformers or by hand:

- L(w) against the logits of a plain forward, in float64, to 1e-6 nats, also with the head on five tokens at a time, and
  the gradient of the loss against that of all logits at once;
- the matrices in w, and D, counted from the shapes of the parameters;
- RTN (int4, absmax) rounded by hand, in float64: the same loss to 1e-6 nats;
- GPTQ's Hessians against the inputs that hooks see in one whole forward, each to 1e-6 of its norm; those of an expert
  over all tokens that are routed to it;
- replaying the first blocks changes no bit of a loss. Blocks that leave more than their output for later ones are run
  again ("replay" says what they leave);
- windows of the corpus `self`: each token is the one its uniform number draws from a plain forward pass;
- a saved folder loads to the same loss to 1e-7 nats, and an export of the RTN point, codes of every matrix and expert
  included, loads in transformers to the same loss to 1e-6 nats;
- or, for a refused family, the error names the reason.

*In w* is the share of w among the parameters of two and more axes in the decoder blocks; *outside* is the rest of them.
Routers stay in full precision, as is usual; nothing else there is a matrix of a linear layer.

The tests are `FamilyChecks` in `checks.py`; `pytest tests/families -m "not slow"` runs the rows in bold. This page is
written by `python -m tests.families.render`.
"""
_COLUMNS = ("family", "what it brings", "in w", "outside", "replay", "checked")


def page() -> str:
    """Return the current page."""
    kinds = Counter(family.kind for family in FAMILIES.values())
    parts = [_HEAD]
    for kind, title in (("dense", "Dense"), ("mixture", "Mixtures of experts"), ("recurrent", "Recurrent, or in part")):
        rows = [_row(family) for family in FAMILIES.values() if family.kind == kind]
        lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS)), *map(_line, rows)]
        parts.append(f"\n## {title} ({kinds[kind]})\n\n" + "\n".join(lines) + "\n")
    return "".join(parts)


def _row(family: Family) -> list[str]:
    model = family.build()
    inside = family.dimension(model)
    everything = sum(parameter.numel() for _, parameter in family.block_parameters(model))
    name = f"`{family.name}`"
    return [
        name if family.slow else f"**{name}**",
        family.features,
        "–" if family.refusal else f"{100 * inside / everything:.1f} %",
        "–" if family.refusal else _outside(family),
        "–" if family.refusal else (family.between_blocks or "exact"),
        f"refused: {family.refusal}" if family.refusal else "all",
    ]


def _outside(family: Family) -> str:
    """Return the parameters outside w, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for glob, reason in family.outside.items():
        reasons.setdefault(reason, []).append(f"`{glob}`")
    return "; ".join(f"{', '.join(globs)}: {reason}" for reason, globs in reasons.items()) or "nothing"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
