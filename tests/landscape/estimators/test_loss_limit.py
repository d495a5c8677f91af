import math

import pytest

from landscape.estimators.intervals import Estimate
from landscape.estimators.location import loss_word
from landscape.estimators.loss_limit import Limit
from quant.errors import UsageError


@pytest.mark.parametrize(
    ("text", "nats"),
    [
        ("ppl+5%", math.log(1.05)),
        ("ppl+100%", math.log(2)),
        ("PPL+0.5%", math.log(1.005)),
        (" nll+0.05 ", 0.05),
        ("nll+.2", 0.2),
        ("nll+1", 1.0),
    ],
)
def test_a_limit_is_a_rise_in_nats(text, nats):
    assert Limit.parse(text) == Limit(text.strip(), pytest.approx(nats, rel=1e-12))


@pytest.mark.parametrize(
    "text", ["", "5%", "ppl+5", "nll+5%", "ppl-5%", "nll+0", "ppl+0%", "nll+nan", "nll+1e9x", "ppl+5%%"]
)
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(UsageError, match="expected a limit like ppl"):
        Limit.parse(text)


@pytest.mark.parametrize(
    ("value", "high", "kept", "is_open"),
    [
        (0.01, 0.04, True, False), (0.01, 0.05, True, False), (0.01, 0.06, False, True), (0.05, 0.06, False, True),
        (0.06, 0.07, False, False), (0.01, math.inf, False, True), (math.inf, math.inf, False, False),
    ],
)  # fmt: skip
def test_a_limit_keeps_what_the_word_for_a_loss_calls_kept(value, high, kept, is_open):
    limit, rise = Limit("nll+0.05", 0.05), Estimate(value, 2 * value - high, high)
    assert limit.keeps(rise) == kept == (loss_word(rise, u=0.1, limit=limit.nats) == "kept")
    assert limit.leaves_open(rise) == is_open
