from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.device import find_device
from quant.errors import UsageError
from tests import tiny

Save = Callable[..., Path]


@pytest.mark.parametrize(("count", "device"), [(0, "cpu"), (2, "cuda")])
def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, count: int, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert find_device("auto") == torch.device(device)


@pytest.mark.parametrize("name", ["mps", "mps:0"])
def test_apples_gpu_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UsageError, match=r"no float64.*--device cpu"):
        find_device(name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_auto_is_the_dtype_of_the_stored_weights(saved: Save, dtype: str) -> None:
    checkpoint = load_checkpoint(str(saved(tiny.llama().to(getattr(torch, dtype)))), dtype="auto", device="auto")
    assert checkpoint.dtype == dtype
    assert {str(p.dtype) for p in checkpoint.model.parameters()} == {f"torch.{dtype}"}
    assert checkpoint.device in ("cpu", "cuda:0")


def test_auto_is_float32_where_the_dtype_is_not_one_of_ours(saved: Save) -> None:
    folder = saved(tiny.llama().double())
    assert load_checkpoint(str(folder), dtype="auto").dtype == "float32"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if "dtype" not in k}))
    assert load_checkpoint(str(folder), dtype="auto").dtype == "float32"
