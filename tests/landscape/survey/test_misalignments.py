"""Check M of a grid by hand, from the sums of each window."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.estimators.intervals import paired_difference
from landscape.positions.position import CENTER
from landscape.probing.losses import Probes
from landscape.probing.plan import Probe, ProbeResult, identified
from landscape.session.point_specs import AnySpec, FreeSpec, point_specs
from landscape.survey.analysis import misalignments
from tests import tiny

TOKENS = 11
GPTQ, QAFT = point_specs(("gptq", "qaft"), (2,), ("exact",))
RTN = point_specs(("rtn",), (2,), ("exact",))[0]
CONTROL = FreeSpec("w_ft", (4, 2))
TOTALS = {
    CENTER: [20.0, 21.0, 22.5], "rtn": [50.0, 52.0, 57.0], "gptq": [40.0, 41.5, 45.0], "qaft": [26.0, 27.5, 29.0],
    "w_ft": [18.0, 18.5, 20.0],
}  # fmt: skip
"""NLL sums of each window."""


@pytest.fixture(scope="module")
def probes() -> Probes:
    windows = identified(tiny.windows(3))
    made = (
        ProbeResult(Probe(label, window.identity), total, TOKENS)
        for label, totals in TOTALS.items()
        for window, total in zip(windows, totals, strict=True)
    )
    return Probes({result.probe: result for result in made}, {"validation": windows})


def labels(*specs: AnySpec) -> dict[AnySpec, str]:
    return {spec: spec.method for spec in specs}


def test_m_is_the_gain_of_qaft_over_gptq_net_of_plain_fine_tuning(probes: Probes) -> None:
    (found,) = misalignments(probes, labels(RTN, GPTQ, QAFT, CONTROL))
    assert (found.grid, found.control) == ("int2-exact", "w_ft-int4-int2")
    w, gptq, qaft, control = (np.array(TOTALS[label]) for label in (CENTER, "gptq", "qaft", "w_ft"))
    net, raw = found.net["validation"], found.raw["validation"]
    assert net.value == pytest.approx(((gptq - w) - (qaft - control)).sum() / (3 * TOKENS))
    assert raw.value == pytest.approx((gptq - qaft).sum() / (3 * TOKENS))
    tokens = np.full(3, TOKENS)
    assert net == paired_difference(gptq + control, w + qaft, tokens)
    assert net.low < net.value < net.high


def test_no_m_without_its_control_at_the_width_or_without_one_of_the_two(probes: Probes) -> None:
    assert misalignments(probes, labels(GPTQ, QAFT)) == ()
    assert misalignments(probes, labels(GPTQ, QAFT, FreeSpec("w_ft", (4,)))) == ()
    assert misalignments(probes, labels(RTN, QAFT, CONTROL)) == ()
