from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from quant.center import Center
from quant.checkpoints import export
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.checkpoints.export import export_point
from quant.errors import PointError, StoreError, UsageError
from quant.external.load import load_external
from quant.grid import GridTensor, make_grid
from quant.identity import fingerprint
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from tests import tiny

Save = Callable[..., Path]


def int3(checkpoint: Checkpoint) -> WeightPoint:
    center = Center.of(checkpoint.model, checkpoint.space)
    return rtn(checkpoint.space, center, QuantScheme(3, granularity="channel"))


@pytest.fixture
def checkpoint(saved: Save) -> Checkpoint:
    return load_checkpoint(str(saved()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_transformers_loads_the_point_bit_for_bit(saved: Save, tmp_path: Path, architecture: str, dtype: str) -> None:
    checkpoint = load_checkpoint(str(saved(tiny.ARCHITECTURES[architecture]())), dtype=dtype)
    before, point = fingerprint(checkpoint.model), int3(checkpoint)
    export_point(checkpoint, point, tmp_path / "out")
    assert fingerprint(checkpoint.model) == before
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values()), info
    slots = {slot.name: slot for slot in checkpoint.space}
    for name, tensor in loaded.state_dict().items():
        own = point.tensor(slots[name]) if name in slots else checkpoint.model.state_dict()[name].float()
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, own), name
    assert loaded.config.tie_word_embeddings == checkpoint.model.config.tie_word_embeddings
    back = load_external(tmp_path / "out", checkpoint, "back")
    assert back.fingerprint(checkpoint.space) == point.fingerprint(checkpoint.space)


@pytest.mark.parametrize("make", [tiny.gpt2, tiny.opt])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tied_weights_stay_tied_and_are_stored_once(
    saved: Save, tmp_path: Path, make: Callable[[], torch.nn.Module], dtype: str
) -> None:
    checkpoint = load_checkpoint(str(saved(make())), dtype=dtype)
    export_point(checkpoint, int3(checkpoint), tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")


def test_logits_and_tokenizer_are_the_same(checkpoint: Checkpoint, tmp_path: Path) -> None:
    point = int3(checkpoint)
    export_point(checkpoint, point, tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    checkpoint.space.write(checkpoint.model, point)
    ids = tiny.windows(2)
    assert torch.equal(loaded(ids).logits, checkpoint.model(ids).logits)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("w3 w9")["input_ids"] == checkpoint.tokenizer("w3 w9")["input_ids"]


def test_codes_and_scales_are_beside_the_weights(checkpoint: Checkpoint, tmp_path: Path) -> None:
    point = int3(checkpoint)
    export_point(checkpoint, point, tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "codes" / "quantization.safetensors")
    assert len(tensors) == 2 * len(checkpoint.space.slots)
    for slot in checkpoint.space:
        part = point.parts[slot.name]
        assert isinstance(part, GridTensor)
        codes, scale = tensors[f"{slot.name}.codes"], tensors[f"{slot.name}.scale"]
        assert (codes.dtype, scale.dtype) == (torch.int8, torch.float32)
        assert torch.equal(codes, part.codes)
        assert torch.equal(scale, part.scale)
    record = json.loads((tmp_path / "out" / "codes" / "quantization.json").read_text())
    assert record == {
        "method": "rtn",
        "scheme": {"bits": 3, "scale": "exact", "granularity": "channel", "symmetric": True},
        "provenance": dict(point.provenance),
    }
    with safe_open(tmp_path / "out" / "codes" / "quantization.safetensors", "pt") as file:
        assert file.metadata() == {"method": "rtn", "scheme": "int3-exact-per-channel"}


def test_the_zeros_of_an_asymmetric_grid_are_exported(checkpoint: Checkpoint, tmp_path: Path) -> None:
    scheme = QuantScheme(3, "absmax", "group:8", symmetric=False)
    point = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), scheme)
    export_point(checkpoint, point, tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "codes" / "quantization.safetensors")
    for slot in checkpoint.space:
        codes, scale, zero = (tensors[f"{slot.name}.{key}"] for key in ("codes", "scale", "zero"))
        assert zero.shape == scale.shape == scheme.scale_shape(slot)
        grid = make_grid(slot, scheme, scale, zero)
        assert torch.equal(grid.decode(codes.float()), point.tensor(slot))


@pytest.mark.parametrize("name", ["nvfp4", "fp8"])
def test_a_float_format_decodes_by_the_levels_beside_it(name: str, saved: Save, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(str(saved(tiny.gpt2())))  # whose 16 and 64 inputs are whole groups, and rows
    point = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), QuantScheme.of_format(name))
    export_point(checkpoint, point, tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "codes" / "quantization.safetensors")
    scheme = json.loads((tmp_path / "out" / "codes" / "quantization.json").read_text())["scheme"]
    levels = torch.tensor(scheme["levels"])
    assert (scheme["format"], len(levels)) == (name, {"nvfp4": 8, "fp8": 127}[name])
    for slot in checkpoint.space:
        codes, scale = (tensors[f"{slot.name}.{key}"] for key in ("codes", "scale"))
        values = codes.sign() * levels[codes.abs().int()]
        spread = scale.repeat_interleave(len(values) // len(scale), 0)
        assert torch.equal(values * spread, point.tensor(slot))


def test_point_on_no_grid_has_a_record_but_no_codes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    parts = {slot.name: torch.randn(slot.shape) for slot in checkpoint.space}
    point = WeightPoint("w_ft", None, parts, {"note": "trained"})
    export_point(checkpoint, point, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "codes").iterdir()] == ["quantization.json"]
    record = json.loads((tmp_path / "out" / "codes" / "quantization.json").read_text())
    assert record == {"method": "w_ft", "scheme": None, "provenance": {"note": "trained"}}
    back = load_external(tmp_path / "out", checkpoint, "back")
    assert back.fingerprint(checkpoint.space) == point.fingerprint(checkpoint.space)


def test_only_a_new_or_an_empty_folder_is_written(checkpoint: Checkpoint, tmp_path: Path) -> None:
    point = int3(checkpoint)
    (tmp_path / "empty").mkdir()
    export_point(checkpoint, point, tmp_path / "empty")
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "precious").write_text("mine")
    file.write_text("mine")
    refusals = {
        full: "holds something",
        tmp_path / "empty": "holds something",
        file: "is a file",
        file / "a": "is a file",
    }
    for target, refusal in refusals.items():
        with pytest.raises(UsageError, match=f"folder as --export, .*'{target}'.* {refusal}.*; choose another$"):
            export_point(checkpoint, point, target)
    assert [path.name for path in full.iterdir()] == ["precious"]
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("problem", "error"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError("full"), StoreError)]
)
def test_folder_appears_whole_or_not_at_all(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, error: type
) -> None:
    before = sorted(tmp_path.iterdir())

    def fail(*arguments: object) -> None:
        raise problem

    monkeypatch.setattr(export, "_save_codes", fail)
    with pytest.raises(error) as failed:
        export_point(checkpoint, int3(checkpoint), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    if error is StoreError:
        assert str(failed.value).endswith("got: full; free some space, or choose another --export")


def test_point_of_another_model_is_refused(checkpoint: Checkpoint, saved: Save, tmp_path: Path) -> None:
    other = load_checkpoint(str(saved(tiny.opt(), "opt")))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(PointError, match="made for another model"):
        export_point(checkpoint, int3(other), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_printed(checkpoint: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging.set_verbosity_warning()
    logging.enable_progress_bar()
    capfd.readouterr()
    export_point(checkpoint, int3(checkpoint), tmp_path / "out")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
