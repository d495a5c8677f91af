"""Choose the device and the dtype in which a model is computed."""

from __future__ import annotations

import os
import re

import torch
from torch import nn
from transformers import PreTrainedConfig

from quant.errors import UsageError
from quant.numerics import HIGH, HIGHEST, PRECISIONS

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
AUTO = "auto"
_DIGITS = 4  # of the number of a card; no machine has as many cards
_TF32 = (8, 0)  # compute capability of the first cards with it, Ampere


def find_device(name: str = AUTO) -> torch.device:
    """Return the device of a name: ``auto`` is ``cuda`` where this PyTorch sees one, else ``cpu``.

    Raises:
        UsageError: if there is no such device, or nothing can be measured on it.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == AUTO:
        return torch.device("cuda" if count else "cpu")
    if name == "mps" or name.startswith("mps:"):
        raise UsageError(
            f"expected a device auto, cpu, cuda or cuda:<n>, got {name!r}: Apple's GPU has no float64, in which losses "
            "are summed here, and is not tested; use --device cpu"
        )
    found = re.fullmatch(r"cpu|cuda(?::0*([0-9]+))?", name)
    if not found:
        raise UsageError(f"expected a device auto, cpu, cuda or cuda:<n>, got {name!r}")
    index = found[1] or "0"
    if name != "cpu" and (len(index) > _DIGITS or int(index) >= count):  # torch wraps indices of more than 8 bits
        raise UsageError(f"expected a CUDA device for {name[:40]!r}, this PyTorch sees {count}; use --device cpu")
    return torch.device("cpu" if name == "cpu" else name if found[1] is None else f"cuda:{index}")


def check_device_map(device_map: object, device: str) -> None:
    """Check that a device map is one that is known, and that no single device is asked for besides.

    Raises:
        UsageError: if not.
    """
    if device_map is None:
        return
    if isinstance(device_map, str) and device_map != AUTO:
        raise UsageError(f"expected {AUTO} as --device-map, got {device_map!r}")
    if device != AUTO:
        raise UsageError(f"expected one of --device and --device-map, got {device!r} and a map; leave one of them out")


def check_placement(model: nn.Module) -> None:
    """Check that every weight of a model lies on a device that computes, where it can be moved and copied.

    Raises:
        UsageError: if some are offloaded: accelerate brings these in for each forward pass, from files or the host, and
            what is written into them is lost.
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    placed = getattr(model, "hf_device_map", None) or {}
    away = [name for name, tensor in tensors if tensor.is_meta]
    away += [name for name, place in placed.items() if str(place) in ("disk", "meta")]
    if away:
        raise UsageError(
            f"expected a model that fits on its devices, {len(away)} of its parts are offloaded ({away[0]}, …), "
            "where weights cannot be perturbed; use more or larger cards, --dtype bfloat16, or --device cpu"
        )


def devices_of(model: nn.Module) -> tuple[torch.device, ...]:
    """Return the distinct devices of a model's parameters, in the model's order."""
    return tuple(dict.fromkeys(parameter.device for parameter in model.parameters()))


def check_dtype(name: str) -> None:
    """Check that models can be computed in a dtype, or that it is ``auto``.

    Raises:
        UsageError: if it is not.
    """
    if name != AUTO and name not in DTYPES:
        raise UsageError(f"expected a dtype of {', '.join(DTYPES)} or {AUTO}, got {name!r}")


def check_precision(precision: str, device: torch.device) -> None:
    """Check that float32 products can be computed at a precision of ``quant.numerics`` on a device.

    Raises:
        UsageError: if it is unknown, or ``high`` would not be TF32 there, so that its name in a store would be wrong.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"expected {' or '.join(PRECISIONS)} as --matmul-precision, got {precision!r}")
    if precision == HIGHEST:
        return
    needs = f"expected a CUDA card that has TF32 for --matmul-precision {HIGH}"
    remedy = f"use --matmul-precision {HIGHEST}"
    if device.type != "cuda":
        raise UsageError(f"{needs}, got {device}, where products of float32 are float32; {remedy}")
    if torch.cuda.get_device_capability(device) < _TF32:
        raise UsageError(f"{needs}, got {torch.cuda.get_device_name(device)}, which has none; {remedy}")
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        raise UsageError(f"{needs}, got NVIDIA_TF32_OVERRIDE=0, which switches TF32 off; unset it, or {remedy}")


def check_precision_of(precision: str, dtype: torch.dtype) -> None:
    """Check that a precision applies to the dtype of a model.

    Raises:
        UsageError: if it is ``high`` and the model is not in float32.
    """
    if precision != HIGHEST and dtype != torch.float32:
        name = str(dtype).removeprefix("torch.")
        raise UsageError(
            f"expected --dtype float32 with --matmul-precision {precision}, got {name}, whose products it does not "
            f"change; use --matmul-precision {HIGHEST}"
        )


def find_dtype(name: str, config: PreTrainedConfig) -> torch.dtype:
    """Return the dtype of a name; ``auto`` is the dtype in which the configuration says the weights are stored.

    A checkpoint that does not say so, or is stored in a dtype that is not computed in (float64), gives float32.
    """
    if name != AUTO:
        return DTYPES[name]
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(decoder=True), "dtype", None)
    return DTYPES.get(str(stored).removeprefix("torch."), torch.float32)
