"""Hold the source to the plan of the house, and show that every rule can fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.import_rules import (
    TOP,
    dead_references,
    defined_names,
    forbidden_imports,
    homeless_modules,
    homes_of,
    imports,
    imports_beside,
    imports_outside,
    long_files,
    module_names,
    sources,
    upward_imports,
)

# From the top down: a room imports itself and the rooms above it. Radius is so high because curvature builds on it.
ROOMS = {
    "quant": (TOP, "files", "checkpoints", "corpora", "methods", "external"),  # the top level is the mathematics
    "landscape": (
        "positions", "estimators", "probing", "formatting", "session", "health", "survey", "radius", "anatomy",
        "advice", "curvature", "claims", "study", "quantize", "records", "tables", "exports", "cache", "report", "cli",
    ),
}  # fmt: skip
SINGLE_FILES = {"__init__", "formatting", "radius", "quantize"}  # of landscape: rooms that are one file
ONLY = {"landscape/estimators": {"numpy", "scipy", "quant.errors"}}  # and the standard library
HOMES = {
    "h5py": ("landscape/probing/shard_file.py", "landscape/exports"),  # the store, and files for other programs
    "ray": "landscape/probing/ray_cluster.py",
    "plotly": "landscape/report",
    "matplotlib": "landscape/report",
    "jinja2": "landscape/report",
    "cattrs": "landscape/records",
    "typer": "landscape/cli",
    "rich": "landscape/cli",
}
WITHOUT = {
    "quant": {"landscape"},
    "landscape/estimators": {"torch"},
    "landscape/claims": {"torch"},
    "landscape/report": {"torch"},
    "landscape/probing/engines": {
        "landscape.probing.store", "landscape.probing.shards", "landscape.probing.shard_file",
        "landscape.probing.point_file",
        "landscape.probing.atomic_files", "pathlib", "os", "io", "h5py",
    },
}  # fmt: skip
MOST_LINES = 350
HEAVY = {"torch", "transformers", "h5py", "plotly", "scipy", "numpy", "datasets", "ray"}  # not needed by --help
COMMANDS = ("advise", "probe", "study", "radius", "curvature", "anatomy", "quantize", "export", "plot", "report")
CACHE_COMMANDS = ("cache_ls", "cache_show", "cache_verify", "cache_export", "cache_gc")

OLD_MODULES = {
    "opened", "surveyor", "placed", "layout", "wanted", "stored_point", "dissection", "mixed_precision", "advised",
    "radii", "radial", "hessian_product", "anharmonic", "simultaneous", "spread", "sweep", "search", "limits",
    "examine", "typography", "reference", "writable", "usage", "failures",
}  # fmt: skip
OLD_NAMES = {
    "opened", "surveyor", "placed", "wanted", "Made", "External", "Wanted", "Gatherer", "Dissected", "Dissection",
    "Advised", "StoredLosses", "Ground", "ground", "Examined", "Curved", "Placed", "Surveyor", "Survey", "Landscape",
    "Quantization", "Measured", "Limits", "give_advice", "wanted_point", "wanted_points", "concluded",
}  # fmt: skip

ROOT = Path(__file__).parent.parent
LANDSCAPE = ROOMS["landscape"]


def none(found):
    """Fail with all that was found, one per line."""
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_the_rooms_above_it_alone(package):
    none(upward_imports(ROOT, package, ROOMS[package]))


@pytest.mark.parametrize("folder", ONLY)
def test_a_room_with_few_needs_imports_nothing_else(folder):
    none(imports_beside(ROOT, folder, ONLY[folder], sys.stdlib_module_names))


def test_a_library_is_imported_in_its_home_alone():
    none(imports_outside(ROOT, ROOMS, HOMES))


@pytest.mark.parametrize("folder", WITHOUT)
def test_a_room_does_without(folder):
    none(forbidden_imports(ROOT, folder, WITHOUT[folder]))


def test_a_module_of_landscape_stands_in_a_room():
    none(homeless_modules(ROOT, "landscape", SINGLE_FILES))


def test_no_file_is_long():
    none(long_files(ROOT, MOST_LINES))


@pytest.mark.parametrize("package", ROOMS)
def test_no_old_name_is_left(package):
    none([f"{place} {name}" for place, name in module_names(ROOT, package) if name in OLD_MODULES])
    none([f"{place} {name}" for place, name in defined_names(ROOT, package) if name in OLD_NAMES])


def test_every_dotted_name_leads_somewhere():
    none(dead_references(ROOT, tuple(ROOMS)))


def test_nothing_is_unpickled_or_run_from_a_checkpoint():
    for path in (source for package in ROOMS for source in sources(ROOT / package)):
        text = path.read_text()
        assert "pickle" not in {module.split(".")[0] for _, module in imports(path, ROOT)}, path
        assert "torch.load" not in text, path
        assert "trust_remote_code=True" not in text, path


def test_every_command_is_known():
    from landscape.cli import app

    assert tuple(command.callback.__name__ for command in app.registered_commands) == COMMANDS
    (group,) = app.registered_groups
    names = tuple(f"cache_{command.name}" for command in group.typer_instance.registered_commands)
    assert names == CACHE_COMMANDS


@pytest.mark.parametrize("words", ["", *COMMANDS, "cache", *(name.replace("_", " ") for name in CACHE_COMMANDS)])
def test_help_answers_without_heavy_libraries(words):
    code = (
        "import sys; sys.argv = ['landscape', *sys.argv[1:], '--help']\n"
        "from landscape.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-c", code, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (words or "probe") in done.stdout


def test_public_names_are_there():
    import landscape
    import quant

    for package in (landscape, quant):
        assert package.__all__ == sorted(package.__all__)
        for name in package.__all__:
            assert getattr(package, name) is not None
    assert callable(quant.rtn)  # the function, not the module of the same name
    assert callable(landscape.quantize)


# ---- every rule can fail, on a small tree of its own -----------------------------------------------------------------


def grow(root, files):
    """Write files by their paths."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def file_of(room):
    return f"landscape/{room}.py" if room in SINGLE_FILES else f"landscape/{room}/module.py"


