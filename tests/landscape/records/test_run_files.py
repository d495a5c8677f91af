"""A name that no file can have is the name of no run, and an empty one is refused."""

import pytest

from landscape.records.run_files import find_run
from quant.errors import UsageError


@pytest.fixture
def root(tmp_path):
    run = tmp_path / "studies" / "only.json"
    run.parent.mkdir()
    run.write_text("{}")
    return tmp_path


@pytest.mark.parametrize("name", ["~nosuchuser", "~nosuchuser/x.json", "x" * 300, "a\0b"])
def test_a_name_that_is_no_file_is_no_run(name, root):
    with pytest.raises(UsageError, match=r"expected a run in .* or a file, got .*; runs there: only"):
        find_run(name, root)


@pytest.mark.parametrize("name", ["", ".json"])
def test_an_empty_name_is_refused_and_takes_no_run(name, root):
    with pytest.raises(UsageError, match="expected the name of a run, or of a file, got"):
        find_run(name, root)
