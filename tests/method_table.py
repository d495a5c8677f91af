"""Write the table of methods in ``landscape/README.md`` from the rows of ``landscape.session.point_methods``.

python -m tests.method_table
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.pages import Page
from landscape.session.point_methods import METHODS, PAPER_METHODS, PointMethod

README = Page(Path(__file__).resolve().parents[1] / "landscape" / "README.md")


def table() -> Iterator[str]:
    """Yield the lines of the table, one per method."""
    yield "| `--methods` | method | starts from | data that it takes | remark |"
    yield "|---|---|---|---|---|"
    for row in METHODS.values():
        start = METHODS[row.start].label if row.start else "`w`"
        yield f"| `{row.name}` | {row.label} | {start} | {_data(row)} | {_remark(row)} |"


def _data(row: PointMethod) -> str:
    return "training windows" if row.trains else "calibration windows" if row.calibrates else "none"


def _remark(row: PointMethod) -> str:
    remarks = ["Xu et al. 2024"] if row.name in PAPER_METHODS else []
    remarks += [row.note] if row.note else []
    remarks += ["its points leave the grid"] if row.needs_grid and not row.on_grid else []
    return "; ".join(remarks)


if __name__ == "__main__":
    README.path.write_text(README.filled({"methods": table()}), encoding="utf-8")
