"""A panic of tokenizers, which is written in Rust, ends in one line as any other error does."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.embedded import EMBEDDED, embedded
from quant.corpora.corpus import load_corpus
from quant.errors import CheckpointError


def normalized(map_: bytes) -> dict[str, object]:
    return {"normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(map_).decode()}}


IN_LOADING = b"\xff\xff\xff\xffabcdxyz"
IN_USE = b"\x04\0\0\0abcdxyz"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))


def changed(folder: Path, change: dict[str, object]) -> Path:
    """The built-in model with another tokenizer."""
    shutil.copytree(embedded(EMBEDDED), folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder


def test_a_tokenizer_that_panics_when_it_is_loaded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^expected a causal language model in .*, got: ") as raised:
        load_checkpoint(str(changed(tmp_path / "model", normalized(IN_LOADING))))
    assert "\n" not in str(raised.value)


def test_a_tokenizer_that_panics_when_it_is_used_is_refused(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(str(changed(tmp_path / "model", normalized(IN_USE))))
    with pytest.raises(CheckpointError, match=r"^expected a tokenizer that cuts texts in .*, got a panic of"):
        load_corpus("tales", checkpoint, 32, sizes={"validation": 2})
