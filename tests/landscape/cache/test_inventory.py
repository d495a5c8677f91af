"""All files of a cache are counted once, under what they are."""

from collections import Counter

import pytest

from landscape.cache.inventory import last_use, list_units, models_of
from tests.landscape.cache.folders import DAY, STORE, content, fill, set_age


@pytest.fixture
def root(tmp_path):
    fill(tmp_path)
    return tmp_path


def test_everything_is_listed_once_with_its_size(root):
    units = list_units(root)
    assert Counter(unit.kind for unit in units) == {
        "probes": 1, "layers": 1, "point": 2, "training": 1, "run": 1, "settings": 2, "tokens": 1, "self": 1,
        "conversion": 1, "study": 1, "leftover": 3, "unknown": 2,
    }  # fmt: skip
    files = content(root)
    assert sum(unit.size for unit in units) == sum(map(len, files.values()))
    assert sum(unit.files for unit in units) == len(files)
    assert {unit.store for unit in units if unit.kind in ("probes", "point", "training", "run")} == {STORE}
    assert {unit.name for unit in units if unit.kind == "conversion"} == {"small.gguf (gguf-cdcdcdcd)"}


def test_the_model_of_a_store_is_that_of_its_runs(root):
    assert models_of(list_units(root)) == {STORE: "opt-125m"}


def test_times_are_those_of_the_files(root):
    set_age(root, 5 * DAY)
    before = {unit.path: unit.used for unit in list_units(root)}
    (point, other) = [unit.path for unit in list_units(root) if unit.kind == "point"]
    set_age(point, DAY)
    assert last_use(point) - before[point] == pytest.approx(4 * DAY, abs=60)
    assert last_use(other) == before[other]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert list_units(tmp_path / "none") == []
