"""The notebooks run, and their saved output is that of this code."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_a_notebook_runs_and_its_saved_output_is_current(path, tmp_path, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    saved = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for old, new in zip(saved.cells, fresh.cells, strict=True):
        if old.cell_type != "code":
            continue
        assert old.execution_count, "run the notebook and save it with its output"
        assert shown_types(old) == shown_types(new)
        assert printed_words(old) == printed_words(new)


def shown_types(cell):
    """Kinds of output in order; stderr, which says something of the machine, may cut stdout in two."""
    kinds = [o.output_type for o in cell.outputs if o.get("name") != "stderr"]
    return [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before or kind != "stream"]


def printed_words(cell):
    """What the cell printed, without the digits: the last ones differ between machines."""
    text = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
    return [word for word in text.split() if not any(c.isdigit() for c in word)]
