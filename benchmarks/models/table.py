"""Make the tables of `README.md` from the rows of `train.py`: `python -m benchmarks.models.table`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.models.families import FAMILIES
from benchmarks.pages import Page
from benchmarks.rows import Row, read_rows

HERE = Path(__file__).resolve().parent
PAGE = Page(HERE / "README.md")
ROWS = HERE / "models.jsonl"


def sizes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of what each model is, and what it was trained on."""
    heads = ["model", "what sets it apart", "layers × width", "parameters", "of them in w", "vocabulary"]
    yield f"| {' | '.join([*heads, 'text', 'tokens trained', 'epochs', 'minutes', 'cores'])} |"
    yield "|---|---|" + "---|" * (len(heads) + 3)
    for row in rows:
        shape = f"{row['layers']} × {row['hidden']}"
        counts = [f"{row[name]:,}" for name in ("parameters", "dimension", "vocabulary")]
        epochs = row["trained_tokens"] / row["text_tokens"]
        text = [row["text"], f"{row['trained_tokens']:,}", f"{epochs:.1f}"]
        cost = [f"{row['seconds'] / 60:.0f}", str(row["threads"])]
        yield f"| {' | '.join([row['model'], FAMILIES[row['model']].features, shape, *counts, *text, *cost])} |"


def losses(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the losses on each split, beside that of the tokens' frequencies."""
    heads = ["model", "text", "train", "validation", "test", "test, by frequencies alone"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        found = [f"{row['loss'][name]:.4f}" for name in ("train", "validation", "test", "unigram")]
        yield f"| {' | '.join([row['model'], row['text'], *found])} |"


def tables(rows: Sequence[Row]) -> dict[str, Iterator[str]]:
    """Return all tables by their names on the page."""
    return {"sizes": sizes(rows), "losses": losses(rows)}


def rewrite() -> None:
    """Rewrite the tables of the page from the rows."""
    PAGE.write(tables(read_rows(ROWS)))


if __name__ == "__main__":
    rewrite()
