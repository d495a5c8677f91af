"""Sizes in a configuration are held against the stored tensors before anything is built."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from quant.checkpoints import pretrained
from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.configuration import read_configuration
from quant.checkpoints.embedded import EMBEDDED, embedded
from quant.checkpoints.stated_sizes import Stored, check_configuration, check_outline, check_sizes
from quant.errors import CheckpointError
from tests.quant.checkpoints.test_gguf_file import write

Save = Callable[..., Path]
OPT = Stored.of([(1024, 128), (512, 128), (128,)] * 30)
BILLION = 10**9


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "AutoConfig", None)


@pytest.mark.parametrize(
    "name",
    [
        "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "num_nextn_predict_layers",
        "num_experts", "num_local_experts", "n_routed_experts", "hidden_size", "n_embd", "d_model", "vocab_size",
        "intermediate_size", "ffn_dim", "n_inner", "head_dim", "num_attention_heads", "n_head", "num_key_value_heads",
        "state_size", "max_position_embeddings", "n_positions", "sliding_window", "kv_lora_rank",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [BILLION, 10**30, float("inf"), [2, BILLION]], ids=str)
def test_a_size_beyond_the_tensors_is_refused(name: str, value: object) -> None:
    for content in ({name: value}, {"text_config": {"deeper": {name: value}}}):
        with pytest.raises(
            CheckpointError, match=rf"expected \S*{name} of at most \d+ in config\.json, .*got \S+; giv"
        ):
            check_sizes(content, OPT, Path("config.json"))


@pytest.mark.parametrize(
    "content",
    [
        {"num_hidden_layers": 48, "num_experts": 128, "vocab_size": 262_144, "max_position_embeddings": 10_485_760},
        {"rope_theta": 1e11, "eos_token_id": [10**6], "initial_number": BILLION, "use_cache": True, "x": None},
        {"model_max_length": 1000000000000000019884624838656, "tokenizer_model_max_length": 10**30},
        {"vision_config": {"depth": 32, "hidden_size": 1152, "num_hidden_layers": 27}, "layer_types": ["a"] * 48},
    ],
    ids=[
        "a model of today",
        "numbers that are no sizes",
        "the limit of a tokenizer without one",
        "a part that is not stored",
    ],
)
def test_what_models_state_is_taken(content: dict[str, Any]) -> None:
    check_sizes(content, OPT, Path("config.json"))


def test_layers_and_experts_may_be_as_many_as_tensors_hold() -> None:
    stacked = Stored.of([(4096, 8, 16)] * 1000)
    check_sizes({"num_hidden_layers": 1000, "num_experts": 4096}, stacked, Path("config.json"))
    for name, value in (("num_hidden_layers", 1001), ("num_experts", 4097)):
        with pytest.raises(CheckpointError):
            check_sizes({name: value}, stacked, Path("config.json"))


def test_tensors_without_values_hold_no_layers() -> None:
    """A name in a header costs 50 bytes, and a layer that is built for it a thousand times as much."""
    empty = Stored.of([(0,)] * 100_000 + [(8, 8)] * 600)
    check_sizes({"num_hidden_layers": 600}, empty, Path("config.json"))
    with pytest.raises(CheckpointError, match="at most 600"):
        check_sizes({"num_hidden_layers": 601}, empty, Path("config.json"))
    with pytest.raises(CheckpointError, match="at most 4096"):
        check_sizes({"num_hidden_layers": 5000}, Stored.of([(1,)] * 100_000), Path("config.json"))


def default(family: str, folder: Path) -> PreTrainedConfig | None:
    """Save the configuration of a family as its class makes it; None where it needs values, or a library."""
    with contextlib.suppress(ValueError, TypeError, ImportError, KeyError, StrictDataclassError):
        config = AutoConfig.for_model(family)
        config.save_pretrained(folder)
        return config
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
def test_what_every_family_states_by_default_is_taken(family: str, tmp_path: Path) -> None:
    if (config := default(family, tmp_path)) is None:
        pytest.skip("no default configuration")
    text = config.get_text_config(decoder=True)
    vocabulary, hidden = getattr(text, "vocab_size", None) or 32_000, getattr(text, "hidden_size", None) or 4096
    check_configuration(tmp_path / "config.json", Stored.of([(vocabulary, hidden)]))
    read_configuration(tmp_path)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        (
            "gpt_neo",
            {"num_layers": 8, "num_heads": 16, "attention_types": [[["global", "local"], 4]],
             "max_position_embeddings": 2048},
        ),
        ("doge", {"num_hidden_layers": 2, "num_attention_heads": 4, "is_moe": False}),
    ],
)  # fmt: skip
def test_a_small_model_with_large_tables_is_taken(family: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    """GPT-Neo's masks of positions were counted as weights, and Doge states 16,384 experts where it has none."""
    config = AutoConfig.for_model(family, vocab_size=2048, hidden_size=64, **sizes)
    with torch.device("meta"):
        shapes = [tuple(each.shape) for each in AutoModelForCausalLM.from_config(config).parameters()]
    config.save_pretrained(tmp_path)
    check_configuration(tmp_path / "config.json", Stored.of([*shapes, (16_384, 64)]))
    check_outline(config, sum(map(math.prod, shapes)), tmp_path)


def test_the_configuration_of_our_own_model_is_taken() -> None:
    check_configuration(embedded(EMBEDDED) / "config.json", OPT)


@pytest.mark.parametrize("field", ["num_hidden_layers", "vocab_size", "hidden_size"])
def test_a_folder_is_refused_before_anything_is_built(field: str, saved: Save, nothing_built: None) -> None:
    folder = saved()
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: BILLION}))
    with pytest.raises(CheckpointError, match=f"expected {field} of at most .*got {BILLION}; give the configuration"):
        load_checkpoint(str(folder))


def test_a_configuration_of_a_gigabyte_is_not_read(saved: Save, nothing_built: None) -> None:
    folder = saved()
    with (folder / "config.json").open("r+b") as file:
        file.truncate(2**30)
    with pytest.raises(CheckpointError, match=r"expected a configuration of at most 32 MiB in .*, got 1024 MiB"):
        load_checkpoint(str(folder))


def stating(path: Path, key: str, value: int) -> Path:
    """Change a number of 32 bits in the head of a GGUF file."""
    data = bytearray(path.read_bytes())
    name = f"llama.{key}".encode()
    place = data.index(name) + len(name) + 4  # after its type
    data[place : place + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("field", ["block_count", "expert_count", "embedding_length", "context_length"])
def test_a_gguf_file_is_refused_before_anything_is_built(field: str, tmp_path: Path, nothing_built: None) -> None:
    path = stating(write(tmp_path / "m.gguf", {"expert_count": 0}), field, 2**31 - 1)
    with pytest.raises(CheckpointError, match=rf"expected {field} of at most .*got 2147483647; give the config"):
        load_checkpoint(str(path))
