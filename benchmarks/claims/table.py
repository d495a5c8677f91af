"""Make the tables in `benchmarks/claims/README.md` from the rows that `measure.py` measured.

python -m benchmarks.claims.table
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import Page

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE / "README.md")
MODELS = ("opt-nano", "smollm2-135m")
NUMBERS = range(1, 7)

Model = dict[str, Any]
Row = dict[str, Any]


def models() -> list[Model]:
    """What has been measured."""
    files = [HERE / f"{model}.json" for model in MODELS]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def verdict(rows: Sequence[Row]) -> str:
    """The verdict on a claim in these cases, and in how many of them it holds."""
    judged = [row["verdict"] for row in rows if not row["aside"]]
    if not judged:
        return ""
    word = "**fails**" if "fails" in judged else "holds" if set(judged) == {"holds"} else "open"
    counts = [f"{judged.count(kind)} {kind}" for kind in ("holds", "fails", "open") if kind in judged]
    return f"{word} ({', '.join(counts)})"


def number(value: float | None, unbounded: str) -> str:
    """Three figures."""
    return unbounded if value is None else f"{value:.3g}"


def cell(row: Row | None) -> str:
    """Verdict, number and interval."""
    if row is None:
        return ""
    word = f"**{row['verdict']}**" if row["verdict"] == "fails" else row["verdict"]
    estimate = row["estimate"]
    if estimate is None:
        return f"{word}: {row['note']}"
    value, low, high = (number(estimate[key], "∞" if key != "low" else "−∞") for key in ("value", "low", "high"))
    return f"{word} {value}" + ("" if low == value == high else f" [{low}, {high}]")


def summary(measured: Sequence[Model]) -> Iterator[str]:
    """One line a claim."""
    yield f"| | the paper | {' | '.join(model['model'] for model in measured)} |"
    yield "|---|---|" + "---|" * len(measured)
    for claim in NUMBERS:
        rows = [[row for row in model["claims"] if row["number"] == claim] for model in measured]
        first = next(row for of_model in rows for row in of_model if not row["aside"])
        yield f"| {claim} | {first['text']} | {' | '.join(map(verdict, rows))} |"


def details(measured: Sequence[Model]) -> Iterator[str]:
    """One line a case, those beside a claim in italics. A case that stands aside in one model alone has two."""
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
    """What is asked in a case; the edges of claim 3 are each model's own."""
    return row["number"], row["case"], row["aside"], row["measure"], row["threshold"].split(":")[0]


def basins(measured: Sequence[Model]) -> Iterator[str]:
    """What the claims are measured against."""
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
    """All tables by their names on the page."""
    return {"summary": summary(measured), "basins": basins(measured), "details": details(measured)}


def main() -> None:
    """Rewrite the tables."""
    PAGE.write(tables(models()))


if __name__ == "__main__":
    main()
