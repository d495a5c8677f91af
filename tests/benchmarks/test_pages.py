"""Tables go between their comments and nowhere else; the scripts find the module that puts them there."""

from pathlib import Path

import pytest

from benchmarks import pages

TEXT = """# Title

<!-- cost -->
| old |
<!-- /cost -->

Between: <!-- a note -->

<!-- of two -->

| older |

<!-- /of two -->
end
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_tables_are_replaced_and_the_rest_stays(file: Path) -> None:
    r"""Blank lines beside the comments too; what looks like a group of a pattern, \1, is text."""
    page = pages.Page(file)
    page.write({"of two": iter([r"| ρ \1 |", "| b |"]), "cost": ["| new |"]})
    expected = TEXT.replace("| old |", "| new |").replace("| older |", "| ρ \\1 |\n| b |")
    assert file.read_bytes() == expected.encode()
    assert page.table("of two") == "| ρ \\1 |\n| b |"
    page.write({"cost": [page.table("cost")]})
    assert file.read_bytes() == expected.encode()


def test_a_page_can_be_filled_without_being_written(file: Path) -> None:
    page = pages.Page(file)
    assert page.filled({"cost": ["| new |"]}) == TEXT.replace("| old |", "| new |")
    assert page.text == TEXT


def test_an_empty_place_takes_its_first_lines(file: Path) -> None:
    file.write_text("a\n<!-- t -->\n<!-- /t -->\nb\n")
    pages.Page(file).write({"t": ["| 1 |", "| 2 |"]})
    assert file.read_text() == "a\n<!-- t -->\n| 1 |\n| 2 |\n<!-- /t -->\nb\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nothing", "0 and 0"),
        ("<!-- cost -->\n<!-- end of cost -->", "1 and 0"),
        ("<!-- /cost -->", "0 and 1"),
        ("<!-- /cost -->\n<!-- cost -->", "1 and 1"),
        ("<!-- cost -->\n<!-- /cost -->\n<!-- cost -->\n<!-- /cost -->", "2 and 2"),
    ],
    ids=["none", "other end", "no beginning", "wrong order", "twice"],
)
def test_a_page_without_one_place_is_an_error_and_stays(file: Path, text: str, found: str) -> None:
    text = f"<!-- good -->\n<!-- /good -->\n{text}\n"
    file.write_text(text)
    page = pages.Page(file)
    message = f"^expected <!-- cost --> and after it <!-- /cost -->, once each, in page.md, got {found} of them; put"
    with pytest.raises(ValueError, match=message):
        page.write({"good": ["| 1 |"], "cost": ["| 1 |"]})
    with pytest.raises(ValueError, match=message):
        page.table("cost")
    assert file.read_text() == text
