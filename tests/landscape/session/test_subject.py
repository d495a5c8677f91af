"""Check windows where a model has no limit of length, a loss at w that is no number, and a level other than chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
)

from landscape.radius import RadiusRequest, measure_radius
from landscape.session.presets import PRESETS
from landscape.session.subject import check_center, prepare, prepare_split, unigram_entropy
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.errors import CheckpointError, UsageError
from tests import tiny
from tests.tiny_tokenizer import words

Save = Callable[..., Path]


def bloom() -> nn.Module:
    """ALiBi: it takes any length."""
    torch.manual_seed(0)
    return BloomForCausalLM(BloomConfig(vocab_size=tiny.VOCABULARY, hidden_size=16, n_layer=2, n_head=2))


def neox() -> nn.Module:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32,
    )  # fmt: skip
    return GPTNeoXForCausalLM(config)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for seed, split in enumerate(("train", "validation", "test")):
        ids = torch.randint(3, tiny.VOCABULARY, (3 * 2048 + 5,), generator=torch.Generator().manual_seed(seed))
        (folder / f"{split}.txt").write_text(words(ids.tolist()))
    return folder


@pytest.mark.parametrize(("make", "length", "shorter"), [(bloom, 2048, 512), (neox, 32, 32)])
def test_windows_are_as_long_as_a_model_takes(
    saved: Save, text: Path, tmp_path: Path, make: Callable[[], nn.Module], length: int, shorter: int
) -> None:
    checkpoint = load_checkpoint(str(saved(make())))
    few = {"train_windows": 1, "validation_windows": 2, "test_windows": 1}
    subject = prepare(checkpoint, str(text), replace(PRESETS["paper"], **few), (), 0, tmp_path)  # type: ignore[arg-type]
    assert subject.seq_len == length
    assert prepare_split(checkpoint, str(text), "validation", None, 0, tmp_path).seq_len == shorter


def test_the_default_length_is_cut_to_what_a_model_takes_and_a_number_of_the_user_is_not(
    saved: Save, text: Path, tmp_path: Path
) -> None:
    checkpoint, few = load_checkpoint(str(saved(neox()))), {"train_windows": 1, "validation_windows": 2}
    heard: list[str] = []
    quick = replace(PRESETS["quick"], test_windows=1, **few)  # type: ignore[arg-type]
    assert prepare(checkpoint, str(text), quick, (), 0, tmp_path, warn=heard.append).seq_len == 32
    assert heard == ["windows have 32 tokens, as the model accepts no more; the default is 512"]
    with pytest.raises(UsageError, match="from 2 to 32"):
        prepare(checkpoint, str(text), replace(quick, seq_len=33), (), 0, tmp_path)


def test_a_length_beyond_a_limit_is_refused_and_beyond_none_is_not(saved: Save, text: Path, tmp_path: Path) -> None:
    free, bound = (load_checkpoint(str(saved(make(), make.__name__))) for make in (bloom, neox))
    assert load_corpus(str(text), free, 3000, cache=tmp_path).splits["test"].shape == (2, 3000)
    with pytest.raises(UsageError, match="from 2 to 32"):
        load_corpus(str(text), bound, 33, cache=tmp_path)
    with pytest.raises(UsageError, match="at least 2, got 1"):
        load_corpus(str(text), free, 1, cache=tmp_path)


@pytest.mark.parametrize("nll", [math.nan, math.inf])
def test_an_overflow_is_called_so_and_the_wider_dtypes_are_named(nll: float) -> None:
    with pytest.raises(CheckpointError, match="overflow in float16; try --dtype bfloat16 or --dtype float32"):
        check_center(nll, 4.0, "tales", "float16")
    with pytest.raises(CheckpointError, match="overflow in bfloat16; try --dtype float32"):
        check_center(nll, 4.0, "tales", "bfloat16")
    with pytest.raises(CheckpointError, match="hold infinities"):
        check_center(nll, 4.0, "tales", "float32")
    with pytest.raises(CheckpointError, match="beats chance"):
        check_center(4.5, 4.0, "tales", "float16")


def test_a_model_that_overflows_in_half_precision(saved: Save, text: Path, tmp_path: Path) -> None:
    model = tiny.llama()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.fill_(300.0)
        model.model.layers[0].mlp.down_proj.weight.fill_(300.0)
    request = RadiusRequest(model=str(saved(model)), data=str(text), seq_len=16, dtype="float16", store=tmp_path)
    with pytest.raises(CheckpointError, match="overflow in float16"):
        measure_radius(request)


def test_the_store_is_named_by_the_dtype_that_auto_stands_for(saved: Save, text: Path, tmp_path: Path) -> None:
    folder = saved(tiny.llama().bfloat16())
    request = RadiusRequest(model=str(folder), data=str(text), seq_len=16, dtype="auto", store=tmp_path / "store")
    with pytest.raises(CheckpointError, match="beats chance"):
        measure_radius(request)
    stores = [path.name for path in (tmp_path / "store").iterdir() if "-" in path.name and path.name != "in-use"]
    assert [name.partition("-")[2] for name in stores] == ["bfloat16"]


def test_a_model_with_matrices_that_no_logit_depends_on_is_refused_before_a_store_is_begun(
    saved: Save, text: Path, tmp_path: Path
) -> None:
    folder = saved(GPT2LMHeadModel(GPT2Config(
        vocab_size=tiny.VOCABULARY, n_positions=64, n_embd=16, n_layer=2, n_head=2, add_cross_attention=True
    )))  # fmt: skip
    request = RadiusRequest(model=str(folder), data=str(text), seq_len=16, store=tmp_path / "store")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"have none: .*crossattention"):
            measure_radius(request)
    with pytest.raises(CheckpointError, match="beats chance"):
        measure_radius(replace(request, exclude=("*.crossattention.*",)))


def test_a_text_of_equally_frequent_tokens_has_the_entropy_of_a_uniform_guess():
    every = torch.arange(7).repeat(3000).reshape(-1, 100)
    assert unigram_entropy(every) == pytest.approx(math.log(7), abs=6 / (2 * 21000) + 1e-12)


def test_it_is_the_entropy_of_the_shares_but_for_the_correction():
    counts = [50, 30, 15, 5]
    ids = torch.repeat_interleave(torch.tensor([3, 900, 17, 4]), torch.tensor(counts))
    assert unigram_entropy(ids) - stats.entropy(counts) == pytest.approx(3 / 200)


def test_short_texts_are_right_on_average():
    """400 tokens of 64 types of Zipf's law: the entropy of the shares alone is 0.06 nats low."""
    shares = 1 / np.arange(1, 65)
    shares /= shares.sum()
    rng = np.random.default_rng(0)
    drawn = [torch.from_numpy(rng.choice(64, 400, p=shares)) for _ in range(200)]
    found = np.array([unigram_entropy(ids) for ids in drawn])
    assert found.mean() == pytest.approx(stats.entropy(shares), abs=0.02)
    plain = np.array([stats.entropy(np.bincount(ids.numpy())) for ids in drawn])
    assert plain.mean() < stats.entropy(shares) - 0.04
