"""What a store holds is read as it was written."""

import pytest

from landscape.cache.contents import StoredLayers, find_store, read_store
from quant.errors import UsageError
from tests.landscape import stores
from tests.landscape.cache.folders import STORE, content, fill


@pytest.fixture
def root(tmp_path):
    fill(tmp_path)
    return tmp_path


def test_probes_points_and_runs_are_counted(root):
    before = content(root)
    held = read_store(root / STORE)
    assert (held.probes, held.windows) == ({"ray": 4, "w": 2}, 2)
    assert held.probes == {"w": 2, "ray": 4}
    assert (held.model, held.fingerprint, held.dtype) == ("opt-125m", stores.MODEL, "float32")
    assert sorted((point.method, point.grid) for point in held.points) == [
        ("gptq", "int4, absmax, tensor"), ("w_ft", "none")
    ]  # fmt: skip
    assert {point.recipe for point in held.points} == {"damping 0.1, data é", "epochs 1"}
    assert held.layers == (StoredLayers("gptq", matrices=2, windows=1, rows=2),)
    (run,) = held.runs
    assert run.head.command == "landscape probe --model opt-125m"
    assert held.settings == {"settings": {"threads": 1, "evaluation": 3}, "batch-cpu-64": {"windows": 2}}
    assert held.provenances == ({"device": "cpu"},)
    assert held.unread == ()
    assert content(root) == before


def test_what_is_damaged_is_named_and_left(root):
    shard = next((root / STORE / "probes").glob("*.h5"))
    shard.write_bytes(b"no HDF5")
    run = next((root / STORE / "runs").glob("*.json"))
    run.write_text("{")
    held = read_store(root / STORE)
    assert held.unread == (str(shard),)
    assert sum(held.probes.values()) == 4
    assert "expected JSON in" in held.runs[0].reason
    assert shard.exists()


@pytest.mark.parametrize("name", [STORE, STORE[:5], "opt-125m"])
def test_a_store_is_found_by_its_name_its_beginning_or_its_model(name, root):
    assert find_store(name, root) == root / STORE


def test_a_name_that_is_none_is_refused_with_those_that_are(root):
    with pytest.raises(UsageError, match=rf"stores there: {STORE} \(opt-125m\)"):
        find_store("zz", root)
    (root / f"{'ab' * 8}-bfloat16").mkdir()
    (root / f"{'ab' * 8}-bfloat16" / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="which 2 have"):
        find_store("abab", root)
