import math

import pytest

from landscape.estimators.intervals import Estimate
from landscape.estimators.location import limit_word, loss_word
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
def test_other_text_is_refused_as_a_limit(text):
    with pytest.raises(UsageError, match="expected a limit like ppl"):
        Limit.parse(text)


@pytest.mark.parametrize(
    ("value", "low", "high", "word"),
    [
        (0.01, -0.02, 0.04, "kept"), (0.01, -0.03, 0.05, "kept"), (0.01, -0.04, 0.06, "inconclusive"),
        (0.06, 0.05, 0.07, "inconclusive"), (0.07, 0.04, 0.1, "inconclusive"), (0.07, 0.051, 0.1, "degraded"),
        (0.01, -math.inf, math.inf, "inconclusive"), (0.07, -math.inf, math.inf, "inconclusive"),
        (math.inf, -math.inf, math.inf, "degraded"), (math.nan, -math.inf, math.inf, "degraded"),
    ],
)  # fmt: skip
def test_a_limit_keeps_what_the_word_for_a_loss_calls_kept(value, low, high, word):
    limit, rise = Limit("nll+0.05", 0.05), Estimate(value, low, high)
    assert limit_word(rise, limit.nats) == word == loss_word(rise, u=0.1, limit=limit.nats)
    assert limit.keeps(rise) == (word == "kept")
