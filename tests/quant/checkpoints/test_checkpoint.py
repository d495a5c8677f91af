"""Load checkpoints by name, in the dtype and with the fingerprint of their function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import UsageError
from quant.identity import fingerprint
from tests import tiny
from tests.tiny_tokenizer import tokenizer

Save = Callable[..., Path]


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_folder_loads_as_the_saved_model(saved: Save, architecture: str) -> None:
    model = tiny.ARCHITECTURES[architecture]()
    checkpoint = load_checkpoint(str(saved(model)))
    want = model.state_dict()
    assert checkpoint.model.state_dict().keys() == want.keys()
    assert all(torch.equal(tensor, want[name]) for name, tensor in checkpoint.model.state_dict().items())
    assert not checkpoint.model.training
    assert not any(p.requires_grad for p in checkpoint.model.parameters())
    assert checkpoint.context == 64
    assert checkpoint.tokenizer("w3 w9", add_special_tokens=False)["input_ids"] == [3, 9]
    assert checkpoint.space.dimension == sum(p.numel() for _, p in checkpoint.space.weights(checkpoint.model))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_rounds_the_weights_and_is_part_of_the_fingerprint(saved: Save, dtype: str) -> None:
    folder = saved()
    full, half = load_checkpoint(str(folder)), load_checkpoint(str(folder), dtype=dtype)
    for name, p in half.model.named_parameters():
        assert torch.equal(p, full.model.get_parameter(name).to(getattr(torch, dtype)))
    assert half.fingerprint != full.fingerprint


def test_fingerprint_is_of_the_weights_and_not_of_the_name(saved: Save) -> None:
    a, b = load_checkpoint(str(saved(name="a"))), load_checkpoint(str(saved(name="b")))
    assert a.fingerprint == b.fingerprint == fingerprint(tiny.llama())
    assert a.fingerprint != fingerprint(tiny.llama(seed=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "float32, float16, bfloat16"),
        ({"device": "tpu"}, "cpu, cuda"),
        ({"device": "cuda:99"}, "sees"),
    ],
)
def test_impossible_options_are_usage_errors(saved: Save, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_checkpoint(str(saved()), **options)


def test_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'opt-125m'.*smollm2-135m"):
        load_checkpoint("opt-125")


@pytest.mark.parametrize("name", ["/no/such/folder", "./model", "weights.gguf", "a/model.safetensors"])
def test_path_to_nowhere_is_not_taken_for_a_hub_id(name: str) -> None:
    with pytest.raises(UsageError, match="expected a folder"):
        load_checkpoint(name)


def test_a_revision_outside_the_hub_is_refused(saved: Save) -> None:
    for name in ("opt-nano", "smollm2-135m", str(saved())):
        with pytest.raises(UsageError, match="leave --revision out"):
            load_checkpoint(name, revision="v2")


def test_smollm2_is_the_model_of_the_design(smollm2: Checkpoint) -> None:
    assert smollm2.space.dimension == 106_168_320
    assert smollm2.model.num_parameters() == 134_515_008
    assert smollm2.context == 8192
    assert type(smollm2.model).__name__ == "LlamaForCausalLM"
    assert {p.dtype for p in smollm2.model.parameters()} == {torch.float32}


def test_the_model_from_pypi_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is not needed again; a flipped bit would be another model under the same name."""
    fetched, read = [], []

    def fetch(cache: Path) -> Path:
        fetched.append(cache / "model.gguf")
        fetched[-1].write_bytes(b"bytes")
        return fetched[-1]

    def parse(file: Path, dtype: str) -> tuple[torch.nn.Module, object]:
        read.append(file)
        return tiny.llama(), tokenizer()

    monkeypatch.setattr("quant.checkpoints.checkpoint.fetch_gguf", fetch)
    monkeypatch.setattr("quant.checkpoints.checkpoint.GGUF_SHA256", hashlib.sha256(b"bytes").hexdigest())
    monkeypatch.setattr("quant.checkpoints.converted.read_gguf", parse)
    first = load_checkpoint("smollm2-135m", cache=tmp_path).fingerprint
    (tmp_path / "model.gguf").unlink()
    assert load_checkpoint("smollm2-135m", cache=tmp_path).fingerprint == first
    assert len(fetched) == len(read) == 1
    (weights,) = (tmp_path / "models").rglob("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    assert load_checkpoint("smollm2-135m", cache=tmp_path).fingerprint == first
    assert len(fetched) == len(read) == 2
