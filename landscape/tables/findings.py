"""Lay out what follows from a landscape: misalignments, the paper's claims, and the cells of a study that failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from landscape.claims.claim import Claim
from landscape.study.result import FailedCell
from landscape.survey.result import SurveyResult
from landscape.tables.column import NATS, Row, column, estimate_cells, high_end, low_end


@dataclass(frozen=True, kw_only=True)
class MisalignmentRow(Row):
    """One grid on one split: the loss of GPTQ that training on the grid removes."""

    model: str = column("Name of the model.")
    grid: str = column("Name of the grid, such as int2-exact.")
    control: str = column("Point of plain fine-tuning, whose gain is subtracted.")
    split: str = column("Split of the text.")
    net: float = column("M = [L(GPTQ) − L(w)] − [L(QAFT) − L(control)].", NATS)
    net_low: float = low_end("net", NATS)
    net_high: float = high_end("net", NATS)
    raw: float = column("L(GPTQ) − L(QAFT), plain adaptation to the text included.", NATS)
    raw_low: float = low_end("raw", NATS)
    raw_high: float = high_end("raw", NATS)


@dataclass(frozen=True, kw_only=True)
class ClaimRow(Row):
    """One claim of the paper in one case of one model of a study."""

    model: str = column("Name of the model.")
    number: int = column("Number of the claim, 1 to 6.")
    case: str = column("Where it is tested.")
    text: str = column("The paper's statement.")
    source: str = column("Section and figure of the paper.")
    measure: str = column("The statistic that tests it.")
    value: float | None = column("The statistic, in the unit that measure gives; empty if not available: see note.")
    value_low: float | None = low_end("value")
    value_high: float | None = high_end("value")
    threshold: str = column("Values with which the claim holds.")
    verdict: str = column("holds, fails, or open if the interval does not decide it.")
    aside: bool = column("Whether it is reported beside the claim and does not count in the verdict.")
    note: str = column("Further facts.")


@dataclass(frozen=True, kw_only=True)
class FailureRow(Row):
    """One cell of a study without a result."""

    model: str = column("Name of the model.")
    cell: str = column("Name of the point; all if the model itself failed.")
    reason: str = column("The error, in one line.")


def misalignment_rows(found: SurveyResult) -> Iterator[MisalignmentRow]:
    """Yield a row for each grid and split that M was measured on."""
    for each in found.misalignments:
        for split, net in each.net.items():
            yield MisalignmentRow(
                model=found.subject.model,
                grid=each.grid,
                control=each.control,
                split=split,
                **estimate_cells("net", net),
                **estimate_cells("raw", each.raw[split]),
            )


def claim_rows(model: str, claims: tuple[Claim, ...]) -> Iterator[ClaimRow]:
    """Yield a row for each claim on a model."""
    for claim in claims:
        yield ClaimRow(
            model=model,
            number=claim.number,
            case=claim.case,
            text=claim.text,
            source=claim.source,
            measure=claim.measure,
            **estimate_cells("value", claim.estimate),
            threshold=claim.threshold,
            verdict=claim.verdict,
            aside=claim.aside,
            note=claim.note,
        )


def failure_rows(failures: tuple[FailedCell, ...]) -> Iterator[FailureRow]:
    """Yield a row for each failed cell."""
    for failed in failures:
        yield FailureRow(model=failed.model, cell=failed.cell, reason=failed.reason)
