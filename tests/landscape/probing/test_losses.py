"""Test that losses are read from known results alone, and that only their absence is forgiven."""

import numpy as np
import pytest

from landscape.positions.position import CENTER
from landscape.probing.losses import Probes
from landscape.probing.plan import NotEvaluated, Probe, ProbeResult, identified, point_plan, require
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.survey.segments import AdaptiveSegments
from tests import tiny


@pytest.fixture
def windows():
    return identified(tiny.windows(2))


@pytest.fixture
def runner(tmp_path):
    return Runner(Store(tmp_path, "f" * 64, "float32"), {})


class Constant:
    def evaluate(self, plan):
        for index, probe in enumerate(plan.probes()):
            yield ProbeResult(probe, 22.0 + index, 11)


def test_a_result_is_required_by_its_probe(windows):
    probe = Probe(CENTER, windows[0].identity)
    result = ProbeResult(probe, 22.0, 11)
    assert require({probe: result}, probe) is result
    with pytest.raises(NotEvaluated, match="not yet; run its plan first"):
        require({}, probe)


def test_losses_are_read_window_by_window(runner, windows):
    runner.run(point_plan([CENTER, "p"], windows), Constant())
    probes = Probes(runner.known, {"v": windows})
    assert probes.totals(CENTER, "v").tolist() == [22.0, 23.0]
    assert probes.totals("p", "v").tolist() == [24.0, 25.0]
    assert probes.tokens("v").dtype == np.int64
    assert probes.nll("p", "v") == 49 / 22
    assert probes.rise("p", "v").value == pytest.approx(4 / 22)
    with pytest.raises(NotEvaluated):
        probes.totals("q", "v")


def test_a_rehearsal_forgives_what_is_not_evaluated_and_no_mistyped_key(runner, windows):
    probes = Probes(runner.known, {"v": windows})
    assert not runner.knows(lambda: probes.totals(CENTER, "v"))
    assert not runner.knows(lambda: runner.nll(CENTER, windows))
    with pytest.raises(KeyError, match="validaton") as error:
        runner.knows(lambda: probes.totals(CENTER, "validaton"))
    assert not isinstance(error.value, NotEvaluated)
    assert not runner.rehearsing  # however it ends
    runner.run(point_plan([CENTER], windows), Constant())
    assert runner.knows(lambda: probes.totals(CENTER, "v"))


def test_a_segment_waits_for_probes_and_for_no_mistyped_key(runner, windows):
    segments = AdaptiveSegments([(CENTER, "p")], [0.0, 0.5, 1.0], refinements=1)
    assert not segments.grow(Probes(runner.known, {"validation": windows}))
    with pytest.raises(KeyError, match="validation"):
        segments.grow(Probes(runner.known, {"validaton": windows}))
