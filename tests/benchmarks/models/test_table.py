"""The tables of the models are made of the rows."""

from __future__ import annotations

from benchmarks.models import families, table, train
from benchmarks.rows import read_rows

ROW = {
    "model": "gpt2", "text": "tales", "text_tokens": 500_000, "layers": 5, "hidden": 128, "trained_tokens": 1_250_000,
    "seconds": 1530, "threads": 1, "parameters": 1_188_224, "dimension": 983_040, "vocabulary": 1024,
    "loss": {"train": 2.5, "validation": 2.75, "test": 2.76543, "unigram": 5.6},
}  # fmt: skip


def test_a_row_becomes_a_line_of_each_table() -> None:
    features = families.FAMILIES["gpt2"].features
    assert list(table.sizes([ROW]))[2] == (
        f"| gpt2 | {features} | 5 × 128 | 1,188,224 | 983,040 | 1,024 | tales | 1,250,000 | 2.5 | 26 | 1 |"
    )
    assert list(table.losses([ROW]))[2] == "| gpt2 | tales | 2.5000 | 2.7500 | 2.7654 | 5.6000 |"
    for lines in (list(table.sizes([ROW])), list(table.losses([ROW]))):
        assert len({line.count("|") for line in lines}) == 1


def test_a_new_row_replaces_the_earlier_one(tmp_path) -> None:
    file = tmp_path / "rows.jsonl"
    for row in ({"model": "qwen3", "a": 1}, {"model": "gpt2", "a": 2}, {"model": "qwen3", "a": 3}):
        train.keep_row(row, file)
    assert read_rows(file) == [{"model": "gpt2", "a": 2}, {"model": "qwen3", "a": 3}]


def test_the_document_is_made_of_the_rows() -> None:
    rows = read_rows(table.ROWS)
    assert table.PAGE.filled(table.tables(rows)) == table.PAGE.text
    assert all(1e6 <= row["parameters"] <= 1e7 and row["loss"]["test"] < row["loss"]["unigram"] - 1 for row in rows)
