"""Lay out the planes through w and two points: their lattices, and where the points lie on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from landscape.survey.result import SurveyResult
from landscape.tables.column import L2, NATS, Row, column


@dataclass(frozen=True, kw_only=True)
class PlaneRow(Row):
    """One position ``w + x e₁ + y e₂`` on a plane through w and two points."""

    model: str = column("Name of the model.")
    a: str = column("Point that e₁ points to.")
    b: str = column("Point above the abscissa.")
    bits: int = column("Bit width of both points.", "bits")
    split: str = column("Split of the text.")
    windows: int = column("Number of windows, the first of the split.")
    x: float = column("Distance along e₁.", L2)
    y: float = column("Distance along e₂, at right angles to it.", L2)
    nll: float = column("NLL there; inf or nan where the output overflowed.", NATS)


@dataclass(frozen=True, kw_only=True)
class PlanePointRow(Row):
    """One of the three points of a plane, with its loss on the windows of the plane."""

    model: str = column("Name of the model.")
    a: str = column("Point that e₁ points to.")
    b: str = column("Point above the abscissa.")
    split: str = column("Split of the text.")
    windows: int = column("Number of windows, the first of the split.")
    point: str = column("Name of the point; w for the centre.")
    x: float = column("Distance along e₁.", L2)
    y: float = column("Distance along e₂, at right angles to it.", L2)
    nll: float = column("NLL there, on the windows of the plane.", NATS)


def plane_rows(found: SurveyResult) -> Iterator[PlaneRow]:
    """Yield a row for each position of each plane, row by row of its lattice."""
    for plane in found.planes:
        for y, row in zip(plane.y.tolist(), plane.nll.tolist(), strict=True):
            for x, nll in zip(plane.x.tolist(), row, strict=True):
                yield PlaneRow(
                    model=found.subject.model,
                    a=plane.a,
                    b=plane.b,
                    bits=plane.bits,
                    split=plane.split,
                    windows=plane.windows,
                    x=x,
                    y=y,
                    nll=nll,
                )


def plane_point_rows(found: SurveyResult) -> Iterator[PlanePointRow]:
    """Yield a row for each of the three points of each plane."""
    for plane in found.planes:
        for name, (x, y) in plane.places.items():
            yield PlanePointRow(
                model=found.subject.model,
                a=plane.a,
                b=plane.b,
                split=plane.split,
                windows=plane.windows,
                point=name,
                x=float(x),
                y=float(y),
                nll=float(plane.point_nll[name]),
            )
