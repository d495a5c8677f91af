"""Input that a sweep found, each with what it did before: all of it is refused in a sentence now."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from landscape.cache.contents import read_store
from landscape.probing.store import Store
from landscape.records.record import FORMAT, VERSION, _hash, read_head
from quant.checkpoints import gguf_metadata
from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.gguf_file import GGUFFile
from quant.errors import CheckpointError, PointError, StoreError
from quant.external.formats import find_codec
from quant.external.layers import StoredLayer
from quant.files.hashed_files import write_hashed
from quant.methods.training_state import read_state
from tests.landscape import stores

STRING, ARRAY = 8, 9


def gguf(*entries: bytes, tensors: int = 0, count: int | None = None) -> bytes:
    """A GGUF file of these entries."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(entries) if count is None else count) + b"".join(entries)


def entry(kind: int, value: bytes, name: bytes = b"general.name") -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + content


HEADERS = {
    "an array of 2^60 numbers, which took for ever and all memory": gguf(entry(ARRAY, array(4, 2**60))),
    "an array of 2^64 - 1 truth values, for ever too": gguf(entry(ARRAY, array(7, 2**64 - 1, bytes(64)))),
    "an array of 2^40 arrays of nothing": gguf(entry(ARRAY, array(ARRAY, 2**40, array(4, 0) * 9))),
    "an array in arrays, 2000 deep": gguf(entry(ARRAY, array(ARRAY, 1) * 2000 + array(4, 0))),
    "a text of 2^63 bytes": gguf(entry(STRING, struct.pack("<Q", 2**63) + b"llama")),
    "a name of 2^64 - 1 bytes": gguf(struct.pack("<Q", 2**64 - 1) + bytes(90)),
    "2^64 - 1 entries": gguf(entry(4, bytes(4)), count=2**64 - 1),
    "2^61 tensors": gguf(entry(4, bytes(4)), tensors=2**61),
    "a tensor of 2^32 - 1 dimensions": gguf(
        entry(4, bytes(4)), struct.pack("<QI", 0, 2**32 - 1) + bytes(40), tensors=1, count=1
    ),
    "200,000 entries, each an object": gguf(*[entry(4, bytes(4), b"x")] * 200_000),
    "2^21 empty texts, which take 56 s and 3 GB": gguf(entry(ARRAY, array(STRING, 2**21, bytes(2**24)))),
    "2^18 tensors": gguf(tensors=2**18) + (struct.pack("<QI", 1, 0) + b"x" + bytes(12)) * 2**18,
    "an unknown type": gguf(entry(99, bytes(8))),
    "a file that ends after its magic": b"GGUF",
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_counts_and_lengths_beyond_a_gguf_file_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^expected .* got .*; fetch the file again"):
        GGUFFile(path)


def test_more_layers_than_tensors_in_a_gguf_file_are_refused(tmp_path: Path) -> None:
    """156 layers beside 21 tensors took transformers a minute: the time to name them grows as their square."""
    path = tmp_path / "x.gguf"
    name = entry(STRING, struct.pack("<Q", 5) + b"llama", b"general.architecture")
    path.write_bytes(gguf(name, entry(4, struct.pack("<I", 156), b"llama.block_count"), count=2) + bytes(64))
    with pytest.raises(CheckpointError, match=r"^expected block_count of at most 1 in .*, got 156; "):
        GGUFFile(path).check_sizes()


@pytest.mark.parametrize("value", [["a"], [[1]], [], "x", "", 2**63, -1.5, float("nan"), [1, "x"], True], ids=str)
@pytest.mark.parametrize("key", sorted({*gguf_metadata._SAME, *gguf_metadata._SPECIAL, *gguf_metadata._NEUTRAL}))
def test_metadata_of_a_gguf_file_of_any_type_is_judged(key: str, value: Any) -> None:
    """A list as ``rope.scaling.type`` was a TypeError."""
    config = LlamaConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, scoring_func="softmax")
    assert gguf_metadata._follows("llama", key, value, config) in (True, False)


