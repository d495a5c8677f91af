"""Lay out how points were made: what happened to each matrix, and the learning curves of trained points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from landscape.session.training_record import Epoch
from landscape.survey.result import SurveyResult
from landscape.tables.column import L2, NATS, Row, column

SHARE = "share"


@dataclass(frozen=True, kw_only=True)
class LayerRow(Row):
    """One matrix of one point."""

    model: str = column("Name of the model.")
    point: str = column("Name of the point.")
    matrix: str = column("Name of the matrix in the model.")
    block: int | None = column("Index of its decoder block.")
    kind: str = column("Type of the matrix: its name without the block.")
    weights: int = column("Number of its weights.")
    norm: float = column("‖W‖, the norm of the matrix.", L2)
    distance: float = column("‖ΔW‖, the norm of its change.", L2)
    zeros: float | None = column("Share of the codes that stand for 0; empty off the grid.", SHARE)
    clipped: float | None = column("Share of the weights of w outside of the range of the grid; empty off it.", SHARE)
    damping: float | None = column("Damping that GPTQ chose; empty for other methods.")


@dataclass(frozen=True, kw_only=True)
class LayerErrorRow(Row):
    """One matrix of one point on one split: the error of its outputs."""

    model: str = column("Name of the model.")
    point: str = column("Name of the point.")
    matrix: str = column("Name of the matrix in the model.")
    block: int | None = column("Index of its decoder block.")
    kind: str = column("Type of the matrix: its name without the block.")
    split: str = column("Split of the inputs.")
    error: float = column("‖ΔW x‖²/n on full-precision inputs.", "squared error per token")


@dataclass(frozen=True, kw_only=True)
class DampingRow(Row):
    """One matrix of one point of GPTQ: the damping that was best."""

    model: str = column("Name of the model.")
    point: str = column("Name of the point.")
    matrix: str = column("Name of the matrix in the model.")
    block: int | None = column("Index of its decoder block.")
    kind: str = column("Type of the matrix: its name without the block.")
    damping: float = column("Damping of the Hessian, as a share of its mean diagonal.", SHARE)


@dataclass(frozen=True, kw_only=True)
class EpochRow(Row):
    """One epoch of one trained point at one learning rate; epoch 0 is the start, which all rates share."""

    model: str = column("Name of the model.")
    point: str = column("Name of the point.")
    rate: float | None = column("Initial learning rate; empty at epoch 0.")
    epoch: int = column("Epochs trained.")
    training_nll: float | None = column("Mean over the steps of the epoch, before each update; empty at epoch 0.", NATS)
    validation_nll: float = column("NLL on the validation windows; nan where it is not finite.", NATS)
    test_nll: float | None = column("NLL on the test windows; empty if not recorded.", NATS)
    chosen: bool = column("Whether this epoch is the one that was kept.")


@dataclass(frozen=True, kw_only=True)
class RateRow(Row):
    """One learning rate of one trained point: its best epoch, the untrained start left out."""

    model: str = column("Name of the model.")
    point: str = column("Name of the point.")
    rate: float = column("Initial learning rate.")
    validation_nll: float = column("Lowest validation NLL over its epochs; nan if none is finite.", NATS)
    epoch: int | None = column("Epoch of that lowest NLL; empty if none is finite.")
    chosen: bool = column("Whether the epoch that was kept is of this rate.")


def layer_rows(found: SurveyResult) -> Iterator[LayerRow]:
    """Yield a row for each matrix of each point that was looked at by layers."""
    for point in found.points:
        for layer in point.layers:
            yield LayerRow(
                model=found.subject.model,
                point=point.name,
                matrix=layer.name,
                block=layer.block,
                kind=layer.kind,
                weights=layer.weights,
                norm=layer.norm,
                distance=layer.distance,
                zeros=layer.zeros,
                clipped=layer.clipped,
                damping=layer.damping,
            )


def layer_error_rows(found: SurveyResult) -> Iterator[LayerErrorRow]:
    """Yield a row for each matrix and split whose output error was measured."""
    for point in found.points:
        for layer in point.layers:
            for split, error in layer.error.items():
                yield LayerErrorRow(
                    model=found.subject.model,
                    point=point.name,
                    matrix=layer.name,
                    block=layer.block,
                    kind=layer.kind,
                    split=split,
                    error=error,
                )


def damping_rows(found: SurveyResult) -> Iterator[DampingRow]:
    """Yield a row for each matrix that GPTQ chose a damping for."""
    for point in found.points:
        for layer in point.layers:
            if layer.damping is not None:
                yield DampingRow(
                    model=found.subject.model,
                    point=point.name,
                    matrix=layer.name,
                    block=layer.block,
                    kind=layer.kind,
                    damping=layer.damping,
                )


def epoch_rows(found: SurveyResult) -> Iterator[EpochRow]:
    """Yield a row for each recorded epoch of each trained point."""
    for point in found.points:
        if point.training is None:
            continue
        chosen = point.training.chosen
        for epoch in point.training.epochs:
            yield EpochRow(
                model=found.subject.model,
                point=point.name,
                rate=epoch.rate,
                epoch=epoch.epoch,
                training_nll=epoch.training_nll,
                validation_nll=_validation(epoch),
                test_nll=epoch.test_nll,
                chosen=(epoch.rate, epoch.epoch) == (chosen.rate, chosen.epoch),
            )


def rate_rows(found: SurveyResult) -> Iterator[RateRow]:
    """Yield a row for each learning rate of each trained point, in the order in which they were tried."""
    for point in found.points:
        if point.training is None:
            continue
        by_rate: dict[float, list[Epoch]] = {}
        for epoch in point.training.epochs:
            if epoch.rate is not None:
                by_rate.setdefault(epoch.rate, []).append(epoch)
        for rate, epochs in by_rate.items():
            finite = [epoch for epoch in epochs if math.isfinite(_validation(epoch))]
            best = min(finite, key=_validation, default=None)
            yield RateRow(
                model=found.subject.model,
                point=point.name,
                rate=rate,
                validation_nll=math.nan if best is None else _validation(best),
                epoch=best.epoch if best else None,
                chosen=rate == point.training.chosen.rate,
            )


def _validation(epoch: Epoch) -> float:
    """Return the validation NLL; a record holds None where it is not finite."""
    return math.nan if epoch.validation_nll is None else epoch.validation_nll
