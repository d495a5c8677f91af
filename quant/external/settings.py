"""Find where a folder says how its weights were quantized: in config.json, or in older ones in a file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.errors import PointError
from quant.external.tensor_files import read_json

_BESIDE = {"quantize_config.json": "gptq", "quant_config.json": "awq", "hf_quant_config.json": "modelopt"}
"""Files of AutoGPTQ, AutoAWQ and ModelOpt, and the method of each if it does not name one."""


def quantization_config(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the quantization config of a folder, with its ``quant_method``; None if it has none.

    ``config.json`` comes first, since later tools write it there and leave the older file as it was.

    Args:
        folder: The folder.
        config: Its config.json.

    Raises:
        PointError: if it is not a JSON object.
    """
    found = config.get("quantization_config") or config.get("compression_config")
    if found is None and isinstance(text := config.get("text_config"), dict):
        found = text.get("quantization_config")
    if not isinstance(found, dict | None):
        raise PointError(f"expected quantization_config as an object in {folder / 'config.json'}, got {found!r}")
    if found:
        return found
    for name, method in _BESIDE.items():
        if (folder / name).is_file():
            return _with_method(read_json(folder / name), method)
    return None


def _with_method(settings: dict[str, Any], method: str) -> dict[str, Any]:
    inner = settings.get("quantization")  # ModelOpt's
    if isinstance(inner, dict):
        settings = inner
    return {"quant_method": method, **{key: value for key, value in settings.items() if value is not None}}
