from __future__ import annotations

import hashlib
import math
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    RwkvConfig,
    RwkvForCausalLM,
)

from quant.checkpoints.checkpoint import Checkpoint
from quant.corpora import sampling
from quant.corpora.corpus import load_corpus
from quant.corpora.sampling import inverse_cdf
from quant.errors import CorpusError, UsageError
from quant.space import WeightSpace
from tests import tiny
from tests.tiny_tokenizer import tokenizer

LENGTH = 24


def sharpened(architecture: str) -> nn.Module:
    """A tiny model with a peaked distribution: a random one is so flat that temperature and top-k barely show."""
    model = tiny.ARCHITECTURES[architecture]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    return model


def checkpoint_of(model: nn.Module, **options: bool) -> Checkpoint:
    return Checkpoint("tiny", model, tokenizer(**options), "f" * 64, WeightSpace.of(model))


def score(model: nn.Module, windows: torch.Tensor) -> float:
    """Σ(nll − H)/√ΣVar over all scored tokens, from one plain forward pass in float64."""
    with torch.no_grad():
        logits = model(input_ids=windows).logits[:, :-1].double()
    log_p = torch.log_softmax(logits, dim=-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    variance = (log_p.exp() * log_p.square()).sum(-1) - entropy.square()
    nll = -log_p.gather(-1, windows[:, 1:, None])[..., 0]
    return float((nll - entropy).sum() / variance.sum().sqrt())


def sample(checkpoint: Checkpoint, cache: Path, count: int = 64, seed: int = 0) -> torch.Tensor:
    return load_corpus("self", checkpoint, LENGTH, sizes={"test": count}, seed=seed, cache=cache).windows("test")


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_surprise_is_the_entropy(architecture: str, tmp_path: Path) -> None:
    model = sharpened(architecture)
    assert abs(score(model, sample(checkpoint_of(model), tmp_path))) < 4


def _temperature(logits: torch.Tensor) -> torch.Tensor:
    return logits / 0.8


def _top_k(logits: torch.Tensor) -> torch.Tensor:
    return logits.masked_fill(logits < logits.topk(20).values[:, -1:], -math.inf)


@pytest.mark.parametrize("change", [_temperature, _top_k])
def test_the_score_would_see_a_truncated_or_cooled_sample(
    change: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = sharpened("llama")
    monkeypatch.setattr(sampling, "inverse_cdf", lambda logits, u: inverse_cdf(change(logits), u))
    assert abs(score(model, sample(checkpoint_of(model), tmp_path))) > 4


def test_no_id_is_suppressed_and_none_stops_a_window(tmp_path: Path) -> None:
    """A zeroed head makes all 61 ids alike, among them begin, end and unknown."""
    model = tiny.llama()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    windows = sample(checkpoint_of(model), tmp_path, 64)
    assert windows.shape == (64, LENGTH)
    counts = windows[:, 1:].flatten().bincount(minlength=61)
    expected = 64 * (LENGTH - 1) / 61
    assert float((counts - expected).square().sum() / expected) < 60 + 5 * math.sqrt(120)  # χ² with 60 degrees
    after_end = windows[:, 2:][windows[:, 1:-1] == 1]
    assert len(after_end.unique()) > 5


def test_windows_begin_with_the_beginning_of_text(tmp_path: Path) -> None:
    model = tiny.llama()
    assert sample(checkpoint_of(model), tmp_path, 9)[:, 0].tolist() == [0] * 9
    assert sample(checkpoint_of(model, bos=False), tmp_path, 9)[:, 0].tolist() == [1] * 9
    none = checkpoint_of(model, bos=False)
    none.tokenizer.eos_token = None
    with pytest.raises(CorpusError, match="found neither"):
        sample(none, tmp_path)


def test_more_windows_sample_only_the_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = checkpoint_of(tiny.opt())
    few = sample(checkpoint, tmp_path, 11)
    calls: list[int] = []
    checkpoint.model.register_forward_pre_hook(lambda *_: calls.append(1))
    assert torch.equal(sample(checkpoint, tmp_path, 16), sample(checkpoint, tmp_path, 16))
    assert torch.equal(sample(checkpoint, tmp_path, 16)[:11], few)
    assert calls == []
    more = sample(checkpoint, tmp_path, 17)
    assert len(calls) == LENGTH - 1 + 8  # one batch more, and a full pass over each of its windows
    assert torch.equal(more[:11], few)
    assert torch.equal(more, sample(checkpoint, tmp_path / "elsewhere", 17))


def test_splits_seeds_and_windows_differ(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    corpus = load_corpus("self", checkpoint, LENGTH, sizes={"train": 8, "validation": 8}, cache=tmp_path)
    rows = torch.cat(
        [*corpus.splits.values(), sample(checkpoint, tmp_path, 8), sample(checkpoint, tmp_path, 8, seed=1)]
    )
    assert len(rows.unique(dim=0)) == 32


def test_fingerprint_stays_as_windows_are_added(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())

    def mark(count: int, seed: int = 0, length: int = LENGTH) -> str:
        return load_corpus("self", checkpoint, length, sizes={"test": count}, seed=seed, cache=tmp_path).fingerprint

    assert mark(1) == mark(9)
    assert len({mark(1), mark(1, seed=1), mark(1, length=12)}) == 3


def test_number_of_windows_must_be_given(tmp_path: Path) -> None:
    for sizes in ({}, {"test": None}):
        with pytest.raises(UsageError, match="number of windows"):
            load_corpus("self", checkpoint_of(tiny.llama()), LENGTH, sizes=sizes, cache=tmp_path)


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    def state() -> list[str]:
        parts = (torch.get_rng_state().numpy(), np.random.get_state(), random.getstate())
        return [hashlib.sha256(pickle.dumps(part)).hexdigest() for part in parts]

    before = state()
    first = sample(checkpoint_of(tiny.llama()), tmp_path, 3)
    assert state() == before
    torch.manual_seed(1)
    assert torch.equal(sample(checkpoint_of(tiny.llama()), tmp_path / "again", 3), first)


def _flipped(path: Path) -> None:
    """One bit of the last token, as a disk or a cable flips it."""
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def _unhashed(path: Path) -> None:
    """What an earlier version left."""
    save_file({"ids": torch.zeros(8, LENGTH, dtype=torch.int64)}, path)


@pytest.mark.parametrize("damage", [_flipped, _cut_short, _unhashed])
def test_damage_is_absence(damage: Callable[[Path], None], tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    first = sample(checkpoint, tmp_path, 8)
    (path,) = (tmp_path / "self" / ("f" * 16)).rglob("*.safetensors")
    assert load_file(path)["ids"].shape == (8, LENGTH)
    damage(path)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged.*sampled again"):
        assert torch.equal(sample(checkpoint, tmp_path, 8), first)
    assert torch.equal(sample(checkpoint, tmp_path, 8), first)


def test_a_batch_under_the_name_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    first = sample(checkpoint, tmp_path, 16)
    one, two = sorted((tmp_path / "self" / ("f" * 16)).rglob("*.safetensors"))
    one.write_bytes(two.read_bytes())
    with pytest.warns(UserWarning, match="is damaged"):
        assert torch.equal(sample(checkpoint, tmp_path, 16), first)


MEMORYLESS = {
    "openai-gpt": lambda: OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(vocab_size=61, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    ),
    "mamba": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=61, hidden_size=16, num_hidden_layers=2, state_size=4, max_position_embeddings=64)
    ),
    "rwkv": lambda: RwkvForCausalLM(RwkvConfig(vocab_size=61, hidden_size=16, num_hidden_layers=2, context_length=64)),
}


def peaked(make: Callable[[], nn.Module]) -> nn.Module:
    """A tiny model whose predictions depend on what was before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    return model


@pytest.mark.parametrize("family", MEMORYLESS)
def test_a_model_without_a_memory_is_sampled_by_full_passes(family: str, tmp_path: Path) -> None:
    model = peaked(MEMORYLESS[family])
    with pytest.warns(UserWarning, match=f"sampled by full passes, {LENGTH - 1} for each window"):
        windows = sample(checkpoint_of(model), tmp_path, 32)
    assert abs(score(model, windows)) < 4


@pytest.mark.parametrize("family", MEMORYLESS)
def test_the_score_would_see_tokens_drawn_without_their_past(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = peaked(MEMORYLESS[family])
    monkeypatch.setattr(sampling, "_agree", lambda *_: True)
    assert abs(score(model, sample(checkpoint_of(model), tmp_path, 32))) > 4


def test_a_model_that_sees_later_tokens_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=61, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    model = peaked(lambda: BertLMHeadModel(config))
    with (
        pytest.warns(UserWarning, match="full passes"),
        pytest.raises(CorpusError, match=r"expected a causal model .* depends on later tokens"),
    ):
        sample(checkpoint_of(model), tmp_path, 8)


def test_inverse_cdf_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 7, generator=generator) * 3
    logits[:, 2] = -math.inf
    uniform = torch.rand(50, generator=generator, dtype=torch.float64)
    for row, u, got in zip(logits.tolist(), uniform.tolist(), inverse_cdf(logits, uniform).tolist(), strict=True):
        weights = [math.exp(x) for x in row]
        total, k = 0.0, 0
        while total + weights[k] <= u * math.fsum(weights):
            total += weights[k]
            k += 1
        assert got == k


def test_inverse_cdf_at_its_ends_avoids_impossible_ids() -> None:
    logits = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]])
    assert inverse_cdf(logits, torch.tensor([0.0], dtype=torch.float64)).tolist() == [1]
    assert inverse_cdf(logits, torch.tensor([0.5], dtype=torch.float64)).tolist() == [2]
    assert inverse_cdf(logits, torch.tensor([1 - 2.0**-53], dtype=torch.float64)).tolist() == [2]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_logits_without_finite_values_are_an_error(wrong: float) -> None:
    with pytest.raises(CorpusError, match="finite logits"):
        inverse_cdf(torch.tensor([[0.0, wrong]]), torch.zeros(1, dtype=torch.float64))


def test_a_first_token_beyond_the_vocabulary_is_one_line(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    checkpoint.tokenizer.add_special_tokens({"bos_token": "<beyond>"})
    with pytest.raises(CorpusError, match=r"below 61.*got 61"):
        sample(checkpoint, tmp_path)
