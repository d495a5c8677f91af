"""Say what a plan of bits is, what it costs, and why some tensors share a bit width."""

from __future__ import annotations

from collections.abc import Iterator

from landscape.anatomy.bit_plan import BitPlan
from landscape.estimators.location import WithinLimit, limit_word
from landscape.formatting import nats, number, rise_text

WHY_FUSED = (
    "Tensors that serving engines load as one (q, k, v; gate, up; a layer's experts) share a bit width; --no-fused "
    "gives each its own, for engines that keep them apart, such as llama.cpp."
)
_KEPT: dict[WithinLimit, str] = {
    "kept": "the limit is kept",
    "inconclusive": "inconclusive, its interval reaches across the limit",
    "degraded": "the limit is not kept",
}


def plan_goal(plan: BitPlan) -> str:
    """Say what the plan was made for."""
    limit = f"{plan.limit.text} ({nats(plan.limit.nats)} nats)"
    if plan.size is None:
        return f"Mixed precision under {limit}"
    return f"Mixed precision in {plan.size.text}, judged by {limit}"


def joins(plan: BitPlan) -> bool:
    """Return whether tensors of the plan share a bit width because engines load them as one."""
    return any(len(group) > 1 for group in plan.groups)


def plan_sentences(plan: BitPlan) -> Iterator[str]:
    """Report the plan, why tensors share a bit width, and whether its prediction held."""
    limit = f"{plan.limit.text} ({nats(plan.limit.nats)} nats)"
    takes = f"{number(plan.mean_bits, 3)} bits per weight ({plan.bytes / plan.float_bytes:.0%} of the 16-bit size)"
    if plan.size is None:
        yield f"Mixed precision: {takes} keep the predicted ΔL under {limit}."
    else:
        yield (
            f"Mixed precision in {plan.size.text}: {takes}, with the least predicted ΔL of that size, "
            f"{nats(plan.predicted, True)}. The limit {limit} judges it below, and did not choose it."
        )
    if joins(plan):
        yield WHY_FUSED
    for split, check in plan.checks.items():
        yield (
            f"Measured on {split}: ΔL = {rise_text(check.whole)} against a sum of {rise_text(check.sum)} of the "
            f"tensors one at a time: {_KEPT[limit_word(check.whole, plan.limit.nats)]}."
        )