@pytest.mark.parametrize("room", LANDSCAPE[:-1])
def test_a_room_that_imports_the_next_below_is_found(room, tmp_path):
    below = LANDSCAPE[LANDSCAPE.index(room) + 1]
    tree = grow(tmp_path, {file_of(room): f"import os\nfrom landscape.{below} import x\n"})
    (found,) = upward_imports(tree, "landscape", LANDSCAPE)
    assert found.endswith(f":2: {room} imports landscape.{below}.x")


@pytest.mark.parametrize("room", LANDSCAPE)
def test_a_room_may_import_itself_and_all_above(room, tmp_path):
    above = LANDSCAPE[: LANDSCAPE.index(room) + 1]
    tree = grow(tmp_path, {file_of(room): "".join(f"from landscape.{other} import x\n" for other in above)})
    assert upward_imports(tree, "landscape", LANDSCAPE) == []


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    import landscape.report.page",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from landscape.report import page",
        "from landscape import report",
        "from ..report import page",
        "from .. import report",
        "import_module('landscape.report')",
        "from landscape import probe",  # through the shop window
        "import landscape",
    ],
)
def test_an_import_is_found_however_it_is_written(text, tmp_path):
    window = {"landscape/__init__.py": "from landscape.report import page"}
    tree = grow(tmp_path, {"landscape/probing/module.py": text, **window})
    assert len(upward_imports(tree, "landscape", LANDSCAPE)) == 1
    assert len(forbidden_imports(tree, "landscape/probing", {"landscape"})) == 1


@pytest.mark.parametrize(("room", "below"), list(zip(ROOMS["quant"], ROOMS["quant"][1:], strict=False)))
def test_quant_imports_its_mathematics_and_the_rooms_above(room, below, tmp_path):
    inside = f"quant/{room}/module.py" if room else "quant/space.py"
    lines = f"from quant.grid import Grid\nfrom quant import grid\nfrom quant.{below} import x\n"
    tree = grow(tmp_path, {"quant/grid.py": "", inside: lines})
    (found,) = upward_imports(tree, "quant", ROOMS["quant"])
    assert found.endswith(f":3: {room or 'quant'} imports quant.{below}.x")


