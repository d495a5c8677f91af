"""Run the notebooks and save them with their output: ``python -m tests.run_notebooks [NAME …]``, all by default."""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from benchmarks.pictures import few_colours

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PATIENCE = 900  # seconds for one cell, on a busy machine


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in a folder, and return it with its output, without times and stderr.

    Both are of the machine: libraries warn on stderr with the paths of their files.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=PATIENCE, resources=resources, record_timing=False, coalesce_streams=True
    ).execute()
    notebook.metadata.language_info.pop("version", None)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for data in (output.data for output in cell.outputs if "image/png" in output.get("data", {})):
            data["image/png"] = base64.b64encode(few_colours(base64.b64decode(data["image/png"]))).decode()
    return notebook


def main(names: list[str]) -> None:
    """Run the notebooks whose names contain one of these, in a cache of their own, and save them."""
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    for path in NOTEBOOKS:
        if names and not any(name in path.stem for name in names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LANDSCAPE_CACHE"] = folder
            started = time.monotonic()
            nbformat.write(executed(path, Path(folder)), path)
            print(f"{path.name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
