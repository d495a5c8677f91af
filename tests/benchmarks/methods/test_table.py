"""The table of claims on the methods says 'fails' where the numbers do."""

from benchmarks.methods import table
from benchmarks.rows import read_rows


def row(method: str, test: float, distance: float, below: float = 0.0) -> dict:
    errors = {split: {"mean_of_layers": 0.5, "layers_below": below} for split in ("train", "test")}
    return {
        "key": f"{method} int4-exact", "method": method, "bits": 4, "scale": "exact", "cpu_seconds": 1.0,
        "nll": {"validation": 3.0, "test": test}, "distance": distance, "layer_error": errors,
    }  # fmt: skip


def free(key: str, test: float) -> dict:
    return {"key": key, "method": key.split()[0], "cpu_seconds": 0.0, "nll": {"validation": 3.0, "test": test}}


def rows(gptq: float, qaft: float, control: float) -> list[dict]:
    return [
        free("w", 3.0),
        row("rtn", 4.0, 0.1),
        row("gptq", gptq, 0.2, below=0.9),
        row("gptq-fp", gptq, 0.2, below=0.8),
        row("qaft", qaft, 0.1005, below=0.1),
        free("w_ft 1e-05,0.0001", control),
    ]


def verdicts(lines: list[str]) -> list[str]:
    return [cell.strip() for line in lines[2:] for cell in line.split("|")[3:-1]]


def test_claims_that_hold() -> None:
    """M = (3.6 − 3.0) − (3.2 − 2.9) = 0.3."""
    assert verdicts(list(table.claims(rows(3.6, 3.2, 2.9)))) == [
        "holds 0.900", "holds 0.800", "holds 0.100", "holds 0.400", "holds 0.300", "holds 2.000", "holds 1.005",
    ]  # fmt: skip


def test_claims_that_fail() -> None:
    """QAFT gains 0.1 over GPTQ, and plain fine-tuning 0.5 over w."""
    measured = rows(3.3, 3.2, 2.5)
    measured[2]["distance"], measured[4]["distance"] = 0.09, 0.12
    measured[2]["layer_error"], measured[4]["layer_error"] = measured[4]["layer_error"], measured[2]["layer_error"]
    assert verdicts(list(table.claims(measured))) == [
        "**fails** 0.100", "holds 0.800", "**fails** 0.900", "holds 0.100", "**fails** -0.400", "**fails** 0.900",
        "**fails** 1.200",
    ]  # fmt: skip


def test_a_grid_that_is_not_finished_makes_no_claim() -> None:
    assert verdicts(list(table.claims(rows(3.6, 3.2, 2.9)[:-1]))) == []
    assert len(list(table.table(rows(3.6, 3.2, 2.9)))) == 2 + 6


def test_the_tables_of_the_page_are_those_of_the_rows() -> None:
    measured = read_rows(table.HERE / f"{table.MODEL}.jsonl")
    assert table.PAGE.filled(table.tables(measured)) == table.PAGE.text
    assert "| int4 exact | QAFT | " in table.PAGE.table("comparison")
