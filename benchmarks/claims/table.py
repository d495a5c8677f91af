"""Make the tables of `README.md` from the rows of `measure.py`: `python -m benchmarks.claims.table`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.claims import record
from benchmarks.claims.record import Model
from benchmarks.pages import Page
from benchmarks.rows import Row, read_rows

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE / "README.md")
MODELS = ("opt-nano", "smollm2-135m")
NUMBERS = range(1, 7)


def models() -> list[Model]:
    """Return the surveys of the page's models, as far as they are measured."""
    files = [HERE / f"{model}.jsonl" for model in MODELS]
    return [record.model(read_rows(file)) for file in files if file.exists()]


def verdict(rows: Sequence[Row]) -> str:
    """Return the verdict on a claim over its cases, and the number of cases with each verdict."""
    judged = [row["verdict"] for row in rows if not row["aside"]]
    if not judged:
        return ""
    word = "**fails**" if "fails" in judged else "holds" if set(judged) == {"holds"} else "open"
    counts = [f"{judged.count(kind)} {kind}" for kind in ("holds", "fails", "open") if kind in judged]
    return f"{word} ({', '.join(counts)})"


def number(value: float | None, unbounded: str) -> str:
    """Format a number to three significant figures."""
    return unbounded if value is None else f"{value:.3g}"


def cell(row: Row | None) -> str:
    """Format the verdict on a case, its number and interval."""
    if row is None:
        return ""
    word = f"**{row['verdict']}**" if row["verdict"] == "fails" else row["verdict"]
    estimate = row["estimate"]
    if estimate is None:
        return f"{word}: {row['note']}"
    value, low, high = (number(estimate[key], "∞" if key != "low" else "−∞") for key in ("value", "low", "high"))
    return f"{word} {value}" + ("" if low == value == high else f" [{low}, {high}]")


def summary(measured: Sequence[Model]) -> Iterator[str]:
    """Yield the lines of the summary: one row a claim."""
    yield f"| | the paper | {' | '.join(model['model'] for model in measured)} |"
    yield "|---|---|" + "---|" * len(measured)
    for claim in NUMBERS:
        rows = [[row for row in model["claims"] if row["number"] == claim] for model in measured]
        first = next(row for of_model in rows for row in of_model if not row["aside"])
        yield f"| {claim} | {first['text']} | {' | '.join(map(verdict, rows))} |"


def details(measured: Sequence[Model]) -> Iterator[str]:
    """Yield the lines of all cases, in italics where they do not count.

    A case that counts for one model and not for another has two lines.
    """
    yield f"| | case | number, and where the claim holds | {' | '.join(model['model'] for model in measured)} |"
    yield "|---|---|---|" + "---|" * len(measured)
    by_case = [{_asked(row): row for row in model["claims"]} for model in measured]
    cases = dict.fromkeys(key for rows in by_case for key in rows)
    for key in sorted(cases, key=lambda key: key[0]):
        found = [rows.get(key) for rows in by_case]
        claim, name, aside, measure, threshold = key
        case = f"*{name}*" if aside else name
        yield f"| {claim} | {case} | {measure}: {threshold} | {' | '.join(map(cell, found))} |"


def _asked(row: Row) -> tuple[int, str, bool, str, str]:
    """Return what a case asks, alike for all models: the edges of claim 3 differ and are left out."""
    return row["number"], row["case"], row["aside"], row["measure"], row["threshold"].split(":")[0]


def basins(measured: Sequence[Model]) -> Iterator[str]:
    """Yield the lines of the table of basins: the radii and the sizes of the samples."""
    yield "| | " + " | ".join(model["model"] for model in measured) + " |"
    yield "|---|" + "---|" * len(measured)
    for name in ("R", "r10", "r90"):
        edges = [(model["basin"][name], model["subject"]["norm"]) for model in measured]
        yield f"| {name}/‖w‖ | {' | '.join(_relative(edge, norm) for edge, norm in edges)} |"
    windows = [f"{model['basin']['directions']} × {model['basin']['windows']}" for model in measured]
    yield f"| directions × windows | {' | '.join(windows)} |"
    yield f"| tokens per window | {' | '.join(str(model['subject']['seq_len']) for model in measured)} |"
    yield f"| L(w), validation | {' | '.join(format(model['center']['validation'], '.3f') for model in measured)} |"
    yield f"| ln\\|V\\| | {' | '.join(format(model['subject']['chance'], '.3f') for model in measured)} |"


def _relative(edge: dict[str, float | None], norm: float) -> str:
    value, low, high = (None if edge[key] is None else float(edge[key] or 0) / norm for key in ("value", "low", "high"))
    return f"{number(value, 'censored')} [{number(low, '0')}, {number(high, '∞')}]"


def tables(measured: Sequence[Model]) -> dict[str, Iterator[str]]:
    """Return all tables by their names on the page."""
    return {"summary": summary(measured), "basins": basins(measured), "details": details(measured)}


def main() -> None:
    """Rewrite the tables of the page."""
    PAGE.write(tables(models()))


if __name__ == "__main__":
    main()
