"""Tidy a cache again and again, in a process of its own, while sessions use it: they lose nothing and do not fail."""

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from landscape import PRESETS, SurveyRequest, probe
from landscape.cache.cache_limits import CacheLimits
from landscape.cache.collect import collect
from landscape.positions.position import CENTER
from landscape.probing.plan import point_plan
from landscape.session.session import Session
from tests.landscape.stores import exit_codes, forked

ROUNDS = 3


def request(store: Path) -> SurveyRequest:
    few = {"train_windows": 2, "validation_windows": 2, "test_windows": 1, "seq_len": 16, "alphas": 3, "refinements": 0}
    small = replace(PRESETS["quick"], lambdas=4, **few)
    return SurveyRequest("opt-nano", bits=(2,), methods=("rtn",), directions=2, preset=small, store=store)


def tidy(root: Path, stop: Path, stores: bool) -> None:
    """Remove all that may go, without the hour that would hide what this looks for."""
    while not stop.exists():
        done = collect(root, CacheLimits(older_than=-60.0, stores=stores, spared=-60.0))
        assert done.failed == ()


def use(root: Path) -> None:
    """Open sessions one after the other; what each commits and makes must be there as long as it is open."""
    asked = request(root)
    for _ in range(ROUNDS):
        with Session.open(asked) as session:
            session.evaluate(point_plan([CENTER], session.subject.all_windows))
            (spec,) = asked.specs
            session.point(spec)
            for _ in range(3):
                assert session.runner.known.keys() <= session.store.probes().keys()
                assert session.maker.find(spec) is not None


@pytest.fixture
def tidied(tmp_path):
    """Start tidying a folder; stop it at the end, and see that it did not fail."""
    children, stop = [], tmp_path / "stop"

    def start(root: Path, stores: bool) -> None:
        root.mkdir()
        children.append(forked(lambda: tidy(root, stop, stores)))

    yield start
    stop.touch()
    assert exit_codes(children) == [0] * len(children)


@pytest.mark.long
def test_sessions_lose_neither_probes_nor_points(tidied, tmp_path):
    root = tmp_path / "cache"
    tidied(root, stores=True)
    # Spawned, not forked: a session loads its model in threads, and torch's own do not outlive a fork.
    users = [multiprocessing.get_context("spawn").Process(target=use, args=(root,)) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert [user.exitcode for user in users] == [0, 0]


def test_surveys_are_those_of_an_undisturbed_cache_and_their_probes_stay(tidied, tmp_path):
    undisturbed = probe(request(tmp_path / "quiet"))
    root = tmp_path / "cache"
    tidied(root, stores=False)
    for evaluated in (undisturbed.run.probes.evaluated, 0, 0):
        found = probe(request(root))
        assert found.run.probes == replace(undisturbed.run.probes, evaluated=evaluated, cached=found.run.probes.cached)
        assert found.center == undisturbed.center
        assert [point.nll for point in found.points] == [point.nll for point in undisturbed.points]
        assert [ray.nll["validation"].tobytes() for ray in found.rays] == [
            ray.nll["validation"].tobytes() for ray in undisturbed.rays
        ]
    assert os.listdir(root / "in-use") in ([], ["removing"])
