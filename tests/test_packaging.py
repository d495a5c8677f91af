"""A built wheel holds the packages and no more, and finds the built-in model as a checkout does."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOW = (
    "import json, quant, landscape\n"
    "from quant import load_checkpoint, load_corpus\n"
    "checkpoint = load_checkpoint('opt-nano')\n"
    "corpus = load_corpus('tales', checkpoint, 64)\n"
    "from jinja2 import PackageLoader\n"
    "templates = PackageLoader('landscape.report').list_templates()\n"
    "print(json.dumps([quant.__file__, checkpoint.fingerprint, corpus.fingerprint, templates]))\n"
)


def describe(folder, cwd):
    environment = {**os.environ, "PYTHONPATH": str(folder), "LANDSCAPE_CACHE": str(cwd)}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def files_in(folder, *suffixes):
    """The paths under a folder of the repository, all of them or those of some kinds."""
    paths = [
        path for path in (ROOT / folder).rglob("*") if path.is_file() and (not suffixes or path.suffix in suffixes)
    ]
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_a_wheel_holds_modules_templates_and_the_built_in_model_and_no_more(wheel):
    """No page of results, no row, no script of the benchmarks."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    code = {path for package in ("landscape", "quant") for path in files_in(package, ".py", ".html", ".css", ".js")}
    data = {f"quant/{path}" for folder in ("data/opt-nano", "data/tales") for path in files_in(folder)}
    assert {"landscape/report/templates/page.css", "quant/methods/gptq.py"} <= code
    assert {"quant/data/opt-nano/model.safetensors", "quant/data/tales/train.txt.xz"} <= data
    assert sorted(names) == sorted(code | data)
    assert not [name for name in names if name.endswith((".md", ".jsonl"))]


def test_a_wheel_describes_itself_by_the_readme(wheel):
    archive = zipfile.ZipFile(wheel)
    described = {name.split("/", 1)[1] for name in archive.namelist() if ".dist-info/" in name}
    assert described == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
    assert archive.read(metadata).decode().endswith((ROOT / "README.md").read_text())
    assert wheel.name.startswith("quant_landscape-")
    assert wheel.stat().st_size < 8e6


def test_the_built_in_model_is_the_same_from_a_wheel_and_in_a_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    installed = describe(tmp_path / "site", tmp_path)
    editable = describe(ROOT, tmp_path)
    assert installed[0].startswith(str(tmp_path))
    assert editable[0].startswith(str(ROOT))
    assert installed[1:] == editable[1:]
    assert {"frame.html", "page.css", "survey.html", "anatomy.html"} <= set(installed[3])
