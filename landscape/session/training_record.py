"""Read the learning curve of a trained point from its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """Losses after one epoch of training at one learning rate, in nats per token."""

    rate: float | None
    """Initial learning rate; None at epoch 0, the untrained start, which all rates share."""
    epoch: int
    """Epochs trained."""
    validation_nll: float | None
    """NLL on the validation windows, which chose the epoch; None where it is not finite."""
    training_nll: float | None = None
    """Mean over the steps of this epoch, each before its update; None at epoch 0."""
    test_nll: float | None = None
    """NLL on the test windows, which chose nothing; None if it was not recorded, or is not finite."""


@dataclass(frozen=True)
class TrainingRecord:
    """All epochs of a trained point, and the one that was kept."""

    epochs: tuple[Epoch, ...]
    """Epoch 0, then every epoch of every rate."""
    chosen: Epoch
    """The epoch of the lowest validation NLL."""

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> TrainingRecord | None:
        """Read the record of a point; None if it was not trained."""
        if "curve" not in provenance:
            return None
        return cls(tuple(Epoch(**row) for row in provenance["curve"]), Epoch(**provenance["chosen"]))
