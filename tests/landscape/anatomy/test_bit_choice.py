import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.anatomy.bit_choice import Option, choose, choose_in_size, for_members, joint_options
from landscape.anatomy.bit_options import checked, mixed_point, options_plan, stored_bytes, tensor_options
from landscape.positions.position import CENTER, At, with_parts
from landscape.probing.plan import Probe, ProbePlan, ProbeResult
from quant.center import Center
from quant.errors import PointError, UsageError
from quant.grid import GridTensor
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace
from tests import tiny
from tests.landscape.additive import Additive

BITS = (8, 4, 2)

# Multiples of 1/64, whose sums are exact, so that a choice right on the limit is one for both
options = st.builds(
    Option, label=st.just("p"), bytes=st.integers(0, 40), rise=st.integers(-8, 64).map(lambda n: n / 64)
)
tensors = st.lists(st.lists(options, min_size=1, max_size=4), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(tensors, st.integers(0, 128).map(lambda n: n / 64))
def test_the_choice_is_the_best_of_all_there_are(rows, limit):
    named = {
        f"t{i}": tuple(Option(f"{i}/{j}", o.bytes, o.rise) for j, o in enumerate(row)) for i, row in enumerate(rows)
    }
    every = [(sum(o.bytes for o in picked), sum(max(o.rise, 0) for o in picked)) for picked in product(*named.values())]
    within = [(size, loss) for size, loss in every if loss <= limit]
    if not within:
        with pytest.raises(UsageError, match="the least is"):
            choose(named, limit)
        return
    found = choose(named, limit)
    assert (found.bytes, found.rise) == min(within)
    picked = [next(o for o in named[name] if o.label == label) for name, label in found.labels.items()]
    assert list(found.labels) == list(named)
    assert found.bytes == sum(o.bytes for o in picked)
    assert found.rise == sum(max(o.rise, 0) for o in picked)


def every(named, groups):
    """All choices that give the tensors of a group one place: sizes, losses, places by tensor."""
    for places in product(*(range(len(named[group[0]])) for group in groups)):
        at = {name: place for group, place in zip(groups, places, strict=True) for name in group}
        picked = [named[name][place] for name, place in at.items()]
        yield sum(o.bytes for o in picked), sum(max(o.rise, 0) for o in picked), at


@st.composite
def grouped(draw):
    """Tensors with options of the same labels, in groups of one to three, the first of which need not be neighbours."""
    widths = [f"p{i}" for i in range(draw(st.integers(1, 3)))]
    names = [f"t{i}" for i in range(draw(st.integers(1, 6)))]
    named = {name: tuple(replace(draw(options), label=width) for width in widths) for name in names}
    parts = {}
    for name in names:
        parts.setdefault(draw(st.integers(0, 3)), []).append(name)
    return named, tuple(map(tuple, parts.values()))


@settings(max_examples=300, deadline=None)
@given(grouped(), st.integers(0, 160), st.booleans())
def test_the_choice_in_a_size_has_the_least_loss_of_all_there_are(drawn, most, fused):
    named, groups = drawn
    groups = groups if fused else tuple((name,) for name in named)
    joint = joint_options(named, groups)
    within = [(loss, size) for size, loss, _ in every(named, groups) if size <= most]
    if not within:
        least = min(size for size, _, _ in every(named, groups))
        with pytest.raises(UsageError, match=f"got {most} bytes; the least .* is {least}:"):
            choose_in_size(joint, most)
        return
    found = for_members(choose_in_size(joint, most), groups)
    assert (found.rise, found.bytes) == min(within)
    assert set(found.labels) == set(named)
    picked = [next(o for o in named[name] if o.label == label) for name, label in found.labels.items()]
    assert (sum(max(o.rise, 0) for o in picked), sum(o.bytes for o in picked)) == (found.rise, found.bytes)
    for group in groups:
        assert len({found.labels[name] for name in group}) == 1


@settings(max_examples=200, deadline=None)
@given(grouped(), st.integers(0, 160).map(lambda n: n / 64))
def test_the_choice_under_a_limit_is_the_best_of_those_with_one_width_a_group(drawn, limit):
    named, groups = drawn
    within = [(size, loss) for size, loss, _ in every(named, groups) if loss <= limit]
    if within:
        found = for_members(choose(joint_options(named, groups), limit), groups)
        assert (found.bytes, found.rise) == min(within)


def test_a_tensor_that_gains_makes_up_for_no_other_of_its_group():
    named = {"a": (Option("p", 1, -0.5), Option("w", 2, 0.0)), "b": (Option("p", 1, 0.5), Option("w", 2, 0.0))}
    assert joint_options(named, [("a", "b")]) == {"a": (Option("p", 2, 0.5), Option("w", 4, 0.0))}


def test_no_size_takes_an_option_that_overflows():
    named = {"t": (Option("small", 1, math.inf), Option("large", 9, 0.5))}
    assert choose_in_size(named, 9).labels == {"t": "large"}
    with pytest.raises(UsageError, match="got 8 bytes; the least whose losses are finite is 9:"):
        choose_in_size(named, 8)


def test_an_option_that_overflows_is_never_taken_and_an_endless_limit_takes_the_smallest():
    row = (Option("small", 1, math.inf), Option("large", 9, 0.5))
    assert choose({"t": row}, 1.0).labels == {"t": "large"}
    assert choose({"t": (Option("small", 1, 5.0), *row[1:])}, math.inf).labels == {"t": "small"}


def test_the_choice_for_many_tensors_is_as_good_as_the_linear_relaxation_allows():
    sizes = [110592, 331776, 884736] * 70  # SmolLM2's shapes
    rows = {
        f"t{i}": tuple(Option(str(b), size * b // 8, (i % 7 + 1) * 4.0**-b) for b in (8, 6, 5, 4, 3, 2))
        for i, size in enumerate(sizes)
    }
    found = choose(rows, 1.0)
    # No choice within the limit can lie below the relaxation in which tensors may be split between bit widths.
    assert _relaxed(rows, 1.0) <= found.bytes <= _relaxed(rows, 1.0) + 6 * max(sizes) // 8
    assert found.rise <= 1.0


def _relaxed(rows, limit):
    """Least bytes of the linear relaxation, by its dual: bytes ≥ max over μ of Σ min (bytes + μ·rise) − μ·limit."""
    return max(
        sum(min(o.bytes + mu * o.rise for o in row) for row in rows.values()) - mu * limit
        for mu in (2.0**k for k in range(10, 40))
    )


@pytest.fixture(scope="module")
def landscape():
    def make(bits):
        return lambda space, center: rtn(space, center, QuantScheme(bits))

    found = Additive({f"p{bits}": make(bits) for bits in BITS})
    found.run(options_plan(found.space, found.points, found.windows))
    return found


def test_a_plan_is_measured_to_cost_what_was_predicted_where_costs_add(landscape):
    space, points = landscape.space, landscape.points
    offered = tensor_options(landscape.probes, "v", space, points)
    all_low = sum(min(o.bytes for o in row) for row in offered.values())
    limit = 0.3 * sum(row[2].rise for row in offered.values())
    choice = choose(offered, limit)
    assert all_low < choice.bytes < sum(row[0].bytes for row in offered.values())
    mixed = mixed_point(choice, points, landscape.center)
    landscape.run(ProbePlan.of([At("mixed")], landscape.windows), {"mixed": mixed})
    result = checked(landscape.probes, "v", space, choice, "mixed")
    assert result.whole.value == pytest.approx(landscape.rise(mixed), rel=1e-5)
    assert result.whole.value == pytest.approx(choice.rise, rel=1e-4)
    assert result.sum.value == pytest.approx(choice.rise, rel=1e-4)
    assert result.whole.value <= limit * (1 + 1e-4)


def test_a_tight_limit_leaves_tensors_as_they_are(landscape):
    choice = choose(tensor_options(landscape.probes, "v", landscape.space, landscape.points), 0.0)
    assert set(choice.labels.values()) == {CENTER}
    assert choice.bytes == 2 * landscape.space.dimension
    kept = mixed_point(choice, landscape.points, landscape.center)
    assert all(torch.equal(kept.tensor(slot), landscape.center.tensor(slot)) for slot in landscape.space)
    landscape.run(ProbePlan.of([At("kept")], landscape.windows), {"kept": kept})
    assert checked(landscape.probes, "v", landscape.space, choice, "kept").sum.value == 0


def test_a_noisy_cost_counts_with_its_standard_error(landscape):
    slot, known = landscape.space.slots[0], landscape.known
    position = str(with_parts("p4", slots=slot.name))
    kept = dict(known)
    noise = (-0.5, 0.1, 0.7)
    for window, more in zip(landscape.windows, noise, strict=True):
        probe = Probe(position, window.identity)
        known[probe] = ProbeResult(probe, kept[probe].total + more * 11, 11)
    found = {
        margin: tensor_options(landscape.probes, "v", landscape.space, landscape.points, margin)[slot.name][1].rise
        for margin in (0.0, 1.0, 2.0)
    }
    known.update(kept)
    mean, se = sum(noise) / 3, math.sqrt(sum((x - 0.1) ** 2 for x in noise) / 2 / 3)
    clean = tensor_options(landscape.probes, "v", landscape.space, landscape.points, 0.0)[slot.name][1].rise
    for margin, value in found.items():
        assert value == pytest.approx(clean + mean + margin * se, abs=1e-9)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (QuantScheme(3), lambda rows, columns: math.ceil((rows * columns * 3 + 16) / 8)),
        (QuantScheme(4, granularity="channel"), lambda rows, columns: rows * columns // 2 + 2 * rows),
        (
            QuantScheme(4, "absmax", "group:8", symmetric=False),  # zero points of 4 bits
            lambda rows, columns: (rows * columns * 4 + (16 + 4) * rows * (columns // 8)) // 8,
        ),
        (QuantScheme.of_format("fp8"), lambda rows, columns: rows * columns + 2 * rows),
    ],
)
def test_bytes_are_those_of_codes_scales_and_zeros(scheme, expected):
    model = tiny.llama()
    space = WeightSpace.of(model)
    point = rtn(space, Center.of(model, space), scheme)
    for slot in space:
        assert stored_bytes(point, slot) == expected(*slot.shape)
    with pytest.raises(PointError, match="bit width"):
        stored_bytes(WeightPoint("x", None, dict(Center.of(model, space).weights)), space.slots[0])


def test_a_mixed_point_takes_each_tensor_from_its_own_point_when_it_is_asked_for(landscape):
    read = []

    class Counting(dict):
        def __getitem__(self, name):
            read.append(name)
            return super().__getitem__(name)

    points = {
        label: WeightPoint(point.method, point.scheme, Counting(point.parts))
        for label, point in landscape.points.items()
    }
    slots = landscape.space.slots
    labels = {slot.name: (*points, CENTER)[i % 4] for i, slot in enumerate(slots)}
    offered = {slot.name: (Option(labels[slot.name], 1, 0.0),) for slot in slots}
    mixed = mixed_point(choose(offered, 1.0), points, landscape.center)
    assert not read
    vectors = {**landscape.points, CENTER: landscape.center}
    for slot in slots:
        assert torch.equal(mixed.tensor(slot), vectors[labels[slot.name]].tensor(slot))
    assert len(read) == sum(label != CENTER for label in labels.values())
    assert isinstance(mixed.parts[slots[0].name], GridTensor)
    assert (mixed.name, mixed.scheme) == ("mixed", None)
    assert mixed.provenance["tensors"][slots[1].name] == "rtn-int4-exact"
    assert len({mixed.fingerprint(landscape.space), *(p.fingerprint(landscape.space) for p in points.values())}) == 4


def test_the_last_byte_of_a_matrix_may_be_part_full():
    slot = Slot("x.weight", (3, 5), False, 0, 0)
    space, center = WeightSpace((slot,)), Center({"x.weight": torch.linspace(-1, 1, 15).reshape(3, 5)})
    assert stored_bytes(rtn(space, center, QuantScheme(3)), slot) == 8  # 45 bits, and 16 of a scale