GROUP = {"weights": {"num_bits": 4}}
CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "groups in a list: AttributeError": ({"config_groups": [GROUP]}, "an object as config_groups"),
    "a group that is null: AttributeError": ({"config_groups": {"a": 1}}, "an object as a"),
    "weights that are a number: AttributeError": ({"config_groups": {"a": {"weights": 4}}}, "an object as weights"),
    "sparsity in words: AttributeError": ({"sparsity_config": "dense"}, "an object as sparsity_config"),
    "a block of 5000 digits: ValueError": (
        {"config_groups": {"a": {"format": "dense", "weights": {"num_bits": 8, "block_structure": "1" * 5000 + "x8"}}}},
        "two sizes as block_structure",
    ),
}


@pytest.mark.parametrize(("config", "words"), CONFIGS.values(), ids=CONFIGS)
def test_settings_of_compressed_tensors_of_wrong_types_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(PointError, match=f"^expected {words}.*, got .*") as caught:
        find_codec({"quant_method": "compressed-tensors", **config})
    assert len(str(caught.value)) < 300


SOUND = {"format": FORMAT, "version": VERSION, "kind": "survey", "written_by": {}, "command": "landscape probe"}
RUNS: dict[str, dict[str, Any]] = {
    "a kind that is a list: TypeError": {"kind": ["survey"]},
    "a kind that is an object: TypeError": {"kind": {}},
    "a command that is a number, shown as one": {"command": 7},
    "versions in a list, an AttributeError later": {"written_by": ["torch"]},
    "settings in words: ValueError": {"result": {"run": {"settings": "x"}}},
    "a run that is a list: AttributeError": {"result": {"run": [1]}},
    "settings that are a number: TypeError": {"result": {"settings": 4}},
}


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_a_run_whose_head_is_of_wrong_types_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    result = changes.get("result", {"run": {"settings": {}}})
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**SOUND, "sha256": _hash(result), "result": result, **changes}))
    with pytest.raises(StoreError, match=r"^expected (a run with|settings of a run)"):
        read_head(path)


