"""Make the tables of `README.md` from the rows of `measure.py`: `python -m benchmarks.study.table`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.pages import Page
from benchmarks.rows import Row, read_rows
from quant.scheme import grid_label

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE / "README.md")
MODELS = ("opt-nano", "smollm2-135m")
METHODS = ("rtn", "gptq", "qaft")


def studies() -> list[list[Row]]:
    """Return the rows of the page's models, as far as they are measured."""
    files = [HERE / f"{model}.jsonl" for model in MODELS]
    return [read_rows(file) for file in files if file.exists()]


def of_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    """Return the rows of one kind."""
    return [row for row in rows if row["kind"] == kind]


def name(rows: Sequence[Row]) -> str:
    """Return the name of the model."""
    (study,) = of_kind(rows, "study")
    return str(study["model"])


def figures(measured: Sequence[Sequence[Row]]) -> Iterator[str]:
    """Yield the table of figures: that of the paper, the command, our pictures, and what the findings say of it."""
    yield "| the paper | command | ours | holds? |"
    yield "|---|---|---|---|"
    groups = dict.fromkeys((row["group"], row["source"]) for rows in measured for row in of_kind(rows, "figure"))
    for group, source in groups:
        commands, pictures, verdicts = [], [], []
        for rows in measured:
            charts = [row for row in of_kind(rows, "figure") if row["group"] == group]
            (study,) = of_kind(rows, "study")
            commands.append(f"`{study['command']} --figures DIR`")
            pictures += [_picture(study["model"], row, len(charts) > 1) for row in charts]
            verdicts += _verdicts(study["model"], charts, of_kind(rows, "finding"))
        ours = f"{group}: {', '.join(pictures)}"
        yield f"| {source or '–'} | {'<br>'.join(commands)} | {_cell(ours)} | {_cell('<br>'.join(verdicts)) or '–'} |"


def findings(measured: Sequence[Sequence[Row]]) -> Iterator[str]:
    """Yield the table of findings: each statement of the paper, and its verdict with the number on each model."""
    yield f"| the paper | {' | '.join(map(name, measured))} |"
    yield f"|---|{'---|' * len(measured)}"
    texts = dict.fromkeys((row["text"], row["source"]) for rows in measured for row in of_kind(rows, "finding"))
    for text, source in texts:
        cells = [_finding(rows, text) for rows in measured]
        yield f"| {_cell(text)} ({_cell(source)}) | {' | '.join(cells)} |"


def perplexities(measured: Sequence[Sequence[Row]]) -> Iterator[str]:
    """Yield the table of test perplexities and of KL: one row a grid."""
    yield "| model | grid | RTN | GPTQ | QAFT | KL of RTN | GPTQ | QAFT |"
    yield "|---|---|---|---|---|---|---|---|"
    for rows in measured:
        points = of_kind(rows, "point")
        for grid in dict.fromkeys(grid_label(p["bits"], p["grid"]) for p in points if p["bits"]):
            own = {p["method"]: p for p in points if grid_label(p["bits"], p["grid"]) == grid}
            perplexity = [f"{math.exp(own[m]['nll']['test']):.4g}" if m in own else "" for m in METHODS]
            kl = [f"{own[m]['kl']['test']:.3g}" if m in own else "" for m in METHODS]
            yield f"| {name(rows)} | {grid} | {' | '.join([*perplexity, *kl])} |"
        for point in points:
            if not point["bits"]:
                value, kl_value = math.exp(point["nll"]["test"]), point["kl"]["test"]
                yield f"| {name(rows)} | {point['name']} | {value:.4g} |  |  | {kl_value:.3g} |  |  |"


def budgets(measured: Sequence[Sequence[Row]]) -> Iterator[str]:
    """Yield the commands, and what they were run with."""
    for rows in measured:
        (study,) = of_kind(rows, "study")
        settings = "; ".join(f"{key} {value}" for key, value in study["settings"].items())
        yield f"- **{study['model']}**: `{study['command']}`: {study['probes']:,} probes; {settings}."


def marked(verdict: str) -> str:
    """Set a verdict that fails in bold."""
    return f"**{verdict}**" if verdict == "fails" else verdict


def _picture(model: str, row: Row, several: bool) -> str:
    """Link to a picture, or say why there is none."""
    label = f"{model} ({row['id']})" if several else model
    return f"[{label}](figures/{model}--{row['id']}.png)" if row["drawn"] else f"{label}: not drawn, {row['reason']}"


def _verdicts(model: str, charts: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """Say what the findings that some charts show are worth on a model, one line for each finding."""
    shown = {row["id"] for row in charts}
    return [f"{model}: {row['text']}: {marked(row['verdict'])}" for row in found if row["figure"] in shown]


def _finding(rows: Sequence[Row], text: str) -> str:
    found = [row for row in of_kind(rows, "finding") if row["text"] == text]
    return "; ".join(f"{marked(row['verdict'])}: {_cell(row['numbers'])}" for row in found)


def _cell(text: str) -> str:
    """Write a text into a cell of a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def tables() -> dict[str, list[str]]:
    """Return the lines of every table of the page, by its name."""
    measured = studies()
    return {
        "budget": list(budgets(measured)),
        "figures": list(figures(measured)),
        "findings": list(findings(measured)),
        "perplexity": list(perplexities(measured)),
    }


if __name__ == "__main__":
    PAGE.write(tables())
