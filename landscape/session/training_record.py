"""Read the learning curve of a trained point from its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    """NLL on the test windows, which chose nothing; None if it was not recorded on these windows, or is not finite."""


@dataclass(frozen=True)
class TrainingRecord:
    """All epochs of a trained point, and the one that was kept."""

    epochs: tuple[Epoch, ...]
    """Epoch 0, then every epoch of every rate."""
    chosen: Epoch
    """The epoch of the lowest validation NLL."""

    @classmethod
    def of(cls, provenance: Mapping[str, Any], test: Mapping[str, Any]) -> TrainingRecord | None:
        """Read the record of a point; None if it was not trained.

        A stored point is used again whichever test windows it was trained beside, since they chose nothing. Where they
        are not those at hand, its test losses cannot be compared with any other and are left out.

        Args:
            provenance: Provenance of the point.
            test: Record of the test windows at hand, as ``quant.hashing.token_record`` makes it.
        """
        if "curve" not in provenance:
            return None
        same = provenance.get("watched") == test
        rows = [Epoch(**row) for row in (*provenance["curve"], provenance["chosen"])]
        *curve, chosen = rows if same else [replace(row, test_nll=None) for row in rows]
        return cls(tuple(curve), chosen)
