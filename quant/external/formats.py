"""Choose the codec that reads a quantization config's layers, or give the reason why none does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from quant.errors import PointError
from quant.external.compressed import Block, CompressedTensors, Floats, StackedMxfp4
from quant.external.layers import Awq, Codec, Gptq, Plain

READ = "gptq, awq, auto-round, compressed-tensors, fp8, fbgemm_fp8, modelopt, mxfp4"

_ADVICE = "dequantize the model with the tool that made it and save it as plain safetensors"
_NOT_READ = {
    "bitsandbytes": "load it with transformers, call model.dequantize(), and save that as plain safetensors",
    "torchao": _ADVICE,
    "quanto": "load it with optimum-quanto, dequantize it, and save it as plain safetensors",
    "hqq": _ADVICE,
    "eetq": _ADVICE,
    "sinq": _ADVICE,
    "metal": _ADVICE,
    "quark": "export it from Quark as compressed-tensors, or dequantize it and save it as plain safetensors",
    "bitnet": "its weights were trained on three values, so no full-precision checkpoint is the centre of it",
    **dict.fromkeys(
        ("aqlm", "vptq", "spqr", "higgs", "quip", "quip#", "quip_sharp", "exl2", "exl3", "fp_quant", "fouroversix"),
        "its codebooks, outliers or rotations need the code of that tool; dequantize the model with it and save it as "
        "plain safetensors of the original coordinates",
    ),
}
_SIGNS = {  # names of tensors of tools whose config.json may not name them
    "bitsandbytes": ("quant_state.bitsandbytes__", ".absmax", ".quant_map", ".SCB"),
    "torchao": ("_weight_qdata", "weight:qdata", ".weight_qdata"),
    "quanto": ("weight._data",),
    "hqq": (".W_q",),
}
_ROTATIONS = re.compile("transform_config|hadamard|rotation|quarot|spinquant", re.IGNORECASE)
_DENSE = ("dense", "pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "mixed-precision",
          "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp6-pack-quantized", "mxfp8-quantized")  # fmt: skip
_FLOAT_BITS = (4, 6, 8)


def find_codec(config: Mapping[str, Any] | None) -> Codec:
    """Return the codec of a quantization config.

    Args:
        config: The config that ``quant.external.settings`` finds; None for a checkpoint of plain floats.

    Raises:
        PointError: if the method or its variant is not known, or the weights are in rotated coordinates.
    """
    if config is None:
        return Plain()
    check_coordinates(config)
    method = str(config.get("quant_method") or "").lower().removeprefix("intel/")
    match method:
        case "gptq":
            return _gptq(config)
        case "awq":
            return _awq(config)
        case "auto-round":
            return _auto_round(config)
        case "compressed-tensors":
            return _compressed(config)
        case "fp8" | "fbgemm_fp8":
            return Floats(method, _block(config.get("weight_block_size"), "weight_block_size"), _inverse(config))
        case "mxfp4":
            return StackedMxfp4()
        case "modelopt" | "modelopt_fp4":
            _known("quant_algo", str(config.get("quant_algo")).upper(), ("FP8", "NVFP4"))
            return Floats("modelopt")
    if method in _NOT_READ:
        raise PointError(f"expected quant_method {READ}, got {method!r}, which is not read; {_NOT_READ[method]}")
    raise PointError(f"expected quant_method {READ}, got {method or 'none'!r}; {_ADVICE}")


def check_readable(names: Collection[str], others: Collection[str]) -> None:
    """Check that a folder without a quantization config holds no tensors of an unsupported tool.

    Args:
        names: Names of its tensors.
        others: Names of its other files.

    Raises:
        PointError: if it does; the message names the tool.
    """
    if "quanto_qmap.json" in others:
        raise _tool("quanto", "quanto_qmap.json")
    for tool, signs in _SIGNS.items():
        found = next((name for name in names if any(sign in name for sign in signs)), None)
        if found is not None:
            raise _tool(tool, found)


def _tool(tool: str, found: str) -> PointError:
    return PointError(f"expected quant_method {READ}, or plain weights, found {found} of {tool}; {_NOT_READ[tool]}")


def check_coordinates(config: Mapping[str, Any]) -> None:
    """Check that weights are not rotated: rotated ones are not a vector of this space, however exactly they are read.

    Args:
        config: A config.json, or the quantization config in it.

    Raises:
        PointError: if one of its settings is a rotation.
    """
    for key, value in config.items():
        if value and _ROTATIONS.search(key):
            raise PointError(
                f"expected weights in the coordinates of the checkpoint, found {key} in the configuration: "
                "rotated weights are another vector; quantize without rotations, or rotate the checkpoint itself first"
            )


_SIZE = re.compile("[0-9]{1,9}")


def _gptq(config: Mapping[str, Any]) -> Codec:
    if config.get("is_marlin_format"):
        raise PointError("expected checkpoint_format gptq or gptq_v2, got is_marlin_format; repack it with its tool")
    form = str(config.get("checkpoint_format") or config.get("format") or "gptq").lower()
    _known("checkpoint_format", form, ("gptq", "gptq_v2"))
    return Gptq(form == "gptq")


def _awq(config: Mapping[str, Any], name: str = "awq") -> Codec:
    _known("version", str(config.get("version") or config.get("format") or "gemm").lower(), ("gemm",))
    _known("bits", config.get("bits", config.get("w_bit", 4)), (4,))
    return Awq(name)


def _auto_round(config: Mapping[str, Any]) -> Codec:
    """Choose the codec of AutoRound's packing; ``auto_gptq`` stores zero-points less one, the other packings do not."""
    packing = str(config.get("packing_format") or config.get("backend") or "auto_round").lower()
    _known("data_type", str(config.get("data_type") or "int"), ("int", "int_sym", "int_asym"))
    if "fp8" in packing or "llm_compressor" in packing or not packing.startswith("auto_round"):
        raise PointError(f"expected packing_format auto_round with auto_gptq, gptqmodel or auto_awq, got {packing!r}")
    if "awq" in packing:
        return _awq({"bits": config.get("bits", 4)}, "auto-round")
    return Gptq("gptq" in packing and "gptqmodel" not in packing, "auto-round")


