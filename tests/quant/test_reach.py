from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BartConfig, BartForCausalLM, GPT2Config, GPT2LMHeadModel

from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import CheckpointError
from quant.reach import check_reach
from quant.space import WeightSpace
from tests import tiny


def bart() -> nn.Module:
    """The decoder alone, whose blocks keep the attention to an encoder that is not there."""
    config = BartConfig(
        vocab_size=tiny.VOCABULARY, d_model=16, decoder_layers=2, encoder_layers=2, decoder_attention_heads=2,
        encoder_attention_heads=2, decoder_ffn_dim=32, encoder_ffn_dim=32, max_position_embeddings=64,
    )  # fmt: skip
    model: nn.Module = BartForCausalLM(config)
    return model.eval()


def gpt2() -> nn.Module:
    """A decoder that may be given another model's states, and is given none."""
    config = GPT2Config(vocab_size=tiny.VOCABULARY, n_embd=16, n_layer=2, n_head=2, add_cross_attention=True)
    model: nn.Module = GPT2LMHeadModel(config)
    return model.eval()


CASES = {"bart": (bart, "encoder_attn"), "gpt2": (gpt2, "crossattention")}


def idle_by_gradient(model: nn.Module) -> int:
    """How many numbers of the blocks' matrices have no gradient, or one of zeros, on a long window."""
    model(input_ids=tiny.windows(1)).logits.square().sum().backward()
    grads = [(model.get_parameter(slot.parameter), slot) for slot in WeightSpace.of(model)]
    return sum(slot.size for p, slot in grads if p.grad is None or not bool(p.grad.any()))


@pytest.mark.parametrize("case", CASES)
def test_matrices_that_no_logit_depends_on_are_an_error(saved: Callable[..., Path], case: str) -> None:
    make, module = CASES[case]
    folder = saved(make())
    checkpoint = load_checkpoint(str(folder))
    with pytest.raises(CheckpointError, match=rf"have none: .*{module}.*--exclude '\*\.{module}\.\*'"):
        check_reach(checkpoint.model, checkpoint.space)
    model = make()
    held = load_checkpoint(str(folder), exclude=(f"*.{module}.*",)).space.dimension
    assert held == WeightSpace.of(model).dimension - idle_by_gradient(model)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_all_is_as_it_was_where_every_matrix_is_used(architecture: str) -> None:
    model = tiny.ARCHITECTURES[architecture]().requires_grad_(False)
    next(model.parameters()).requires_grad_(True)
    before = [parameter.requires_grad for parameter in model.parameters()]
    with torch.inference_mode(False), torch.no_grad():
        check_reach(model, WeightSpace.of(model))
    assert [parameter.requires_grad for parameter in model.parameters()] == before
    assert all(parameter.grad is None for parameter in model.parameters())
