"""The shape of the house: what may import what."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "quant").rglob("*.py"), *(ROOT / "landscape").rglob("*.py")])


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def importers(module):
    return [
        str(p.relative_to(ROOT)) for p in SOURCES if any(i == module or i.startswith(f"{module}.") for i in imports(p))
    ]


def test_quant_never_imports_landscape():
    assert not [path for path in importers("landscape") if path.startswith("quant/")]


@pytest.mark.parametrize(
    ("module", "home"), [("h5py", "landscape/probing/shards.py"), ("plotly", "landscape/report/plot.py")]
)
def test_a_format_has_one_importer(module, home):
    assert importers(module) == [home]


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("estimators", {"numpy", "scipy", "landscape.estimators", "quant.errors"}),
        ("positions", {"numpy", "torch", "landscape.positions", "quant"}),
    ],
)
def test_the_mathematics_of_landscape_needs_nothing_below_it(room, allowed):
    for path in (ROOT / "landscape" / room).glob("*.py"):
        others = {i for i in imports(path) if i.split(".")[0] not in sys.stdlib_module_names}
        assert not {i for i in others if not any(i == a or i.startswith(f"{a}.") for a in allowed)}, path


def test_a_loss_limit_is_read_without_numpy():
    code = "import sys; import landscape.estimators.loss_limit; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_nothing_is_unpickled_or_run_from_a_checkpoint():
    for path in SOURCES:
        text = path.read_text()
        assert "pickle" not in {i.split(".")[0] for i in imports(path)}, path
        assert "torch.load" not in text, path
        assert "trust_remote_code=True" not in text, path


def test_engines_know_nothing_of_files():
    for path in (ROOT / "landscape/probing/engines").glob("*.py"):
        assert not {"landscape.probing.store", "landscape.probing.shards", "pathlib", "h5py"} & set(imports(path)), path


@pytest.mark.parametrize("words", [[], ["probe"]])
def test_help_answers_without_torch(words):
    code = (
        "import sys; sys.argv = ['landscape', *sys.argv[1:], '--help']\n"
        "from landscape.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'h5py', 'plotly', 'scipy', 'numpy', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "probe" in done.stdout


def test_public_names_are_there():
    import landscape
    import quant

    for package in (landscape, quant):
        assert package.__all__ == sorted(package.__all__)
        for name in package.__all__:
            assert getattr(package, name) is not None
    assert callable(quant.rtn)  # the function, not the module of the same name
