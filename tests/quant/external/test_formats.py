from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import PointError
from quant.external.formats import find_codec
from quant.external.load import load_external
from tests import tiny
from tests.quant.external import packers
from tests.quant.external.folders import (
    AWQ,
    BESIDE,
    GPTQ,
    KINDS,
    Save,
    assert_is,
    compressed,
    compressed_layer,
    edit,
    gptq_layer,
    write,
)


@pytest.fixture
def checkpoint(saved: Save) -> Checkpoint:
    return load_checkpoint(str(saved()))


@pytest.mark.parametrize("file", BESIDE)
def test_settings_may_lie_beside_the_configuration(checkpoint: Checkpoint, tmp_path: Path, file: str) -> None:
    settings, make = BESIDE[file]
    folder = tmp_path / "theirs"
    expected = write(folder, checkpoint, {}, make)
    (folder / file).write_text(json.dumps(settings))
    assert_is(folder, checkpoint, expected)
    record = load_external(folder, checkpoint, "theirs").provenance
    assert record["quantization_config"] == {"quant_method": record["format"], **settings}
    marlin = {"version": "GEMV"} if file.startswith("quant_") else {"is_marlin_format": True}
    (folder / file).write_text(json.dumps({**settings, **marlin}))
    with pytest.raises(PointError, match=r"gemv|marlin"):
        load_external(folder, checkpoint, "theirs")


def test_configuration_comes_before_the_file_beside_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    config = {**GPTQ, "checkpoint_format": "gptq_v2"}
    expected = write(tmp_path / "theirs", checkpoint, config, lambda slot: gptq_layer(slot, less_one=False))
    (tmp_path / "theirs" / "quantize_config.json").write_text(json.dumps({"bits": 4, "checkpoint_format": "gptq"}))
    assert_is(tmp_path / "theirs", checkpoint, expected)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["gptq", "int-quantized"])
def test_quantized_head_is_recorded_and_left_out(saved: Save, tmp_path: Path, kind: str, tied: bool) -> None:
    """The point is the decoder stack with the checkpoint's own head; how far theirs is from it is in the record."""
    model = tiny.llama()
    model.config.vocab_size = 64  # a multiple of 8, which words of zero-points need
    model.config.tie_word_embeddings = tied
    checkpoint = load_checkpoint(str(saved(type(model)(model.config))))
    config, make = KINDS[kind]
    folder = tmp_path / "theirs"
    expected = write(folder, checkpoint, config, make)
    head = checkpoint.model.lm_head.weight.detach()
    scale = (head.abs().amax(1, keepdim=True) / 7).half()
    codes = torch.round(head / scale).long().clamp(-7, 7)
    rounded = codes.double() * scale.double()
    if kind == "gptq":
        zeros = np.full((64, 1), 8)
        fields = {**packers.gptq(codes.numpy() + 8, zeros, 4), "scales": scale.T.contiguous()}
        fields["g_idx"] = torch.zeros(16, dtype=torch.int32)
    else:
        fields = {"weight": codes.to(torch.int8), "weight_scale": scale, "input_scale": torch.ones(1)}

    def change(tensors: dict[str, Tensor]) -> None:
        tensors.pop("lm_head.weight", None)
        tensors |= {f"lm_head.{field}": tensor for field, tensor in fields.items()}

    edit(folder, change)
    assert_is(folder, checkpoint, expected)
    distance = float((rounded - head.double()).norm() / head.double().norm())
    assert load_external(folder, checkpoint, "x").provenance["rounded_outside"] == {
        "lm_head.weight": pytest.approx(distance, rel=1e-6)
    }
    edit(folder, lambda t: [t[f"lm_head.{f}"].neg_() for f in ("scales", "weight_scale") if f"lm_head.{f}" in t])
    with pytest.raises(PointError, match=r"lm_head\.weight of .* to be a rounding of the checkpoint's"):
        load_external(folder, checkpoint, "x")


