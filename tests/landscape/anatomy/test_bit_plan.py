import re
from collections.abc import Callable, Mapping

import pytest
import torch

from landscape.anatomy.bit_plan import BitPlan, PlanGoal, check_size, check_windows, plan_bits
from landscape.anatomy.size_limit import SizeLimit
from landscape.estimators.loss_limit import Limit
from landscape.probing.losses import Probes
from landscape.probing.plan import ProbePlan, identified
from quant.errors import UsageError
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.size import matrix_bytes
from quant.space import Slot, WeightSpace
from tests import tiny
from tests.landscape.additive import Additive

MESSAGE = "expected validation windows of at least two articles for a plan of bits, got "
WIDTHS = (8, 4, 2)
JOINED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@pytest.mark.parametrize(
    ("count", "articles", "got"),
    [(1, None, "1 window,"), (1, [3], "1 window,"), (3, [3, 3, 3], "3 windows of one,")],
)
def test_windows_that_tell_no_noise_make_no_plan(count: int, articles: list[int] | None, got: str) -> None:
    windows = identified(tiny.windows(count), None if articles is None else torch.tensor(articles))
    with pytest.raises(UsageError, match=f"{MESSAGE}{got} .*; use more --windows"):
        check_windows(windows)


@pytest.mark.parametrize("articles", [None, [3, 4]])
def test_two_articles_do_and_so_do_two_windows_whose_articles_are_not_known(articles: list[int] | None) -> None:
    check_windows(identified(tiny.windows(2), None if articles is None else torch.tensor(articles)))


def test_nothing_is_evaluated_for_a_plan_that_cannot_be() -> None:
    house = Additive({})
    windows = {"validation": identified(tiny.windows(1)), "test": identified(tiny.windows(2))}

    def run(*others: object) -> None:
        pytest.fail("a plan was run")

    with pytest.raises(UsageError, match=MESSAGE):
        plan_bits(run, house.space, house.center, {}, windows, PlanGoal(Limit.parse("ppl+5%")))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def house() -> Additive:
    def make(bits: int) -> Callable[..., WeightPoint]:
        return lambda space, center: rtn(space, center, QuantScheme(bits, "absmax", "group:8"))

    return Additive({f"p{bits}": make(bits) for bits in WIDTHS})


def planned(house: Additive, goal: PlanGoal) -> BitPlan:
    """Plan on the validation windows of the house, and measure on two others."""
    windows = {"validation": house.windows, "test": identified(tiny.windows(2, seed=1))}
    evaluated = Probes(house.known, windows)

    def run(plan: ProbePlan, more: Mapping[str, WeightPoint]) -> Probes:
        house.run(plan, more)
        return evaluated

    return plan_bits(run, house.space, house.center, house.points, windows, goal)


@pytest.mark.parametrize("size", ["4bpw", "6bpw", "9.25bpw"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_plan_for_a_size_keeps_it_and_loses_least_by_brute_force(house: Additive, size: str, fused: bool) -> None:
    goal = PlanGoal(Limit.parse("nll+0.001"), SizeLimit.parse(size), fused)
    plan = planned(house, goal)
    assert 8 * plan.bytes <= goal.size.bits_per_weight * house.space.dimension  # type: ignore[union-attr]
    assert plan.bytes == sum(matrix_bytes(slot, scheme_of(plan.bits[slot.name])) for slot in house.space)
    assert (plan.size, plan.fused, plan.method) == (goal.size, fused, "rtn")
    # the windows of this house differ by a constant alone, so that no margin is added to what was measured
    costs = {
        bits: {s.name: house.stiffness[s.name] * float((p.tensor(s) - house.center.tensor(s)).square().sum())
               for s in house.space}
        for bits, p in zip(WIDTHS, house.points.values(), strict=True)
    }  # fmt: skip
    groups = [[s for s in house.space if s.name in group] for group in plan.groups]
    front = {0: 0.0}  # bytes → least loss, in another order of work than the code's
    for group in sorted(groups, key=lambda group: group[-1].name):
        step: dict[int, float] = {}
        for taken, loss in front.items():
            for bits in (*WIDTHS, 16):
                more = sum(matrix_bytes(s, scheme_of(bits)) for s in group)
                rise = loss + (0.0 if bits == 16 else sum(costs[bits][s.name] for s in group))
                if taken + more not in step or rise < step[taken + more]:
                    step[taken + more] = rise
        front = step
    best = min(loss for taken, loss in front.items() if 8 * taken <= float(size[:-3]) * house.space.dimension)
    assert plan.predicted == pytest.approx(best, rel=1e-4)
    for check in plan.checks.values():
        assert check.whole.value == pytest.approx(plan.predicted, rel=1e-3)
        assert check.sum.value == pytest.approx(check.whole.value, rel=1e-3)


def test_fused_matrices_have_one_width_where_they_would_have_several(house: Additive) -> None:
    size = SizeLimit.parse("7bpw")
    together, apart = (planned(house, PlanGoal(Limit.parse("ppl+5%"), size, fused)) for fused in (True, False))
    groups = [
        [name for name in together.bits if block in name and name.split(".")[-2] in kind]
        for block in (".0.", ".1.")
        for kind in JOINED
    ]
    assert [len(group) for group in groups] == [3, 2, 3, 2]
    assert all(len({together.bits[name] for name in group}) == 1 for group in groups)
    assert any(len({apart.bits[name] for name in group}) > 1 for group in groups)
    assert apart.predicted < together.predicted
    assert all(len(group) == 1 for group in apart.groups)


def test_a_size_below_the_smallest_width_is_refused_with_what_that_takes(house: Additive) -> None:
    schemes = [scheme_of(bits) for bits in WIDTHS]
    with pytest.raises(UsageError, match=r"got 4bpw: int2-absmax-per-group8 throughout takes 4bpw") as refused:
        check_size(house.space, schemes, SizeLimit("4bpw", 3.9999))
    check_size(house.space, schemes, SizeLimit.parse("4bpw"))
    assert refused.value.args[0].endswith("use --size 4bpw or more, or offer fewer bits")


def test_the_size_that_a_refusal_names_is_kept() -> None:
    """Of matrices whose sizes have no round number of bits."""
    space = WeightSpace((Slot("a.weight", (7, 3), False, 0, 0), Slot("b.weight", (1, 2), False, 1, 21)))
    scheme = QuantScheme(3, "absmax")
    with pytest.raises(UsageError, match=r"takes (\S+)bpw;") as refused:
        check_size(space, [scheme], SizeLimit.parse("1bpw"))
    named = re.search(r"takes (\S+);", str(refused.value))
    assert named is not None
    check_size(space, [scheme], SizeLimit.parse(named[1]))
    assert float(named[1].removesuffix("bpw")) == pytest.approx(8 * (10 + 3) / 23, abs=1e-4)


def scheme_of(bits: int) -> QuantScheme | None:
    return None if bits == 16 else QuantScheme(bits, "absmax", "group:8")
