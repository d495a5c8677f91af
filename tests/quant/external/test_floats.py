from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import PointError
from quant.external.floats import e2m1, e2m3, scaled_floats
from quant.external.load import load_external
from quant.space import Slot
from tests.quant.external.folders import Layer, assert_is, edit, write

Save = Callable[..., Path]
FP8 = torch.float8_e4m3fn
E2M1 = (0, 0.5, 1, 1.5, 2, 3, 4, 6)


def e4m3(byte: int) -> float:
    """By the definition of the format: 1 sign, 4 exponent, 3 mantissa bits, bias 7."""
    sign, exponent, mantissa = -1 if byte >> 7 else 1, byte >> 3 & 15, byte & 7
    return float(sign * (mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)))


def e2m3_by_hand(code: int) -> float:
    sign, exponent, mantissa = -1 if code >> 5 else 1, code >> 3 & 3, code & 7
    return float(sign * (mantissa / 8 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 1)))


def drawn_bytes(slot: Slot, shape: tuple[int, ...], high: int = 256) -> Tensor:
    generator = np.random.default_rng(slot.offset)
    return torch.from_numpy(generator.integers(0, high, shape, dtype=np.uint8))


def fp8_values(slot: Slot) -> tuple[Tensor, Tensor]:
    """Codes without NaN, and their values by hand."""
    codes = drawn_bytes(slot, slot.shape)
    codes[(codes & 127) == 127] = 1
    values = torch.tensor([[e4m3(int(byte)) for byte in row] for row in codes], dtype=torch.float64)
    return codes.view(FP8), values


def fp8_layer(
    slot: Slot, shape: tuple[int, ...], spread: Callable[[Tensor], Tensor], name: str = "weight_scale"
) -> Layer:
    weight, values = fp8_values(slot)
    scale = torch.from_numpy(np.random.default_rng(1).uniform(0.001, 0.1, shape)).float()
    return {"weight": weight, name: scale}, (values * spread(scale.double())).float()


