"""Expressions match the names that they were written for, and no others."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from landscape.advice.module_patterns import module_patterns

PARTS = st.sampled_from(["mlp", "mlp2", "q", "q_proj", "experts", "0", "1", "10", "a.b", "x+"])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map(".".join) | st.lists(
    st.sampled_from(["experts", "q"]), min_size=1, max_size=3
).map(lambda parts: ".".join(["m.0", *parts]))


@given(st.sets(NAMES, max_size=12), st.sets(NAMES, max_size=12))
def test_a_name_is_matched_once_and_another_never(names: set[str], others: set[str]) -> None:
    patterns = module_patterns(sorted(names))
    for name in names | others | {f"{name}.weight" for name in names} | {f"x.{name}" for name in names}:
        matched = [pattern for pattern in patterns if re.match(pattern, name)]
        assert len(matched) == (name in names), (name, patterns)


def test_what_names_share_is_written_once() -> None:
    layers = [f"model.layers.{i}.{inside}" for i in range(12) for inside in ("mlp.down", "attn.q", "attn.k")]
    blocks = "0|1|2|3|4|5|6|7|8|9|10|11"
    assert module_patterns(layers) == (rf"^model\.layers\.({blocks})\.(mlp\.down|attn\.(q|k))$",)
    experts = [f"m.layers.2.mlp.experts.{i}.{leaf}" for i in range(3) for leaf in ("up", "down")]
    assert module_patterns([*experts, "head"]) == (r"^m\.layers\.2\.mlp\.experts\.(0|1|2)\.(up|down)$", "^head$")
    assert module_patterns(["m.2.experts", "m.2.experts.1.up"]) == (r"^m\.2\.experts(\.1\.up)?$",)
    assert module_patterns([]) == ()
