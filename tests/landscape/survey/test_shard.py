"""Shards of a survey take each piece of its work once, and nothing that follows from their order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from landscape import PRESETS, ShardResult, SurveyRequest, WorkShard, probe, probe_shard
from landscape.probing.plan import Probe, ProbeResult
from landscape.probing.store import Store
from landscape.session.progress import Silent
from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import UsageError

SMALL = replace(
    PRESETS["quick"], train_windows=1, validation_windows=2, test_windows=1, seq_len=32, lambdas=4, alphas=3,
    refinements=1, calibration_windows=2,
)  # fmt: skip
REQUEST = SurveyRequest(bits=(2,), methods=("rtn", "gptq"), directions=3, preset=SMALL)


def losses(store: Path) -> dict[Probe, ProbeResult]:
    return Store(store, load_checkpoint("opt-nano").identity, "float32").probes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[Probe, ProbeResult]:
    store = tmp_path_factory.mktemp("whole")
    probe(replace(REQUEST, store=store))
    return losses(store)


def shard(store: Path, index: int, count: int, progress: Silent | None = None) -> ShardResult:
    return probe_shard(replace(REQUEST, store=store, shard=WorkShard(index, count)), progress)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_shards_in_any_order_leave_little_and_change_no_bit(
    order: tuple[int, ...], whole: dict[Probe, ProbeResult], tmp_path: Path
) -> None:
    rays: list[set[str]] = []
    made: list[str] = []
    for index in order:
        before = losses(tmp_path).keys()
        done = shard(tmp_path, index, 2)
        new = losses(tmp_path).keys() - before
        assert done.run.probes.evaluated == len(new)
        assert all(check.passed is not False for check in done.run.health)
        assert [check.passed for check in done.run.health[:2]] == [True, True]  # the checks of w are made
        pilot_aside = {p.position for p in new if p.position in {q.position for q in whole}}
        rays.append({p.split("index=")[1].split("/")[0] for p in pilot_aside if p.startswith("ray/")} - {"0"})
        made += done.points
    assert sorted(made) == ["gptq-int2-exact", "rtn-int2-exact"] or made == ["gptq-int2-exact"]  # its start is RTN
    assert rays == [{"2"} if index == 1 else {"1"} for index in order]  # direction 0 is the pilot's too
    found = losses(tmp_path)
    assert all(whole[key] == value for key, value in found.items() if key in whole)
    left = probe(replace(REQUEST, store=tmp_path))
    assert left.run.probes.evaluated == len(whole) - len(found) <= 0.3 * len(whole)
    assert losses(tmp_path) == whole


def test_a_shard_again_evaluates_nothing_unless_others_made_points(tmp_path: Path) -> None:
    shard(tmp_path, 1, 2)
    again = shard(tmp_path, 1, 2)
    assert (again.run.probes.evaluated, again.points) == (0, ())
    shard(tmp_path, 2, 2)
    third = shard(tmp_path, 1, 2)
    assert third.run.probes.evaluated < 30


def test_more_shards_than_work_is_no_error(tmp_path: Path) -> None:
    done = shard(tmp_path, 99, 99)
    assert done.points == ()
    assert done.run.probes.evaluated == done.run.probes.total > 0  # the pilot


def test_the_functions_refuse_the_request_of_the_other() -> None:
    with pytest.raises(UsageError, match="expected a whole survey in probe, got shard 1/2, which has no result"):
        probe(replace(REQUEST, shard=WorkShard(1, 2)))
    with pytest.raises(UsageError, match=r"expected a shard such as WorkShard\(1, 8\) in probe_shard, got none"):
        probe_shard(REQUEST)
