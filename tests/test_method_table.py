"""The table of methods in ``landscape/README.md`` is made of their rows."""

from tests.method_table import README, table


def test_the_readme_lists_every_method_as_its_row_says() -> None:
    assert README.table("methods") == "\n".join(table()), "run: python -m tests.method_table"
