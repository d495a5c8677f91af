from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.size_limit import SizeLimit
from quant.errors import UsageError


@pytest.mark.parametrize(("text", "bits"), [("4.25bpw", 4.25), ("4bpw", 4.0), (" .5BPW ", 0.5)])
def test_bits_per_weight_are_read(text: str, bits: float) -> None:
    assert SizeLimit.parse(text) == SizeLimit(text.strip(), bits)


@pytest.mark.parametrize("text", ["", "4.25", "3.2GB", "0bpw", "-1bpw", "4,25bpw", "1e1bpw", "bpw", "4 bpw", "infbpw"])
def test_another_size_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        SizeLimit.parse(text)
    assert str(refused.value).startswith("expected a size like 4.25bpw (bits per weight of the matrices")
    assert str(refused.value).endswith(f"got {text!r}")


@given(st.integers(1, 64_000), st.integers(1, 10**12) | st.integers(1, 10**8).map(lambda n: 8000 * n))
def test_the_bytes_are_those_of_the_decimal(thousandths: int, weights: int) -> None:
    size = SizeLimit.parse(f"{thousandths // 1000}.{thousandths % 1000:03d}bpw")
    assert size.most_bytes(weights) == thousandths * weights // 8000


def test_a_size_needs_bits_to_choose_from() -> None:
    size = SizeLimit.parse("4.25bpw")
    assert AnatomyRequest(plan_bits=(8, 3), size=size).fused
    with pytest.raises(UsageError, match=r"expected --plan-bits with --size, got --size 4\.25bpw alone"):
        AnatomyRequest(size=size)
