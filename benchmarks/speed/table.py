"""Make the tables of `README.md` from the rows of this folder: `python -m benchmarks.speed.table`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.pages import Page
from benchmarks.rows import Row, read_rows
from benchmarks.speed.lines import LINES

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE / "README.md")
OURS = "landscape.measure_radius"
Key = tuple[str, int, str | None]
Rows = Mapping[Key, Row]


def rows(label: str) -> Rows:
    """Return the rows of a run by key, thread count and model."""
    return {(row["key"], row["threads"], row["model"]): row for row in read_rows(HERE / f"{label}.jsonl")}


def number(row: Row) -> str:
    """Format the ratio and its quartiles, or the value."""
    if "missing" in row:
        return str(row["missing"])
    if "ratio" in row:
        low, middle, high = row["ratio"]
        return f"{middle:.2f} [{low:.2f}, {high:.2f}]"
    share = f" ({row['value'] / row['logits']:.2f} × the logits)" if "logits" in row else ""
    return f"{row['value']:.4g} {row['unit']}{share}"


def seconds(row: Row) -> str:
    """Format the medians above and below the line."""
    return "" if "seconds" not in row else f"{row['seconds'][0]:.2g} / {row['seconds'][1]:.2g}"


def speed(now: Rows, before: Rows) -> Iterator[str]:
    """Yield the lines of the table of speed, with the rows of the commit before beside the new ones."""
    yield "| measured | threads | ratio [quartiles] | seconds | goal | before | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for line in LINES:
        for key in sorted((key for key in now if key[0] == line.key), key=lambda key: (key[2] or "", key[1])):
            row, old = now[key], before.get(key)
            text = line.text if key[2] is None else f"{line.text} ({key[2]})"
            goal = "" if line.goal is None or "missing" in row else line.goal.verdict(row, old)
            was = ("", "") if old is None else (number(old), seconds(old))
            yield f"| {text} | {key[1]} | {number(row)} | {seconds(row)} | {goal} | {was[0]} | {was[1]} |"


def memory(now: Rows, before: Rows) -> Iterator[str]:
    """Yield the lines of the table of peak memory, one a process."""
    yield "| benchmark | threads | peak, GiB | of it before the work began | peak, before |"
    yield "|---|---|---|---|---|"
    for key, row in now.items():
        if key[0].startswith("peak/"):
            name = key[0].removeprefix("peak/") + (f" ({key[2]})" if key[2] else "")
            was = f"{before[key]['value']:.2f}" if key in before else ""
            yield f"| {name} | {key[1]} | {row['value']:.2f} | {row['before']:.2f} | {was} |"


def runs(now: Rows, before: Rows) -> Iterator[str]:
    """Yield the lines of the table of runs: commit, date and machine."""
    yield "| | now | before |"
    yield "|---|---|---|"
    described = [[row["environment"] for row in run.values()] for run in (now, before)]
    fields = {
        "commit": lambda e: e["commit"],
        "date": lambda e: e["date"],
        "processor": lambda e: f"{e['processor']}, {e['cores']} cores, {e['memory']} GiB, {e['system']}",
        "versions": lambda e: ", ".join(f"{name} {version}" for name, version in e["versions"].items()),
    }
    for name, field in fields.items():
        cells = ["; ".join(dict.fromkeys(field(each) for each in run)) for run in described]
        yield f"| {name} | {cells[0]} | {cells[1]} |"


def peers(measured: list[Row]) -> Iterator[str]:
    """Yield the lines of the table of time to the same answer."""
    yield "| way | R | of ours | half width | directions | tokens | of ours | seconds | versions |"
    yield "|---|---|---|---|---|---|---|---|---|"
    ours = next((row for row in measured if row["way"] == OURS), None)
    for row in measured:
        assert ours is not None
        radius = "not reached" if row["radius"] is None else f"{row['radius']:.1f}"
        share = "" if row["radius"] is None else f"{row['radius'] / ours['radius']:.2f}"
        width = "none given" if row["half_width"] is None else f"± {row['half_width']:.1%}"
        late = ", out of time" if row["late"] else ""
        versions = row.get("versions") or row["environment"]["versions"]
        tool = next(iter(versions.items())) if row is not ours else ("commit", row["environment"]["commit"])
        yield (
            f"| {row['way']} | {radius} | {share} | {width} | {row.get('directions', '')} | {row['tokens']:,} | "
            f"{row['tokens'] / ours['tokens']:.1f} | {row['seconds']:.0f}{late} | {tool[0]} {tool[1]} |"
        )


def tables() -> dict[str, list[str]]:
    """Return all tables by their names on the page."""
    now, before = rows("now"), rows("before")
    return {
        "speed": list(speed(now, before)),
        "memory": list(memory(now, before)),
        "runs": list(runs(now, before)),
        "peers": list(peers(read_rows(HERE / "peers.jsonl"))),
    }


def main() -> None:
    """Rewrite the tables of the page, and print the one of speed."""
    made = tables()
    PAGE.write(made)
    print("\n".join(made["speed"]))


if __name__ == "__main__":
    main()
