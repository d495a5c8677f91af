"""Make the tables of `README.md` from the rows of `measure.py`: `python -m benchmarks.methods.table`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages import Page
from benchmarks.rows import Row, read_rows

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE / "README.md")
MODEL = "smollm2-135m"  # the rows of opt-nano are for the page of the advice alone
METHODS = {"rtn": "RTN", "gptq": "GPTQ", "gptq-fp": "GPTQ, fp inputs", "qaft": "QAFT"}


@dataclass(frozen=True)
class Grid:
    """The rows of one bit width and scale, as far as they are measured, beside those of w and w_FT."""

    name: str
    rows: dict[str, Row]
    center: Row
    control: Row | None
    """w_FT at QAFT's rates."""


def grids(rows: list[Row]) -> list[Grid]:
    """Group rows by grid, finest first."""
    center = next(row for row in rows if row["method"] == "w")
    controls = {row["key"].removeprefix("w_ft "): row for row in rows if row["method"] == "w_ft"}
    keys = dict.fromkeys((row["scale"], row["bits"]) for row in rows if "bits" in row)
    found = []
    for scale, bits in sorted(keys, key=lambda key: (key[0], -key[1])):
        own = {row["method"]: row for row in rows if (row.get("scale"), row.get("bits")) == (scale, bits)}
        rates = "0.0001,0.001" if bits <= 3 else "1e-05,0.0001"
        found.append(Grid(f"int{bits} {scale}", own, center, controls.get(rates)))
    return found


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the first table: one per point."""
    yield "| grid | method | NLL validation | NLL test | ‖Δw‖/‖w‖ | layer MSE/RTN, train | test | damping | CPU s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        if row["method"] in ("w", "w_ft"):
            rates = row["key"].removeprefix("w_ft ").replace(",", ", ")
            name = "w" if row["method"] == "w" else f"w_FT, rates {rates}"
            yield line("", name, row, "", "", "")
    for grid in grids(rows):
        for method, name in METHODS.items():
            if method in grid.rows:
                row = grid.rows[method]
                train, test = (f"{row['layer_error'][split]['mean_of_layers']:.3f}" for split in ("train", "test"))
                damping = f"{row['median_damping']:g}" if "median_damping" in row else ""
                yield line(grid.name, name, row, train, test, damping)


def line(grid: str, method: str, row: Row, train: str, test: str, damping: str) -> str:
    """Format one line of the first table."""
    validation, held_out = (f"{row['nll'][split]:.4f}" for split in ("validation", "test"))
    away = f"{row['distance']:.4f}" if "distance" in row else "0"
    seconds = f"{row['cpu_seconds']:.0f}" if "cpu_seconds" in row else ""
    cells = (grid, method, validation, held_out, away, train, test, damping, seconds)
    return f"| {' | '.join(cells)} |"


def misalignment(grid: Grid) -> float:
    """Compute M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)] on the test split."""
    gptq, qaft = (grid.rows[method]["nll"]["test"] for method in ("gptq", "qaft"))
    assert grid.control is not None
    return float(gptq - grid.center["nll"]["test"] - (qaft - grid.control["nll"]["test"]))


def below(method: str, split: str) -> Callable[[Grid], float]:
    """Make a function that returns the share of layers whose squared error is below RTN's."""
    return lambda grid: float(grid.rows[method]["layer_error"][split]["layers_below"])


def further(method: str) -> Callable[[Grid], float]:
    """Make a function that returns ‖Δw‖ of a method over that of RTN."""
    return lambda grid: float(grid.rows[method]["distance"] / grid.rows["rtn"]["distance"])


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, and the number by which it holds on a grid or fails."""

    text: str
    what: str
    number: Callable[[Grid], float]
    holds: Callable[[float], bool]


CLAIMS = (
    Claim("GPTQ lowers the layer-wise error, on the test split too", "share of layers below RTN",
          below("gptq", "test"), lambda share: share > 0.5),
    Claim("… where it calibrates on the full-precision inputs that the error is judged on", "share of layers below RTN",
          below("gptq-fp", "test"), lambda share: share > 0.5),
    Claim("QAFT lowers it in fewer than half of the layers (the paper: hardly ever)", "share of layers below RTN",
          below("qaft", "test"), lambda share: share < 0.5),
    Claim("QAFT ends below GPTQ", "L(GPTQ) − L(QAFT), test",
          lambda g: g.rows["gptq"]["nll"]["test"] - g.rows["qaft"]["nll"]["test"], lambda gain: gain > 0),
    Claim("… also when the gain of plain fine-tuning is taken off", "M, test", misalignment, lambda m: m > 0),
    Claim("GPTQ lies farther from w than RTN", "ratio of distances", further("gptq"), lambda ratio: ratio > 1),
    Claim("QAFT does not (by more than 1 %)", "ratio of distances", further("qaft"), lambda ratio: ratio < 1.01),
)  # fmt: skip


def claims(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the second table: one a claim."""
    complete = [g for g in grids(rows) if g.rows.keys() >= METHODS.keys() and g.control is not None]
    if not complete:
        return
    yield f"| the paper's claim | number | {' | '.join(grid.name for grid in complete)} |"
    yield "|---|---|" + "---|" * len(complete)
    for claim in CLAIMS:
        numbers = [claim.number(grid) for grid in complete]
        cells = [f"{'holds' if claim.holds(n) else '**fails**'} {n:.3f}" for n in numbers]
        yield f"| {claim.text} | {claim.what} | {' | '.join(cells)} |"


def tables(rows: list[Row]) -> dict[str, Iterator[str]]:
    """Return both tables by their names on the page."""
    return {"comparison": table(rows), "claims": claims(rows)}


def main() -> None:
    """Rewrite both tables of the page."""
    PAGE.write(tables(read_rows(HERE / f"{MODEL}.jsonl")))


if __name__ == "__main__":
    main()
