"""Read models whole or refuse them in one line, and run nothing that lies beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM
from transformers.utils import logging

from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import CheckpointError, UsageError
from quant.identity import fingerprint
from tests import tiny

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def known_settings() -> None:
    logging.set_verbosity_warning()
    logging.enable_progress_bar()


def test_pickles_are_refused(saved: Save) -> None:
    folder = saved()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(CheckpointError, match=r"only pytorch_model.bin.*save_pretrained"):
        load_checkpoint(str(folder))


def test_folder_of_gguf_points_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=r"give the file itself, .*m\.gguf"):
        load_checkpoint(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no gguf at all"])
def test_broken_gguf_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(str(path))
    assert "\n" not in str(caught.value)


def test_truncated_safetensors_is_one_line(saved: Save) -> None:
    folder = saved()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="model") as caught:
        load_checkpoint(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", [{"num_attention_heads": 0}, {"hidden_size": "wide"}], ids=str)
def test_an_impossible_configuration_is_one_line(saved: Save, field: dict[str, object]) -> None:
    path = saved(tiny.llama()) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **field}))
    with pytest.raises(CheckpointError, match="expected a causal language model"):
        load_checkpoint(str(path.parent))


def test_missing_weights_are_not_drawn_at_random(saved: Save) -> None:
    folder = saved()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match="9 are missing"):
        load_checkpoint(str(folder))


def test_other_kinds_of_model_are_refused(saved: Save) -> None:
    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=61)
    with pytest.raises(CheckpointError, match=r"causal language model.*BertForMaskedLM"):
        load_checkpoint(str(saved(BertForMaskedLM(config))))


def test_code_from_a_repository_is_never_run(saved: Save) -> None:
    folder = saved()
    ran = folder / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')")
    config = {"model_type": "own", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="never run"):
        load_checkpoint(str(folder))
    native = json.loads((saved(name="native") / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**native, "auto_map": config["auto_map"]}))
    assert load_checkpoint(str(folder)).fingerprint == fingerprint(tiny.llama())  # a known kind: its own class is used
    assert not ran.exists()


def test_settings_of_transformers_are_left_alone(saved: Save, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    assert before == (logging.WARNING, True)
    broken = saved(name="broken")
    (broken / "model.safetensors").write_bytes(b"")
    folder = saved()
    capfd.readouterr()
    load_checkpoint(str(folder))
    assert capfd.readouterr().err == ""
    with pytest.raises(CheckpointError):
        load_checkpoint(str(broken))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
