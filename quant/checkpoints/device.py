"""Choose the device and the dtype in which a model is computed."""

from __future__ import annotations

import re

import torch
from transformers import PreTrainedConfig

from quant.errors import UsageError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
AUTO = "auto"


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
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"expected a device auto, cpu, cuda or cuda:<n>, got {name!r}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(f"expected a CUDA device for {name!r}, this PyTorch sees {count}; use --device cpu")
    return device


def check_dtype(name: str) -> None:
    """Check that models can be computed in a dtype, or that it is ``auto``.

    Raises:
        UsageError: if it is not.
    """
    if name != AUTO and name not in DTYPES:
        raise UsageError(f"expected a dtype of {', '.join(DTYPES)} or {AUTO}, got {name!r}")


def find_dtype(name: str, config: PreTrainedConfig) -> torch.dtype:
    """Return the dtype of a name; ``auto`` is the dtype in which the configuration says the weights are stored.

    A checkpoint that does not say so, or is stored in a dtype that is not computed in (float64), gives float32.
    """
    if name != AUTO:
        return DTYPES[name]
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(decoder=True), "dtype", None)
    return DTYPES.get(str(stored).removeprefix("torch."), torch.float32)
