from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.device import check_precision, check_precision_of, find_device
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


def test_tf32_is_refused_where_it_would_be_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    card = torch.device("cuda:0")
    for device in ("cpu", "cuda:0"):
        check_precision("highest", torch.device(device))
    with pytest.raises(UsageError, match="expected highest or high as --matmul-precision, got 'medium'"):
        check_precision("medium", card)
    with pytest.raises(UsageError, match="TF32 for --matmul-precision high, got cpu, where products of float32 are"):
        check_precision("high", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    for capability, refused in (((7, 0), True), ((8, 0), False), ((9, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        if refused:
            with pytest.raises(UsageError, match="got Tesla V100, which has none; use --matmul-precision highest"):
                check_precision("high", card)
        else:
            check_precision("high", card)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(UsageError, match="switches TF32 off"):
        check_precision("high", card)


def test_tf32_is_of_float32_alone() -> None:
    check_precision_of("high", torch.float32)
    check_precision_of("highest", torch.bfloat16)
    with pytest.raises(UsageError, match="expected --dtype float32 with --matmul-precision high, got bfloat16"):
        check_precision_of("high", torch.bfloat16)


def test_numbers_of_two_precisions_have_two_names(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(saved(tiny.llama()))
    with pytest.raises(UsageError, match="got cpu"):
        load_checkpoint(folder, matmul_precision="high")
    monkeypatch.setattr("quant.checkpoints.checkpoint.check_precision", lambda *_: None)  # as if this were a card
    plain, fast = load_checkpoint(folder), load_checkpoint(folder, matmul_precision="high")
    assert (plain.computation, fast.computation) == ("float32", "float32-high")
    assert plain.identity == fast.identity