def shard(root: Path, change: Callable[[h5py.File], object], kind: str = "probes") -> Store:
    """A store whose only file of a kind was changed, under the hash of its new bytes."""
    held = stores.store(root)
    held.commit([stores.result("ray/0"), stores.result("ray/1")], {"device": "cpu"})
    held.save_point(POINT, stores.SPACE, stores.float_point())
    (path,) = held.folder.glob(f"{kind}/**/*.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    path.rename(path.with_name(f"{hashlib.sha256(path.read_bytes()).hexdigest()}.h5"))
    return held


def put(key: str, value: Any, **options: Any) -> Callable[[h5py.File], object]:
    """Replace an array."""

    def change(file: h5py.File) -> None:
        del file[key]
        file.create_dataset(key, data=value, **options)

    return change


def linked(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other")
    with h5py.File(other, "w") as theirs:
        theirs["total"] = np.zeros(2)
    del file["total"]
    file["total"] = h5py.ExternalLink(str(other), "total")


def packed(file: h5py.File) -> None:
    put("total", np.zeros(2), compression="gzip", chunks=(2**22,), maxshape=(None,))(file)


def endless(file: h5py.File) -> None:
    del file["total"]
    file.create_dataset("total", (2**40,), "<f8", chunks=(1024,))


POINT = json.dumps({"method": "w_ft"})
PROBES: dict[str, Callable[[h5py.File], object]] = {
    "a place before the first, read as the last": put("position_index", np.array([-1, 0], np.int32)),
    "a place behind the last: IndexError": put("position_index", np.array([0, 7], np.int32)),
    "places that are fractions: TypeError": put("position_index", np.array([0.0, 1.0])),
    "names that are numbers: AttributeError": put("positions", np.arange(2)),
    "names that are not UTF-8: UnicodeDecodeError": put("positions", np.array([b"\xff", b"a"])),
    "a table in two dimensions: AttributeError": put("positions", np.array([[b"a"], [b"b"]])),
    "fewer numbers than names: ValueError": put("total", np.zeros(1)),
    "8 TiB of zeros in a file of 8 kB: MemoryError": endless,
    "a link to the file of another, which was followed": linked,
    "two numbers that take 32 MiB to unpack, or any memory": packed,
    "a group in the place of an array: TypeError": lambda file: (file.__delitem__("total"), file.create_group("total")),
    "an array that is missing: KeyError": lambda file: file.__delitem__("tokens"),
    "records that are a number: TypeError": lambda file: file.attrs.__setitem__("provenances", 7),
    "records that are no list: TypeError later": lambda file: file.attrs.__setitem__("provenances", "7"),
    "records that are missing: KeyError": lambda file: file.attrs.__delitem__("provenances"),
}
ATTRIBUTES: dict[str, Callable[[h5py.File], object]] = {
    "a kind that is a list: ValueError": lambda file: file.attrs.__setitem__("kind", np.arange(3)),
    "a kind that is nothing": lambda file: file.attrs.__setitem__("kind", h5py.Empty("S4")),
    "a model that is no UTF-8": lambda file: file.attrs.__setitem__("model", np.bytes_(b"\xff\xfe")),
    "texts of variable length and kind 3, of which HDF5 died": lambda file: file.attrs.__setitem__("dtype", "float32"),
}
POINTS: dict[str, Callable[[h5py.File], object]] = {
    "a scheme with an unknown field: TypeError": lambda file: file.attrs.__setitem__("scheme", '{"x": 1}'),
    "a scheme with bits in words: TypeError": lambda file: file.attrs.__setitem__("scheme", '{"bits": "4"}'),
    "a scheme that is a number: TypeError": lambda file: file.attrs.__setitem__("scheme", "4"),
    "no space: KeyError": lambda file: file.attrs.__delitem__("space"),
    "a provenance that is deep: RecursionError": lambda file: file.attrs.__setitem__("provenance", "[" * 9000),
    "fewer weights: RuntimeError": put("weights", np.zeros(9, np.float32)),
    "weights in integers, read as they are": put("weights", np.zeros(stores.SPACE.dimension, np.int32)),
}


@pytest.mark.parametrize("change", PROBES.values(), ids=PROBES)
def test_a_shard_with_content_of_another_kind_is_refused(change: Callable[[h5py.File], object], tmp_path: Path) -> None:
    held = shard(tmp_path, change)
    with pytest.raises(StoreError, match=r"^expected .* in /.*|^expected .* of /.*"):
        held.probes()
    contents = read_store(held.folder)
    assert [Path(path).parent.name for path in contents.unread] in (["probes"], [])


@pytest.mark.parametrize("change", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_a_shard_with_attributes_of_another_kind_is_set_aside(
    change: Callable[[h5py.File], object], tmp_path: Path
) -> None:
    held = shard(tmp_path, change)
    (path,) = held.folder.glob("probes/*.h5")
    of_kind_3(path)
    path = path.rename(path.with_name(f"{hashlib.sha256(path.read_bytes()).hexdigest()}.h5"))
    assert read_store(held.folder).unread == (str(path),)
    said: list[str] = []
    assert stores.store(tmp_path, said.append).probes() == {}
    assert len(said) == 1
    assert "is damaged: moved to" in said[0]


def of_kind_3(path: Path) -> None:
    """Change the types of texts of variable length, which is kind 1, into one that does not exist."""
    path.write_bytes(
        path.read_bytes().replace(b"\x19\x01\x01\x00\x10\x00\x00\x00", b"\x19\x03\x01\x00\x10\x00\x00\x00")
    )


def test_a_damaged_shard_is_not_opened_to_show_a_cache(tmp_path: Path) -> None:
    """``landscape cache show`` opened files as they are, and died with HDF5: signal 11."""
    held = shard(tmp_path, lambda file: file.attrs.__setitem__("dtype", "float32"))
    (path,) = held.folder.glob("probes/*.h5")
    assert read_store(held.folder).unread == ()
    of_kind_3(path)
    assert read_store(held.folder).unread == (str(path),)


@pytest.mark.parametrize("change", POINTS.values(), ids=POINTS)
def test_a_point_file_with_content_of_another_kind_is_refused(
    change: Callable[[h5py.File], object], tmp_path: Path
) -> None:
    held = shard(tmp_path, change, "points")
    with pytest.raises(StoreError, match=r"^expected .* in /"):
        held.load_point(POINT, stores.SPACE).tensor(stores.SPACE.slots[0])  # type: ignore[union-attr]
    read_store(held.folder)


CURVE = [{"rate": None, "epoch": 0, "validation_nll": 1.0, "training_nll": None, "test_nll": None}]
PLACE = {"rate_index": 0, "epoch": 0, "watched": None, "curve": CURVE}
LAYOUT = {"best/a": ((2,), torch.float32)}
BEST = {"best/a": torch.zeros(2)}
STATES: dict[str, tuple[object, dict[str, torch.Tensor]]] = {
    "a number: TypeError": (7, BEST),
    "no curve: KeyError": ({"rate_index": 0, "epoch": 0}, BEST),
    "a curve that is null: TypeError": ({**PLACE, "curve": None}, BEST),
    "an empty curve: ValueError": ({**PLACE, "curve": []}, BEST),
    "a row that is null: TypeError": ({**PLACE, "curve": [None]}, BEST),
    "a row with an unknown field: TypeError": ({**PLACE, "curve": [{**CURVE[0], "x": 1}]}, BEST),
    "a loss in words: TypeError": ({**PLACE, "curve": [{**CURVE[0], "validation_nll": "1"}]}, BEST),
    "a rate in a list: TypeError": ({**PLACE, "rate_index": [0]}, BEST),
    "a rate behind the last: nothing was trained": ({**PLACE, "rate_index": 9}, BEST),
    "an epoch before the first: the run would not end": ({**PLACE, "epoch": -1}, BEST),
    "an infinite epoch: OverflowError": ({**PLACE, "epoch": math.inf}, BEST),
    "a tensor of another shape: RuntimeError": (PLACE, {"best/a": torch.zeros(3)}),
    "a tensor of another dtype": (PLACE, {"best/a": torch.zeros(2, dtype=torch.int8)}),
    "a tensor without a kind: ValueError": (PLACE, {**BEST, "x": torch.zeros(2)}),
    "a tensor of another name: KeyError": (PLACE, {"best/b": torch.zeros(2)}),
}


@pytest.mark.parametrize(("place", "tensors"), STATES.values(), ids=STATES)
def test_a_training_state_that_no_run_could_have_saved_is_none(
    place: object, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    write_hashed(path, BEST, {"run": json.dumps(PLACE)})
    assert read_state(path, lambda begun: LAYOUT, 2, 3) is not None
    write_hashed(path, tensors, {"run": json.dumps(place)})
    assert read_state(path, lambda begun: LAYOUT, 2, 3) is None
    for text in ("", "[" * 3000, "1" * 5000, '{"a'):
        write_hashed(path, BEST, {"run": text})
        assert read_state(path, lambda begun: LAYOUT, 2, 3) is None


VOCABULARIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an id below 0": lambda model: model["vocab"].update(w3=-1),
    "an id in words": lambda model: model["vocab"].update(w3="3"),
    "a vocabulary in a list": lambda model: model.update(vocab=[1]),
    "an unknown model": lambda model: model.update(type="x"),
}


@pytest.mark.parametrize("change", VOCABULARIES.values(), ids=VOCABULARIES)
def test_a_tokenizer_that_its_library_does_not_read_is_refused(
    change: Callable[[dict[str, Any]], object], saved: Callable[..., Path]
) -> None:
    """It raised Exception itself, no narrower class, which ended in a traceback."""
    folder = saved()
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content["model"])
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"^expected a causal language model in .*, got: "):
        load_checkpoint(str(folder))


FIELDS: dict[str, tuple[str, torch.Tensor]] = {
    "scales without a dimension: IndexError": ("scales", torch.tensor(1.0)),
    "words in three dimensions: a wrong shape in silence": ("qweight", torch.zeros(2, 2, 2, dtype=torch.int32)),
    "groups in floats of 8 bits: NotImplementedError": ("weight_g_idx", torch.zeros(4).to(torch.float8_e5m2)),
    "complex scales: RuntimeError": ("weight_scale", torch.zeros(4, 1, dtype=torch.complex64)),
    "scales that are truth values, read as 0 and 1": ("weight_scale", torch.ones(4, 1, dtype=torch.bool)),
    "blocks in two dimensions: IndexError": ("blocks", torch.zeros(4, 4, dtype=torch.uint8)),
}


@pytest.mark.parametrize(("field", "tensor"), FIELDS.values(), ids=FIELDS)
def test_a_tensor_of_a_packed_layer_of_another_kind_is_refused(field: str, tensor: torch.Tensor) -> None:
    with pytest.raises(PointError, match=r"^expected .*(dimensions|axis), got "):
        StoredLayer({field: "x"}, lambda name: tensor)[field]