SIGNS = {
    "bitsandbytes": {"model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4": torch.ones(3)},
    "torchao": {"model.layers.0.mlp.up_proj._weight_qdata": torch.ones(3)},
    "quanto": {"model.layers.0.mlp.up_proj.weight._data": torch.ones(3)},
    "hqq": {"model.layers.0.mlp.up_proj.W_q": torch.ones(3)},
}


@pytest.mark.parametrize("tool", SIGNS)
def test_tools_that_leave_no_configuration_are_known_by_their_tensors(
    saved: Save, checkpoint: Checkpoint, tool: str
) -> None:
    folder = saved(name="theirs")
    edit(folder, lambda t: t.update(SIGNS[tool]))
    with pytest.raises(PointError, match=f"of {tool}; .*plain safetensors"):
        load_external(folder, checkpoint, "x")


def test_quanto_is_known_by_its_map(saved: Save, checkpoint: Checkpoint) -> None:
    folder = saved(name="theirs")
    (folder / "quanto_qmap.json").write_text("{}")
    with pytest.raises(PointError, match=r"quanto_qmap\.json of quanto"):
        load_external(folder, checkpoint, "x")


@pytest.mark.parametrize("bits", [3, 5, 6, 7])
def test_fields_that_straddle_words(saved: Save, tmp_path: Path, bits: int) -> None:
    """compressed-tensors packs odd widths as one stream; older releases did not, as whole words show."""
    model = tiny.llama()
    model.config.hidden_size, model.config.intermediate_size, model.config.head_dim = 32, 64, 8
    checkpoint = load_checkpoint(str(saved(type(model)(model.config))))
    expected = write(tmp_path / "theirs", checkpoint, compressed(bits=bits), lambda slot: compressed_layer(slot, bits))
    assert_is(tmp_path / "theirs", checkpoint, expected)
    narrow = load_checkpoint(str(saved(name="narrow model")))
    write(tmp_path / "narrow", narrow, compressed(bits=bits), lambda slot: compressed_layer(slot, bits))
    point = load_external(tmp_path / "narrow", narrow, "x")
    down = next(slot for slot in narrow.space if "down" in slot.name)  # 24 inputs
    with pytest.raises(PointError, match="two releases of compressed-tensors pack in two ways"):
        point.tensor(down)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bits": 4}, "got 'none'"),
        ({"quant_method": "of tomorrow"}, "got 'of tomorrow'; dequantize"),
        ({"quant_method": "bitsandbytes"}, "'bitsandbytes', which is not read; .*dequantize"),
        ({"quant_method": "torchao"}, "'torchao', which is not read; .*plain safetensors"),
        ({"quant_method": "quanto"}, "'quanto', which is not read; .*optimum-quanto"),
        ({"quant_method": "hqq"}, "'hqq', which is not read"),
        ({"quant_method": "aqlm"}, "'aqlm', which is not read; .*codebooks"),
        ({"quant_method": "vptq"}, "'vptq', which is not read"),
        ({"quant_method": "spqr"}, "'spqr', which is not read"),
        ({"quant_method": "higgs"}, "'higgs', which is not read"),
        ({"quant_method": "eetq"}, "'eetq', which is not read"),
        ({"quant_method": "quip"}, "'quip', which is not read"),
        ({"quant_method": "fp_quant"}, "'fp_quant', which is not read"),
        ({"quant_method": "bitnet"}, "'bitnet', which is not read; .*trained on three values"),
        ({"quant_method": "quark"}, "'quark', which is not read"),
        ({**GPTQ, "checkpoint_format": "marlin"}, "checkpoint_format gptq or gptq_v2, got 'marlin'"),
        ({**GPTQ, "is_marlin_format": True}, "got is_marlin_format"),
        ({**GPTQ, "hadamard_config": {"block": 32}}, "coordinates of the checkpoint, found hadamard_config"),
        ({**AWQ, "version": "gemv"}, "version gemm, got 'gemv'"),
        ({**AWQ, "bits": 8}, "bits 4, got 8"),
        ({"quant_method": "auto-round", "packing_format": "auto_round:fp8_static"}, "got 'auto_round:fp8_static'"),
        ({"quant_method": "auto-round", "data_type": "mx_fp"}, "data_type int or int_sym or int_asym, got 'mx_fp'"),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, "quant_algo FP8 or NVFP4, got 'W4A8_AWQ'"),
        (
            {"quant_method": "fp8", "weight_scale_semantics": "log2"},
            "expected weight_scale_semantics inverse, or none, got 'log2'",
        ),
        ({"quant_method": "fp8", "weight_block_size": [128]}, r"two sizes as weight_block_size, got \[128\]"),
        ({"quant_method": "fp8", "weight_block_size": [0, 8]}, r"two sizes as weight_block_size, got \[0, 8\]"),
        (compressed("marlin-24"), "format dense or pack-quantized.*got 'marlin-24'"),
        (compressed(bits=9), "num_bits .* 8, got 9"),
        (compressed("naive-quantized", 16, type="float"), "num_bits 4 or 6 or 8, got 16"),
        (compressed("naive-quantized", 8, type="complex"), "weights of type int or float, got 'complex'"),
        (
            {**compressed(), "transform_config": {"config_groups": {"u": {"type": "hadamard"}}}},
            "found transform_config",
        ),
        ({**compressed(), "sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity format dense, got 'sparse-24"),
        (["gptq"], "quantization_config as an object"),
    ],
)
def test_unknown_formats(checkpoint: Checkpoint, tmp_path: Path, config: object, message: str) -> None:
    write(tmp_path / "theirs", checkpoint, config, gptq_layer)  # type: ignore[arg-type]
    with pytest.raises(PointError, match=message) as caught:
        load_external(tmp_path / "theirs", checkpoint, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pack-quantized", "int-quantized"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config_groups", "abc"),
        ("config_groups", [1]),
        ("config_groups", {"group_0": 1}),
        ("config_groups", {"group_0": {"targets": ["Linear"], "weights": 1}}),
        ("sparsity_config", ["dense"]),
    ],
    ids=str,
)
def test_settings_of_another_kind_are_refused(kind: str, key: str, value: object) -> None:
    config = {"quant_method": "compressed-tensors", "format": kind, "config_groups": {}, key: value}
    with pytest.raises(PointError, match=r"expected an object as (config_groups|group_0|weights|sparsity_config) of"):
        find_codec(config)


