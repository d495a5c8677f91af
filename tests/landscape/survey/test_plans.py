"""Check which segments a survey draws."""

from pathlib import Path

from landscape.session.point_specs import ExternalSpec, point_specs
from landscape.survey.plans import segment_alphas, segment_ends


def test_segments_join_w_with_each_point_and_the_points_of_a_scheme():
    points = point_specs(("rtn", "gptq", "qaft"), (4, 2), ("exact",))
    pairs = [(a.name if a else "w", b.name) for a, b in segment_ends(points)]
    assert len(pairs) == len(set(pairs)) == 2 * 6
    assert ("rtn-int4-exact", "gptq-int2-exact") not in pairs
    assert {("w", "qaft-int2-exact"), ("gptq-int4-exact", "qaft-int4-exact")} <= set(pairs)
    more = [*point_specs(("gptq", "awq", "signround", "qaft", "qaft-lsq", "qaft-from-gptq"), (4,), ("exact",))]
    more += [ExternalSpec("a", Path("a")), ExternalSpec("b", Path("b"))]
    pairs = [(a.method if a else "w", b.method) for a, b in segment_ends(more)]
    assert [b for a, b in pairs if a == "w"] == [point.method for point in more]
    between = {frozenset(pair) for pair in pairs if pair[0] != "w"}
    assert between == {frozenset(pair) for pair in (
        ("gptq", "qaft"), ("gptq", "qaft-from-gptq"), ("qaft", "qaft-from-gptq")
    )}  # fmt: skip
    assert segment_alphas(3) == (-0.1, 0.0, 0.5, 1.0, 1.1)