def _compressed(config: Mapping[str, Any]) -> Codec:
    sparsity = str(_object(config, "sparsity_config").get("format") or "dense")
    _known("sparsity format", sparsity, ("dense",))
    groups = _object(config, "config_groups")
    widths, blocks = set(), set()
    for name in groups:
        group = _object(groups, name)
        weights = _object(group, "weights")
        if not weights:
            continue
        _known("format", group.get("format") or config.get("format"), _DENSE)
        kind, bits = str(weights.get("type", "int")), weights.get("num_bits")
        _known("weights of type", kind, ("int", "float"))
        _known("num_bits", bits, range(2, 9) if kind == "int" else _FLOAT_BITS)
        if kind == "int":
            widths.add(int(bits or 0))
        if weights.get("block_structure"):
            blocks.add(_block(weights["block_structure"], "block_structure"))
    if len(blocks) > 1:
        raise PointError(f"expected one block_structure, got {sorted(map(str, blocks))}")
    return CompressedTensors(tuple(sorted(widths)), next(iter(blocks), None))


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object of a name; an empty one where there is none."""
    found = holder.get(name) or {}
    if not isinstance(found, dict):
        raise PointError(f"expected an object as {name} of the quantization config, got {str(found)[:40]!r}; {_ADVICE}")
    return found


def _inverse(config: Mapping[str, Any]) -> bool:
    """Return whether scales divide; only GPTQModel names it, and gives its inverse scales the name of DeepSeek's."""
    semantics = config.get("weight_scale_semantics")
    if semantics not in (None, "inverse"):
        raise PointError(f"expected weight_scale_semantics inverse, or none, got {semantics!r}; {_ADVICE}")
    return semantics is not None


def _block(sizes: object, name: str) -> Block | None:
    """Parse (rows, inputs) from a list or from ``128x128``."""
    if not sizes:
        return None
    parts = sizes.split("x") if isinstance(sizes, str) else sizes
    if not isinstance(parts, list | tuple) or [bool(_SIZE.fullmatch(str(part))) for part in parts] != [True, True]:
        raise PointError(f"expected two sizes as {name}, got {repr(sizes)[:80]}")
    rows, inputs = int(parts[0]), int(parts[1])
    if not rows or not inputs:
        raise PointError(f"expected two sizes as {name}, got {repr(sizes)[:80]}")
    return rows, inputs


def _known(what: str, value: object, known: tuple[object, ...] | range) -> None:
    if value not in known:
        raise PointError(f"expected {what} {' or '.join(map(str, known))}, got {value!r}")
