"""The built-in model is found in a checkout and from a built wheel alike."""

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


def test_a_wheel_holds_the_packages_and_their_data_and_no_more(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"landscape", "quant"}
    assert {"quant/data/opt-nano/model.safetensors", "quant/data/tales/train.txt.xz"} <= set(names)
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
