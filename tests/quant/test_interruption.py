"""An interruption is looked at again where its exception got lost, and waits where results are written."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from quant import interruption
from quant.interruption import Interrupted, shielded
from tests.interrupted import forgotten


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with forgotten():
        yield


def test_a_noted_signal_ends_the_next_step() -> None:
    interruption.check()
    interruption.note(signal.SIGTERM)
    interruption.note(signal.SIGINT)  # the first one counts
    with pytest.raises(Interrupted, match="SIGTERM"):
        interruption.check()


def test_it_waits_until_results_are_written() -> None:
    steps = []

    def write() -> None:
        with shielded(), shielded():
            interruption.note(signal.SIGINT)
            interruption.check()
            steps.append("written")

    with pytest.raises(Interrupted):
        write()
    assert steps == ["written"]
    assert not interruption.is_shielded()


def test_the_way_out_is_not_cut_short() -> None:
    interruption.note(signal.SIGINT)
    with shielded():
        pass


def test_a_rescue_ends_with_its_block() -> None:
    kept: list[int] = []
    with interruption.rescued_by(lambda: kept.append(1)):
        interruption.rescue()
    interruption.rescue()
    assert kept == [1]
