"""Turn losses into perplexities, which papers report: PPL = exp(NLL), NLL in nats per token.

The perplexity is that of tokens: exp of the mean NLL over all scored tokens of windows of ``seq_len`` tokens, which is
the protocol of the GPTQ paper at 2,048 tokens. Perplexities of two tokenizers do not compare, and lm-evaluation-harness
reports another one, per word.
"""

from __future__ import annotations

import math

from landscape.estimators.intervals import Estimate


def perplexity(nll: float) -> float:
    """Return exp(NLL); infinite where the loss is, or is too large."""
    try:
        return math.exp(nll)
    except OverflowError:
        return math.inf


def perplexity_change(rise: Estimate) -> Estimate:
    """Estimate how much higher the perplexity of a point is than that of w, as a share: 0.05 is 5 % higher.

    It is exp(ΔL) − 1. As this grows with ΔL, the ends of its interval follow from those of ΔL, and the interval covers
    as often; it is not symmetric.

    Args:
        rise: ΔL, nats per token, with its interval over paired windows.
    """
    return Estimate(_change(rise.value), _change(rise.low), _change(rise.high))


def in_per_cent(change: Estimate) -> Estimate:
    """Return a share and its interval times 100."""
    return Estimate(100 * change.value, 100 * change.low, 100 * change.high)


def _change(nats: float) -> float:
    try:
        return math.expm1(nats)
    except OverflowError:
        return math.inf
