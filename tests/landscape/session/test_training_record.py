"""Check that the record of a training is read from real provenance, old and new."""

from __future__ import annotations

import json
import math

from landscape.session.training_record import Epoch, TrainingRecord
from quant.hashing import token_record
from quant.methods.options import TrainingOptions
from quant.methods.qaft import finetune
from quant.methods.training import EpochResult
from tests.quant.finetuning import OTHER, TRAIN, make, run

OPTIONS = TrainingOptions(rates=(1e-3, 1e30), epochs=2)


def stored(provenance: object) -> dict:
    """What a point file gives back: strict JSON."""
    return json.loads(json.dumps(provenance, allow_nan=False))


def test_every_epoch_of_every_rate_is_read_also_of_one_that_diverged() -> None:
    at = make()
    point = finetune(at.model, at.space, TRAIN, OTHER, OPTIONS, watched=TRAIN[:2])
    record = TrainingRecord.of(stored(point.provenance), token_record(TRAIN[:2]))
    assert record is not None
    assert [(row.rate, row.epoch) for row in record.epochs] == [(None, 0), (1e-3, 1), (1e-3, 2), (1e30, 1)]
    start, first, _, lost = record.epochs
    assert start.training_nll is None
    assert first.test_nll is not None
    assert (lost.validation_nll, lost.training_nll, lost.test_nll) == (None, None, None)
    assert record.chosen in record.epochs
    assert record.chosen.validation_nll == min(row.validation_nll for row in record.epochs[:3])


def test_a_row_that_is_not_finite_is_null_in_every_loss() -> None:
    row = EpochResult(1e-3, 2, math.nan, math.inf, math.nan).record()
    assert Epoch(**stored(row)) == Epoch(1e-3, 2, None, None, None)


def test_a_point_of_an_earlier_version_has_no_test_loss() -> None:
    at = make()
    provenance = stored(run(at, TrainingOptions(rates=(1e-3,), epochs=1)).provenance)
    for row in (*provenance["curve"], provenance["chosen"]):
        del row["test_nll"]
    record = TrainingRecord.of(provenance, token_record(TRAIN[:2]))
    assert record is not None
    assert [row.test_nll for row in record.epochs] == [None, None]


def test_a_point_that_was_not_trained_has_none() -> None:
    at = make()
    assert TrainingRecord.of(at.start.provenance, token_record(TRAIN[:2])) is None


def test_test_losses_of_other_windows_are_left_out() -> None:
    at = make()
    point = finetune(at.model, at.space, TRAIN, OTHER, TrainingOptions(rates=(1e-3,), epochs=1), watched=TRAIN[:2])
    for windows, known in ((TRAIN[:2], True), (TRAIN[:1], False), (TRAIN[1:3], False)):
        record = TrainingRecord.of(stored(point.provenance), token_record(windows))
        assert record is not None
        assert [row.test_nll is not None for row in (*record.epochs, record.chosen)] == [known] * 3
        assert record.epochs[1].validation_nll is not None