def test_a_folder_that_is_no_room_is_found(tmp_path):
    tree = grow(tmp_path, dict.fromkeys(("landscape/attic/module.py", "landscape/old.py", "quant/attic/module.py"), ""))
    assert upward_imports(tree, "landscape", LANDSCAPE) == [
        "landscape/attic/module.py: in no room of landscape", "landscape/old.py: in no room of landscape"
    ]  # fmt: skip
    assert homeless_modules(tree, "landscape", SINGLE_FILES) == ["landscape/old.py"]
    assert upward_imports(tree, "quant", ROOMS["quant"]) == ["quant/attic/module.py: in no room of quant"]


@pytest.mark.parametrize("module", ["torch", "quant.space", "landscape.positions", "pandas"])
@pytest.mark.parametrize("folder", ONLY)
def test_another_import_of_a_room_with_few_needs_is_found(folder, module, tmp_path):
    lines = f"import math\nimport numpy as np\nfrom scipy import stats\nfrom quant.errors import E\nimport {module}\n"
    tree = grow(tmp_path, {f"{folder}/deep/module.py": lines})
    (found,) = imports_beside(tree, folder, ONLY[folder], sys.stdlib_module_names)
    assert found.endswith(f":5: imports {module}")


@pytest.mark.parametrize("library", HOMES)
def test_a_library_outside_its_home_is_found(library, tmp_path):
    line = f"import {library}.x"
    homes = [home if home.endswith(".py") else f"{home}/module.py" for home in homes_of(library, HOMES)]
    files = [*homes, "landscape/survey/module.py", "quant/space.py"]
    tree = grow(tmp_path, dict.fromkeys(files, line))
    found = imports_outside(tree, ROOMS, HOMES)
    assert [line.split(":")[0] for line in found] == ["quant/space.py", "landscape/survey/module.py"]


@pytest.mark.parametrize(("folder", "module"), [(f, m) for f, modules in WITHOUT.items() for m in sorted(modules)])
def test_a_room_that_does_not_do_without_is_found(folder, module, tmp_path):
    tree = grow(tmp_path, {f"{folder}/module.py": f"import {module}_not\nfrom {module} import x\n"})
    assert forbidden_imports(tree, folder, WITHOUT[folder]) == [f"{folder}/module.py:2: imports {module}.x"]


def test_a_long_file_is_found(tmp_path):
    long = "x = 1\n" * (MOST_LINES + 1)
    tree = grow(tmp_path, {"short.py": long[6:], "tests/long.py": long, ".venv/long.py": long})
    assert long_files(tree, MOST_LINES) == [f"tests/long.py: {MOST_LINES + 1} lines"]


def test_an_old_name_is_found(tmp_path):
    text = "class Ground:\n def f(self):\n  async def opened(): 1"
    tree = grow(tmp_path, {"landscape/surveyor.py": "", "landscape/radii/module.py": text})
    assert {name for _, name in module_names(tree, "landscape")} & OLD_MODULES == {"surveyor", "radii"}
    places = [place for place, name in defined_names(tree, "landscape") if name in OLD_NAMES]
    assert places == ["landscape/radii/module.py:1", "landscape/radii/module.py:3"]


def test_a_dotted_name_that_leads_nowhere_is_found(tmp_path):
    room = "landscape/room"
    text = "# see quant.rtn, landscape.room.here.Here.x, landscape.room and https://a.b/quant.git\nlandscape.field = 1"
    files = {"quant/__init__.py": "rtn = 1", f"{room}/here.py": "class Here:\n  x = 1", f"{room}/a.py": text}
    tree = grow(tmp_path, files)
    assert dead_references(tree, ("quant", "landscape")) == []
    grow(tree, {f"{room}/a.py": "# see ``quant.gptq``,\n# landscape.room.there and landscape.room.here.There\n"})
    assert [line.split(": ")[1] for line in dead_references(tree, ("quant", "landscape"))] == [
        "quant.gptq", "landscape.room.there", "landscape.room.here.There"
    ]  # fmt: skip