def blocks(slot: Slot, size: int = 8) -> tuple[tuple[int, int], Callable[[Tensor], Tensor]]:
    rows, columns = slot.shape

    def spread(scale: Tensor) -> Tensor:
        return scale.repeat_interleave(size, 0)[:rows].repeat_interleave(size, 1)[:, :columns]

    return (-(-rows // size), -(-columns // size)), spread


def nvfp4_layer(
    slot: Slot, shared: str = "weight_global_scale", packed: str = "weight_packed", group: int = 8
) -> Layer:
    rows, columns = slot.shape
    weight, values = fp4_values(slot)
    codes = drawn_bytes(slot, (rows, columns // group), 120) + 1
    scale = torch.tensor([[e4m3(int(byte)) for byte in row] for row in codes], dtype=torch.float64)
    one = torch.tensor([37.3])
    factor = 1 / one.double() if shared == "weight_global_scale" else one.double()
    tensors = {packed: weight, "weight_scale": codes.view(FP8), shared: one}
    return tensors, (values * scale.repeat_interleave(group, 1) * factor).float()


def fp4_values(slot: Slot) -> tuple[Tensor, Tensor]:
    rows, columns = slot.shape
    packed = drawn_bytes(slot, (rows, columns // 2))
    values = torch.zeros(rows, columns, dtype=torch.float64)
    for row, column in np.ndindex(*packed.shape):
        for half in range(2):
            code = int(packed[row, column]) >> 4 * half & 15
            values[row, 2 * column + half] = (-1) ** (code >> 3) * E2M1[code & 7]
    return packed, values


def mx_layer(slot: Slot, bits: int) -> Layer:
    rows, columns = slot.shape
    scale = drawn_bytes(slot, (rows, columns // 8), 20) + 115
    if bits == 4:
        (weight, values), name = fp4_values(slot), "weight_packed"
    elif bits == 8:
        (weight, values), name = fp8_values(slot), "weight"
    else:
        weight, name = drawn_bytes(slot, (rows, columns * 3 // 4)), "weight_packed"
        values = torch.zeros(rows, columns, dtype=torch.float64)
        for row, place in np.ndindex(rows, columns // 4):
            word = sum(int(weight[row, 3 * place + k]) << 8 * k for k in range(3))
            values[row, 4 * place : 4 * place + 4] = torch.tensor([e2m3_by_hand(word >> 6 * k & 63) for k in range(4)])
    factors = torch.tensor([[2.0 ** (int(e) - 127) for e in row] for row in scale], dtype=torch.float64)
    return {name: weight, "weight_scale": scale}, (values * factors.repeat_interleave(8, 1)).float()


def config(form: str, bits: int, kind: str = "float", **weights: object) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"num_bits": bits, "type": kind, **weights}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}


def ct_block(slot: Slot) -> Layer:
    return fp8_layer(slot, *blocks(slot))


def deepseek(slot: Slot) -> Layer:
    return fp8_layer(slot, *blocks(slot), name="weight_scale_inv")


def per_tensor(slot: Slot, name: str = "weight_scale") -> Layer:
    tensors, weight = fp8_layer(slot, (1,), lambda scale: scale.reshape(1, 1), name)
    return {**tensors, "input_scale": torch.ones(1)}, weight


def per_channel(slot: Slot) -> Layer:
    return fp8_layer(slot, (slot.shape[0], 1), lambda scale: scale)


def gptqmodel_fp8(slot: Slot, block: bool = False) -> Layer:
    """Written as ``dequantize_weight`` of GPTQModel's qlinear/fp8.py reads it: the value over the stored number."""
    weight, values = fp8_values(slot)
    shape, spread = blocks(slot) if block else (slot.shape[:1], lambda scale: scale[:, None])
    inverse = torch.from_numpy(np.random.default_rng(1).uniform(10, 1000, shape)).float()
    return {"weight": weight, "weight_scale_inv": inverse}, (values / spread(inverse.double())).float()


GPTQMODEL_FP8 = {"quant_method": "fp8", "format": "float8_e4m3fn", "checkpoint_format": "float8_e4m3fn",
                 "weight_scale_semantics": "inverse", "bits": 8}  # fmt: skip
FORMATS: dict[str, tuple[dict[str, Any], Callable[[Slot], Layer]]] = {
    "FP8": (config("float-quantized", 8, strategy="tensor"), per_tensor),
    "FP8_DYNAMIC": (config("float-quantized", 8, strategy="channel"), per_channel),
    "FP8 of older releases": (config("naive-quantized", 8), per_channel),
    "FP8_BLOCK": (config("float-quantized", 8, strategy="block", block_structure=[8, 8]), ct_block),
    "FP8_BLOCK as words": (config("float-quantized", 8, strategy="block", block_structure="8x8"), ct_block),
    "NVFP4": (config("nvfp4-pack-quantized", 4, group_size=16), nvfp4_layer),
    "MXFP4A16": (config("mxfp4-pack-quantized", 4, group_size=32), lambda slot: mx_layer(slot, 4)),
    "MXFP6": (config("mxfp6-pack-quantized", 6, group_size=32), lambda slot: mx_layer(slot, 6)),
    "MXFP8": (config("mxfp8-quantized", 8, group_size=32), lambda slot: mx_layer(slot, 8)),
    "DeepSeek": ({"quant_method": "fp8", "weight_block_size": [8, 8], "fmt": "e4m3"}, deepseek),
    "fp8 per tensor": ({"quant_method": "fp8", "weight_block_size": None}, lambda s: per_tensor(s, "weight_scale_inv")),
    "AutoFP8": ({"quant_method": "fp8", "activation_scheme": "static"}, per_tensor),
    "GPTQModel FP8": ({**GPTQMODEL_FP8, "weight_scale_method": "row"}, gptqmodel_fp8),
    "GPTQModel FP8 in blocks": ({**GPTQMODEL_FP8, "weight_scale_method": "block", "weight_block_size": [8, 8]},
                                lambda slot: gptqmodel_fp8(slot, block=True)),
    "FBGEMM": ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, per_channel),
    "ModelOpt FP8": ({"quant_method": "modelopt", "quant_algo": "FP8"}, per_tensor),
    "ModelOpt NVFP4": ({"quant_method": "modelopt", "quant_algo": "NVFP4"},
                       lambda slot: nvfp4_layer(slot, "weight_scale_2", "weight")),
}  # fmt: skip


@pytest.fixture
def checkpoint(saved: Save) -> Checkpoint:
    return load_checkpoint(str(saved()))


@pytest.mark.parametrize("name", FORMATS)
def test_floats_times_scales_are_the_weights(checkpoint: Checkpoint, tmp_path: Path, name: str) -> None:
    settings, make = FORMATS[name]
    expected = write(tmp_path / "theirs", checkpoint, settings, make)
    assert_is(tmp_path / "theirs", checkpoint, expected)


def test_formats_may_be_mixed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    settings = config("mixed-precision", 4)
    settings["config_groups"]["group_0"]["format"] = "nvfp4-pack-quantized"
    settings["config_groups"]["group_1"] = {"format": "float-quantized", "weights": {"num_bits": 8, "type": "float"}}
    expected = write(
        tmp_path / "t", checkpoint, settings, lambda s: per_channel(s) if "down" in s.name else nvfp4_layer(s)
    )
    assert_is(tmp_path / "t", checkpoint, expected)


def test_settings_of_modelopt_may_lie_beside_the_configuration(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    expected = write(folder, checkpoint, {}, FORMATS["ModelOpt NVFP4"][1])
    inner = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    (folder / "hf_quant_config.json").write_text(json.dumps(inner))
    edit(folder, lambda t: t.update({"model.layers.0.self_attn.k_proj.k_scale": torch.ones(1)}))
    assert_is(folder, checkpoint, expected)


def test_every_code_has_its_value() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8)[None]
    signed = [(-1) ** (code >> 3) * E2M1[code & 7] for byte in range(256) for code in (byte & 15, byte >> 4)]
    assert e2m1(bytes_).tolist() == [signed]
    words = [code | code << 6 | code << 12 | code << 18 for code in range(64)]
    packed = torch.tensor([[word >> 8 * k & 255 for word in words for k in range(3)]], dtype=torch.uint8)
    assert e2m3(packed).tolist() == [[e2m3_by_hand(code) for code in range(64) for _ in range(4)]]


def with_(**tensors: Tensor) -> Callable[[dict[str, Tensor]], object]:
    prefix = "model.layers.1.self_attn.k_proj."
    return lambda stored: stored.update({prefix + name: tensor for name, tensor in tensors.items()})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("FP8", with_(weight=torch.zeros(8, 15).to(FP8)), r"weights of shape \(8, 16\), got \(8, 15\)"),
        ("FP8", with_(weight_scale=torch.tensor([torch.nan])), "finite"),
        ("FP8", with_(weight=torch.full((8, 16), 127, dtype=torch.uint8).view(FP8)), "finite"),
        ("FP8", with_(weight_zero_point=torch.zeros(1)), "without a zero-point"),
        ("FP8_DYNAMIC", with_(weight_scale=torch.ones(7, 1)), r"8 rows of them for .*got shape \(7, 1\)"),
        ("FP8_BLOCK", with_(weight_scale=torch.ones(2, 3)), r"each block of 8 × 8.*got shape \(2, 3\)"),
        ("NVFP4", with_(weight_global_scale=torch.ones(2)), "one weight_global_scale for the tensor"),
        ("NVFP4", with_(weight_packed=torch.zeros(8, 7, dtype=torch.uint8)), r"of 8, 6 or 4 bits .*\(8, 7\)"),
        ("NVFP4", with_(weight_scale=torch.ones(8, 3)), "3 groups for 16 inputs"),
        ("MXFP4A16", with_(weight_scale=torch.full((8, 2), 255, dtype=torch.uint8)), "finite"),
        ("DeepSeek", with_(weight_scale=torch.ones(1)), "one of weight_scale, weight_scale_inv, found weight_scale, "),
        ("ModelOpt NVFP4", with_(weight_scale_2=torch.ones(3)), "one weight_scale_2"),
        ("DeepSeek", with_(weight=torch.zeros(8, 16)), r"floats of 8, 6 or 4 bits .*got torch\.float32"),
    ],
)
def test_floats_that_do_not_fit(
    checkpoint: Checkpoint, tmp_path: Path, name: str, change: Callable[..., object], message: str
) -> None:
    write(tmp_path / "theirs", checkpoint, *FORMATS[name])
    edit(tmp_path / "theirs", change)
    slot = next(slot for slot in checkpoint.space if slot.name == "model.layers.1.self_attn.k_proj.weight")
    with pytest.raises(PointError, match=message) as caught:
        load_external(tmp_path / "theirs", checkpoint, "x").tensor(slot)
    assert "\n" not in str(caught.value)


SCHEMES = {
    "float-quantized": [{"strategy": "tensor"}, {"strategy": "channel"},
                        {"strategy": "block", "block_structure": [16, 16]}],
    "nvfp4-pack-quantized": [{"strategy": "tensor_group", "group_size": 16}],
    "mxfp4-pack-quantized": [{"strategy": "group", "group_size": 32}],
    "mxfp6-pack-quantized": [{"strategy": "group", "group_size": 32}],
    "mxfp8-quantized": [{"strategy": "group", "group_size": 32, "scale_dtype": torch.uint8}],
    "pack-quantized": [{"strategy": "group", "group_size": 32}, {"strategy": "channel"}],
}  # fmt: skip
BITS = {"float-quantized": [8], "nvfp4-pack-quantized": [4], "mxfp4-pack-quantized": [4], "mxfp6-pack-quantized": [6],
        "mxfp8-quantized": [8], "pack-quantized": [3, 4, 5, 6, 7, 8]}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "bits", "options"), [(form, bits, o) for form in SCHEMES for bits in BITS[form] for o in SCHEMES[form]]
)
def test_compressed_tensors_decompresses_to_the_same(form: str, bits: int, options: dict[str, Any]) -> None:
    """What its compressor writes is read as its decompressor reads it, which rounds 4 and 6 bits to bfloat16."""
    library = pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    from quant.external.formats import find_codec
    from quant.external.layers import StoredLayer, decoded

    assert library.__version__
    kind = "int" if form == "pack-quantized" else "float"
    args = QuantizationArgs(num_bits=bits, type=kind, symmetric=True, **options)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    weight = torch.randn((32, 64), generator=torch.Generator().manual_seed(0))
    shape = {"tensor": (1,), "channel": (32, 1), "block": (2, 4)}.get(options["strategy"], (32, 64 // 16))
    if "group_size" in options:
        shape = (32, 64 // options["group_size"])
    scale = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 0.02 + 0.02
    state = {"weight": weight, "weight_scale": scale}
    if form.startswith("mx"):
        state["weight_scale"] = torch.exp2(torch.floor(torch.log2(scale)))
    if form.startswith("nvfp4"):
        state["weight_global_scale"] = torch.tensor([60.0])
        state["weight_scale"] = (scale * 60).to(FP8).float()
    compressor = BaseCompressor.get_value_from_registry(form)
    stored = compressor.compress(dict(state), scheme)
    theirs = compressor.decompress(dict(stored), scheme)["weight"].float()
    weights = {"num_bits": bits, "type": kind, "block_structure": options.get("block_structure")}
    settings = {"quant_method": "compressed-tensors", "format": form, "config_groups": {"g": {"weights": weights}}}
    layer = StoredLayer({name: name for name in stored}, lambda name: stored[name])
    ours = decoded(layer, Slot("w", (32, 64), False, 0, 0), find_codec(settings))
    rounded = form.startswith(("nvfp4", "mxfp4", "mxfp6"))
    torch.testing.assert_close(ours, theirs, rtol=2**-7 if rounded else 2**-23, atol=0)
    assert float((ours - weight).norm() / weight.norm()) < 1


def test_values_must_have_the_shape() -> None:
    with pytest.raises(PointError, match=r"weights of shape \(2, 3\), got \(3, 2\)"):
        scaled_floats(torch.ones(3, 2), torch.ones(1), (2, 3))
    with pytest.raises(PointError, match="3 bytes for 4 numbers"):
        e2m3(torch.zeros(1, 4, dtype=torch.uint8))
    with pytest.raises(PointError, match="rows of bytes"):
        e2m1(torch.zeros(1, 4))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_scales_are_floats_or_bytes(dtype: torch.dtype) -> None:
    """Compressed-tensors has both and no other; an int8 of E8M0 would be another number."""
    with pytest.raises(PointError, match=f"floats, or bytes that are exponents, as scales, got {str(dtype)[6:]}"):
        scaled_floats(torch.ones(2, 3), torch.ones(2, 1).to(dtype), (2, 3))
