from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import CheckpointError, PointError
from quant.external.load import load_external
from quant.identity import fingerprint
from tests import tiny

Save = Callable[..., Path]


class Marks:
    """Unpickled, it leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {self.marker}",))


def indexed(folder: Path, places: dict[str, str]) -> Path:
    """The folder with an index in place of its one file."""
    (folder / "model.safetensors").rename(folder / "whole.safetensors")
    names = dict.fromkeys(load_file(folder / "whole.safetensors"), "whole.safetensors")
    index = {"metadata": {}, "weight_map": {**names, **places}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def test_an_index_of_safetensors_loads(saved: Save) -> None:
    assert load_checkpoint(str(indexed(saved(), {}))).fingerprint == fingerprint(tiny.llama())


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("name", ["evil.bin", "evil.pt", "evil.safetensors.bin", "evil"])
def test_a_pickle_that_an_index_names_is_not_read(saved: Save, marker: Path, name: str, everything: bool) -> None:
    folder = saved()
    torch.save(Marks(marker), folder / name)
    indexed(folder, {"z": name})
    if everything:
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match=rf"{name}, which could run code"):
        load_checkpoint(str(folder))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/passwd.safetensors", "sub/evil.safetensors"])
def test_weights_lie_beside_their_index(saved: Save, name: str) -> None:
    with pytest.raises(CheckpointError, match="files beside it"):
        load_checkpoint(str(indexed(saved(), {"z": name})))


def test_a_shard_that_is_missing_is_named(saved: Save) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors.*no such file"):
        load_checkpoint(str(indexed(saved(), {"z": "gone.safetensors"})))


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "\ud800"], ids=["long", "NUL", "half a pair"])
def test_a_shard_of_a_name_that_no_file_can_have_is_missing(saved: Save, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"expected safetensors in .*no such file"):
        load_checkpoint(str(indexed(saved(), {"z": f"{name}.safetensors"})))


def test_the_same_holds_for_points_of_other_tools(saved: Save, marker: Path) -> None:
    checkpoint, folder = load_checkpoint(str(saved())), saved(name="theirs")
    torch.save(Marks(marker), folder / "evil.bin")
    with pytest.raises(PointError, match=r"evil\.bin, which could run code"):
        load_external(indexed(folder, {"z": "evil.bin"}), checkpoint, "x")
    assert not marker.exists()


def test_snapshots_of_the_hubs_cache_are_links(saved: Save, tmp_path: Path) -> None:
    folder, blobs = indexed(saved(), {}), tmp_path / "blobs"
    snapshot = tmp_path / "snapshots" / "c"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    assert load_checkpoint(str(snapshot)).fingerprint == fingerprint(tiny.llama())


def test_a_configuration_cannot_name_the_weights(saved: Save, marker: Path) -> None:
    folder = saved()
    config = json.loads((folder / "config.json").read_text())
    torch.save(Marks(marker), folder / "adapter_model.bin")
    for name in ("adapter_model.bin", "other.safetensors"):
        (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": name}))
        with pytest.raises(CheckpointError, match="names another file"):
            load_checkpoint(str(folder))
    assert not marker.exists()


def test_an_adapter_is_refused_whether_or_not_peft_is_there(saved: Save) -> None:
    folder = saved()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/one"}))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json.*merge"):
        load_checkpoint(str(folder))


def test_a_distributed_checkpoint_is_refused(saved: Save) -> None:
    folder = saved()
    save_file({"x": torch.ones(1)}, folder / "shard-00000-model-00001-of-00001.safetensors")
    with pytest.raises(CheckpointError, match="distributed"):
        load_checkpoint(str(folder))


def test_quantized_weights_are_refused_wherever_they_are_announced(saved: Save) -> None:
    folder = saved()
    config = json.loads((folder / "config.json").read_text())
    for changes in ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, {"compression_config": {"a": 1}}):
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(CheckpointError, match="name the original model"):
            load_checkpoint(str(folder))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.uint8])
def test_matrices_of_eight_bits_are_quantized_though_nothing_says_so(saved: Save, dtype: torch.dtype) -> None:
    folder = saved()
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    save_file({**tensors, name: (20 * tensors[name]).to(dtype)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"{name} as .*name the original model"):
        load_checkpoint(str(folder))
