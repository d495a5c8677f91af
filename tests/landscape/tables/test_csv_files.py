"""CSV files as pandas and Python's own reader see them."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landscape.tables.column import cells, columns
from landscape.tables.csv_files import csv_text, write_tables
from landscape.tables.tidy import TABLES, tidy
from quant.errors import StoreError
from tests.landscape.tables import filled


def test_every_table_is_a_file_with_its_header(tmp_path: Path) -> None:
    write_tables(filled.study(), tmp_path / "new" / "folder")
    files = {path.stem: path for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(files) == {*TABLES, "columns"}
    for name, row in TABLES.items():
        with files[name].open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        assert header == [each.name for each in columns(row)]
        assert len(rows) == len(tidy(filled.study())[name]) > 0


def test_every_cell_reads_back(tmp_path: Path) -> None:
    """Text as text, floats to the bit, what is missing as an empty cell and nothing else."""
    tables = write_tables(filled.study(), tmp_path)
    for name, rows in tables.items():
        with (tmp_path / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found = list(csv.reader(file))[1:]
        kinds = [each.kind for each in columns(TABLES[name])]
        for line, row in zip(found, rows, strict=True):
            for text, kind, cell in zip(line, kinds, cells(row), strict=True):
                if cell is None:
                    assert text == ""
                elif kind == "number":
                    assert float(text) == cell or (math.isnan(cell) and text == "nan")
                else:
                    assert text == {True: "true", False: "false"}.get(cell, str(cell)) if kind == "yes or no" else (
                        text == str(cell)
                    )  # fmt: skip


def test_pandas_reads_numbers_as_numbers_and_missing_ones_as_missing(tmp_path: Path) -> None:
    write_tables(filled.overflowing(), tmp_path)
    points = pd.read_csv(tmp_path / "points.csv")
    lost = points.query("point == 'rtn-int2-exact' and split == 'validation'").iloc[0]
    assert (lost.nll, lost.rise_low) == (math.inf, -math.inf)
    assert points.bits.tolist() == [8] * 6 + [4] * 6 + [2] * 6
    assert points.symmetric.dtype == bool
    assert points.expert_matrices_few.isna().all()
    rays = pd.read_csv(tmp_path / "rays.csv")
    expected = filled.overflowing().rays[3].nll["train"]
    np.testing.assert_allclose(rays.query("direction == 3 and split == 'train'").nll, expected, rtol=4e-16)
    assert pd.read_csv(tmp_path / "epochs.csv").empty
    assert "chosen" in pd.read_csv(tmp_path / "epochs.csv").columns


def test_an_identical_result_gives_identical_bytes_and_replaces_older_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_tables(filled.study(), tmp_path / folder)
    write_tables(filled.overflowing(), tmp_path / "c")
    write_tables(filled.study(), tmp_path / "c")
    first, *others = ({p.name: p.read_bytes() for p in sorted((tmp_path / f).iterdir())} for f in "abc")
    assert all(other == first for other in others)


def test_the_schema_names_every_column_with_its_type_and_meaning(tmp_path: Path) -> None:
    write_tables(filled.filled(), tmp_path)
    schema = pd.read_csv(tmp_path / "columns.csv", keep_default_na=False)
    for name in TABLES:
        named = schema.query("table == @name").column
        assert list(named) == list(pd.read_csv(tmp_path / f"{name}.csv").columns)
    assert schema.column.str.fullmatch("[a-z][a-z0-9_]*").all()
    assert schema.meaning.str.fullmatch(r"[^\n]{4,}[.]").all()
    optional = schema.set_index(["table", "column"]).optional
    for name, rows in tidy(filled.study()).items():  # what is said never to be empty is not
        for each in columns(TABLES[name]):
            if any(getattr(row, each.name) is None for row in rows):
                assert optional[name, each.name]


def test_text_with_commas_quotes_and_line_breaks_is_one_cell() -> None:
    (row,) = [row for row in tidy(filled.study())["claims"] if row.number == 2]
    _, line = csv.reader(csv_text(TABLES["claims"], [row]).splitlines(keepends=True))
    assert line[3] == "Points, of “one” grid\nare close"


def test_a_name_that_is_no_utf_8_is_written_out(tmp_path: Path) -> None:
    result = filled.filled()
    write_tables(replace(result, subject=replace(result.subject, model="a \udcff byte")), tmp_path)
    assert "a \\udcff byte" in (tmp_path / "points.csv").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match="choose another --csv"):
        write_tables(filled.filled(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
