"""Hand a plan of bits over to the tools that people ship with."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.advice.plan_recipes import MixedGrids, plan_recipes
from landscape.advice.recipe import Original, PostTraining, Recipe
from landscape.anatomy.result import AnatomyResult
from landscape.formatting import number

_WAYS: dict[str, PostTraining] = {"rtn": "rtn", "gptq": "gptq"}


@dataclass(frozen=True)
class HandOver:
    """The recipes of a plan, and what they are for."""

    words: str
    recipes: tuple[Recipe, ...]


def hand_over(found: AnatomyResult) -> HandOver | None:
    """Return the recipes of the plan; None without a plan, or where no tool has its method or nothing is quantized."""
    plan = found.plan
    if plan is None or plan.method not in _WAYS:
        return None
    schemes = {uniform.bits: uniform.scheme for uniform in plan.uniform if uniform.scheme is not None}
    grids = MixedGrids(Original.of(found.subject), _WAYS[plan.method], plan.bits, schemes, plan.mean_bits)
    recipes = plan_recipes(grids)
    words = f"The plan of {number(plan.mean_bits, 3)} bits per weight in the tools that people ship with:"
    return HandOver(words, recipes) if recipes else None