ODD = {
    "a single number": (("qweight", "qzeros", "scales", "weight_packed"), lambda t: t.flatten()[0].clone()),
    "int32": (("scales", "weight_scale"), lambda t: t.int()),
    "bool": (("scales", "weight_scale", "g_idx", "weight_g_idx"), lambda t: t.bool()),
    "complex64": (("scales", "weight_scale", "g_idx", "weight_g_idx"), lambda t: t.to(torch.complex64)),
    "uint8": (("scales", "weight_scale"), lambda t: t.to(torch.uint8)),
}
"""Kinds of tensors that no tool writes, and the fields that they are put in."""


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", ["gptq", "awq", "pack-quantized"])
def test_a_tensor_of_another_kind_is_refused(checkpoint: Checkpoint, tmp_path: Path, kind: str, odd: str) -> None:
    config, make = KINDS[kind]
    folder, slot = tmp_path / "theirs", next(iter(checkpoint.space))
    write(folder, checkpoint, config, make)
    layer, file = slot.name.removesuffix(".weight"), folder / "model.safetensors"
    whole = load_file(file)
    fields, change = ODD[odd]
    for name in [f"{layer}.{field}" for field in fields if f"{layer}.{field}" in whole]:
        save_file(whole | {name: change(whole[name])}, file, {"format": "pt"})
        with pytest.raises(
            PointError, match=rf"expected (floats|integers|.* at least one axis|.* dimensions).* got {odd}"
        ):
            load_external(folder, checkpoint, "theirs").tensor(slot)
