"""The notebooks run, and their saved output is that of this code, readable without it, and the same on any machine."""

import base64
import io
import json
import re

import nbformat
import numpy as np
import plotly.graph_objects
import pytest
from matplotlib.image import imread

from landscape.report.notebook import PLOTLY
from tests.run_notebooks import NOTEBOOKS, executed

PLACE = re.compile(r"(?:/home/|/tmp/|/mnt/|/opt/|/root|/Users/|/usr/|[A-Z]:\\)\S*")
FROM_THE_NET = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?https?:", re.IGNORECASE)
TEXTS = ("text/plain", "text/markdown", "text/html")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_a_notebook_runs_and_its_saved_output_is_current(path, tmp_path, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    saved = nbformat.read(path, as_version=4)
    fresh = executed(path, tmp_path)
    for old, new in zip(saved.cells, fresh.cells, strict=True):
        if old.cell_type != "code":
            continue
        assert old.execution_count, "run python -m tests.run_notebooks, which saves the notebook with its output"
        assert shown_types(old) == shown_types(new)
        assert shown_words(old) == shown_words(new)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_saved_is_readable_offline_and_names_no_machine(path):
    saved = nbformat.read(path, as_version=4)
    nbformat.validate(saved)
    outputs = [output for cell in saved.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr" or output.output_type == "error"]
    text = "\n".join(shown_text(output) for output in outputs)
    assert not PLACE.findall(text)
    assert not FROM_THE_NET.findall(text)
    assert not any("execution" in cell.metadata for cell in saved.cells), "times differ from run to run"
    figures = [output.data for output in outputs if PLOTLY in output.get("data", {})]
    assert figures
    for both in figures:
        image = imread(io.BytesIO(base64.b64decode(both["image/png"])), format="png")
        assert image.shape[0] > 200
        colours = (image[..., :3] * 255).astype(np.int64) @ (1 << 16, 1 << 8, 1)
        assert np.unique(colours).size > 10  # there is something on it
        drawn = plotly.graph_objects.Figure(both[PLOTLY]["data"], both[PLOTLY]["layout"])  # which validates
        assert any(x is not None for trace in drawn.data if trace.x is not None for x in trace.x)  # not a legend alone
        assert not PLACE.findall(json.dumps(both[PLOTLY]))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_of_code_shows_a_result(path):
    first = next(cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert first.outputs


@pytest.mark.parametrize("text", ["saved /tmp/abc/points.csv", "see /home/me", r"C:\Users\me"])
def test_a_path_of_a_machine_is_found(text):
    assert PLACE.findall(text)


def shown_types(cell):
    """Kinds of output in order, with their media types; stderr, which says something of the machine, may cut stdout."""
    kinds = [(o.output_type, *sorted(o.get("data", {}))) for o in cell.outputs if o.get("name") != "stderr"]
    return [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before or kind[0] != "stream"]


def shown_words(cell):
    """What the cell shows as text, without the digits: the last ones differ between machines."""
    text = " ".join(shown_text(output) for output in cell.outputs if output.get("name") != "stderr")
    return [word for word in text.split() if not any(c.isdigit() for c in word)]


def shown_text(output):
    if output.output_type == "stream":
        return output.text
    return "\n".join(output.get("data", {}).get(kind, "") for kind in TEXTS)
