from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import OfflineModeIsEnabled
from torch import nn
from transformers import GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM, RwkvConfig, RwkvForCausalLM

from quant.checkpoints.implementations import offline
from quant.checkpoints.pretrained import read_folder
from quant.errors import CheckpointError
from tests import tiny

Save = Callable[..., Path]


def mixtral() -> nn.Module:
    torch.manual_seed(0)
    return MixtralForCausalLM(
        MixtralConfig(
            vocab_size=tiny.VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_local_experts=4,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def refuse(host: str, *args: object, **options: object) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2, mixtral])
@pytest.mark.parametrize(
    "asked",
    [
        {"attn_implementation": "kernels-community/flash-attn2"},
        {"_attn_implementation": "somebody/kernel@main:run"},
        {"_attn_implementation_internal": "flash_attention_2"},
        {"attn_implementation": "flex_attention"},
        {"attn_implementation": "eager", "experts_implementation": "grouped_mm"},
        {"experts_implementation": "sonicmoe", "use_kernels": True, "kernel_config": {"RMSNorm": "some/one:Norm"}},
        {"fusion_config": {"patch_embeddings": True}, "compile_config": {"mode": "max-autotune"}},
    ],
)
def test_requests_of_a_configuration_to_the_loader_are_ignored(
    saved: Save, no_network: list[str], make: Callable[[], nn.Module], asked: dict[str, object]
) -> None:
    folder = saved(make())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **asked}))
    model, _ = read_folder(folder, "float32")
    own = "sdpa"
    assert (model.config._attn_implementation, model.config._experts_implementation) == (own, "eager")
    assert {m.config._attn_implementation for m in model.modules() if hasattr(m, "config")} == {own}
    assert not no_network
    with torch.inference_mode():
        assert torch.isfinite(model(input_ids=tiny.windows(1)).logits).all()


def test_a_class_without_sdpa_has_its_own_attention(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GPT2LMHeadModel, "_supports_sdpa", False)
    model, _ = read_folder(saved(tiny.gpt2()), "float32")
    assert model.config._attn_implementation == "eager"


def test_no_request_to_the_hub_inside() -> None:
    before = constants.HF_HUB_OFFLINE
    with offline(), pytest.raises(OfflineModeIsEnabled):
        HfApi().model_info("some/one")
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(("every", "layers"), [(2, 4), (3, 4), (6, 7)])
def test_a_model_that_rewrites_its_weights_is_refused(saved: Save, every: int, layers: int) -> None:
    model = rwkv(every, layers)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    folder = saved(model)
    with torch.no_grad():
        model(input_ids=tiny.windows(1))
    assert any(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    with pytest.raises(CheckpointError, match=rf"rescale_every = {every} .*set rescale_every to 0"):
        read_folder(folder, "float32")


@pytest.mark.parametrize(("every", "layers"), [(0, 4), (6, 6)])
def test_a_model_that_keeps_its_weights_is_read(saved: Save, every: int, layers: int) -> None:
    model, _ = read_folder(saved(rwkv(every, layers)), "float32")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        model(input_ids=tiny.windows(1))
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def rwkv(every: int, layers: int) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"vocab_size": tiny.VOCABULARY, "hidden_size": 16, "attention_hidden_size": 16}
    return RwkvForCausalLM(RwkvConfig(**sizes, num_hidden_layers=layers, rescale_every=every)).eval()
