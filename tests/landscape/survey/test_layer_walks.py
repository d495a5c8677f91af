"""Check walks on mixtures of experts, some of which see no token, and what walks are forecast to take."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from landscape.probing.store import Store
from landscape.session.progress import Silent
from landscape.session.subject import Calibration
from landscape.survey.layer_walks import LayerWalks
from quant.center import Center
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests.families import FAMILIES, windows

SAME = torch.full((1, 8), 5)  # a token that sees itself only: all take the same two experts of four
MIXED = windows(3, length=40)


class Working(Silent):
    work = 0.0

    def advance(self, work: float) -> None:
        self.work += work


class Bench:
    """The parts of a session that walks use, around a tiny mixture."""

    def __init__(self, root: Path, train: Tensor, test: Tensor) -> None:
        model = FAMILIES["mixtral"].build()
        space = WeightSpace.of(model)
        self.center = Center.of(model, space)
        calibration = Calibration(train, train, test[:0], test)
        self.subject = SimpleNamespace(
            model=model, space=space, center=self.center, calibration=calibration, windows={"train": ()}
        )
        self.store = Store(root, "ab" * 32, "float32")
        self.progress, self.stages = Working(), list[str]()
        self.stage = self.stages.append
        self.directions, self.runner = SimpleNamespace(release=lambda: None), SimpleNamespace(provenance={"threads": 1})

    @property
    def walks(self) -> LayerWalks:
        session: Any = self
        return LayerWalks(session)

    def point(self, bits: int) -> Any:
        return rtn(self.subject.space, self.center, QuantScheme(bits, "absmax"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, SAME, MIXED)


def test_an_expert_to_which_no_token_was_routed_has_no_error_and_is_not_measured_again(bench: Bench) -> None:
    walks, points = bench.walks, {"point/a": bench.point(3), "point/b": bench.point(2)}
    walks.measure(points)
    experts = [slot.name for slot in bench.subject.space if slot.expert]
    found = walks.errors("point/a")
    assert sum("train" not in found[name] for name in experts) == len(experts) // 2  # two of four
    assert all("test" in by_split for by_split in found.values())
    assert all(math.isfinite(error) for by_split in found.values() for error in by_split.values())
    assert bench.stages == [f"measuring layer-wise errors on the {split} windows" for split in ("train", "test")]
    again = bench.walks
    again.measure(points)
    assert len(bench.stages) == 2
    assert again.errors("point/a") == found
    assert again.errors("point/b") != found


def test_walks_are_forecast_until_they_are_made_and_their_progress_adds_up(bench: Bench) -> None:
    labels, slots = ["point/a", "point/b", "point/a"], len(bench.subject.space.slots)
    before = bench.walks.ahead(labels, new=1)
    assert before.windows == 3
    assert before.rows == 2 * 3 * slots  # two splits, two points made and one to make
    per_point = sum(2 * s.size * s.inputs for s in bench.subject.space) / bench.subject.space.dimension
    assert before.work == pytest.approx(2.0 * (1 + 3) + 3 * per_point * (1 / 8 + 1 / 40))
    made = bench.walks.ahead(labels, new=0)
    walks = bench.walks
    walks.measure({"point/a": bench.point(3), "point/b": bench.point(2)})
    assert bench.progress.work == pytest.approx(made.work)
    assert walks.ahead(labels, new=0).work == 0
    assert bench.walks.ahead(labels, new=0).windows == 0
