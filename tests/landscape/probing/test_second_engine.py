"""A second engine counts what it is asked for and leaves the work to another; a request names it, no file changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from torch import nn

from landscape import PRESETS, RadiusRequest, SurveyRequest, measure_radius, probe
from landscape.positions.atlas import Atlas
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, ProbeResult
from landscape.session import session
from quant.space import WeightSpace

SMALL = replace(PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=1, seq_len=32, alphas=2)


class CountingEngine:
    """Counts the probes by kind of position, and delegates their evaluation."""

    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, model: nn.Module, space: WeightSpace, atlas: Atlas, batch: int) -> None:
        self.inner = InlineEngine(model, space, atlas, batch)

    def evaluate(self, plan: ProbePlan) -> Generator[ProbeResult, None, None]:
        for result in self.inner.evaluate(plan):
            self.counts[result.probe.position.partition("/")[0]] += 1
            yield result


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    monkeypatch.setitem(session.ENGINES, "counting", lambda request, warn: nullcontext(CountingEngine))
    CountingEngine.counts = Counter()
    return CountingEngine.counts


def test_a_survey_by_the_second_engine_is_the_same_to_the_bit(tmp_path: Path, counts: Counter[str]) -> None:
    request = SurveyRequest(bits=(2,), methods=("rtn",), directions=2, preset=SMALL, store=tmp_path / "a")
    counted = probe(replace(request, engine="counting"))
    assert sum(counts.values()) == counted.run.probes.evaluated > 0
    assert set(counts) == {"w", "ray", "point", "segment"}
    inline = probe(replace(request, store=tmp_path / "b"))
    assert [point.nll for point in counted.points] == [point.nll for point in inline.points]
    assert counted.basin.radius == inline.basin.radius


def test_any_job_takes_the_engine_of_its_request(tmp_path: Path, counts: Counter[str]) -> None:
    result = measure_radius(RadiusRequest(seq_len=32, precision=0.3, store=tmp_path, engine="counting"))
    assert sum(counts.values()) == result.run.probes.evaluated > 0
