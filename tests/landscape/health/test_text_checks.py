"""Check that each check of a text passes on a sound one and fails on the fault that it is for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, OpenAIGPTConfig, OpenAIGPTLMHeadModel

from landscape.health.text_checks import (
    BEGINNING,
    CAUSAL,
    OWN,
    SPLITS,
    ProbedText,
    beginning_gain,
    causal,
    surprise,
    text_checks,
)
from landscape.probing.plan import Window, identified
from landscape.radius import RadiusRequest, measure_radius
from landscape.session.progress import Silent
from landscape.session.run_record import Check
from quant.checkpoints.checkpoint import Checkpoint
from quant.corpora import sampling
from quant.corpora.corpus import load_corpus
from quant.errors import UsageError
from quant.nll import token_nll
from quant.space import WeightSpace
from tests import tiny
from tests.tiny_tokenizer import tokenizer, words

LENGTH = 60


def checkpoint_of(model: nn.Module, **options: bool) -> Checkpoint:
    return Checkpoint("tiny", model, tokenizer(**options), "f" * 64, WeightSpace.of(model))


def openai_gpt() -> nn.Module:
    """Takes no keys and values, and says nothing of it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OpenAIGPTLMHeadModel(
            OpenAIGPTConfig(vocab_size=61, n_positions=64, n_embd=16, n_layer=2, n_head=2)
        ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    model.config.max_position_embeddings = 64
    return model


def own_text(checkpoint: Checkpoint, cache: Path) -> ProbedText:
    corpus = load_corpus(
        "self", checkpoint, LENGTH, sizes={"validation": 8}, cache=cache, warn=lambda line: None
    )  # fmt: skip
    return ProbedText.of(checkpoint, corpus, identified(corpus.windows("validation")))


def only(checks: tuple[Check, ...], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


# ---- causality ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2, tiny.opt])
def test_causal_models_pass(make) -> None:
    check = causal(make(), identified(tiny.windows(1, 20))[0])
    assert check.passed
    assert "from left to right" in check.words


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_a_model_that_sees_both_ways_fails(kind: str) -> None:
    """transformers makes a language model of either, and scores the tokens that it has read."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = AutoConfig.for_model(kind, vocab_size=tiny.VOCABULARY, max_position_embeddings=64, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    check = causal(model, identified(tiny.windows(1, 20))[0])
    assert check.passed is False
    assert "use a causal one" in check.words


# ---- own samples -------------------------------------------------------------------------------------------------


def test_surprise_is_by_hand(tmp_path: Path) -> None:
    model, windows = tiny.llama(), identified(tiny.windows(2))
    excess = variance = 0.0
    for window in windows:
        with torch.no_grad():
            rows = model(input_ids=window.tokens[None]).logits[0, :-1].double().tolist()
        for row, target in zip(rows, window.tokens[1:].tolist(), strict=True):
            total = math.fsum(math.exp(x) for x in row)
            p = [math.exp(x) / total for x in row]
            entropy = -math.fsum(q * math.log(q) for q in p)
            excess += -math.log(p[target]) - entropy
            variance += math.fsum(q * (math.log(q) + entropy) ** 2 for q in p)
    assert surprise(model, windows) == pytest.approx((excess, variance), rel=1e-9)


@pytest.mark.parametrize("family", ["llama", "openai-gpt"])
def test_own_samples_pass(family: str, tmp_path: Path) -> None:
    model = tiny.llama() if family == "llama" else openai_gpt()
    check = only(text_checks(own_text(checkpoint_of(model), tmp_path), model, evaluated=True), OWN)
    assert check.passed is True


@pytest.mark.parametrize("family", ["openai-gpt", "llama with another model's text"])
def test_what_is_not_the_models_own_text_fails(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens drawn as if each stood alone, as before samples were held against a full pass; and other weights."""
    monkeypatch.setattr(sampling, "_agree", lambda *_: True)
    model = openai_gpt()
    text = own_text(checkpoint_of(model), tmp_path)
    judge = model if family == "openai-gpt" else tiny.llama(seed=1)
    if judge is not model:
        with torch.no_grad():
            judge.lm_head.weight.mul_(8)
    check = only(text_checks(text, judge, evaluated=True), OWN)
    assert check.passed is False
    assert "not the model's own text" in check.words


def test_a_run_that_evaluated_nothing_calls_no_model(tmp_path: Path) -> None:
    model = tiny.llama()
    text = own_text(checkpoint_of(model), tmp_path)
    model.register_forward_hook(lambda *_: pytest.fail("the model was called"))
    other = ProbedText(text.windows, own=False, beginning=0, notes=("Cut.",))
    assert [check.passed for check in text_checks(text, model, evaluated=False)] == [None, None]
    assert [check.name for check in text_checks(other, model, evaluated=False)] == [CAUSAL, BEGINNING, SPLITS]


# ---- beginning of text -------------------------------------------------------------------------------------------


def trained(begun: bool) -> nn.Module:
    """A model that repeats its token; if ``begun``, only where ``<s>`` stands before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tiny.llama().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            batch = torch.randint(3, 20, (16, 1)).repeat(1, 12)
            if begun:  # without <s> each token is the one before, or the next one
                steps = torch.cat([batch[:, :1], torch.randint(0, 2, (16, 12))], 1).cumsum(1)
                batch = torch.cat([torch.cat([torch.zeros(16, 1, dtype=torch.int64), batch], 1), steps])
            optimizer.zero_grad()
            token_nll(model, batch).mean().backward()
            optimizer.step()
    return model.eval()


def repeats() -> tuple[Window, ...]:
    return identified(torch.arange(4, 12)[:, None].repeat(1, 10))


def test_the_gain_is_of_the_same_tokens() -> None:
    model, windows = trained(begun=True), repeats()[:2]
    gain = 0.0
    with torch.no_grad():
        for window in windows:
            ids = window.tokens[:9].tolist()
            for shift, begin in ((1, []), (-1, [0])):
                logits = model(input_ids=torch.tensor([begin + ids])).logits[0].double().log_softmax(-1)
                gain -= shift * sum(float(logits[len(begin) + i - 1, ids[i]]) for i in range(1, 9))
    assert beginning_gain(model, windows, 0) == pytest.approx(gain / 16, abs=1e-6)


@pytest.mark.parametrize("begun", [True, False])
def test_a_model_that_needs_its_beginning_is_found(begun: bool) -> None:
    text = ProbedText(repeats(), own=False, beginning=0)
    check = only(text_checks(text, trained(begun), evaluated=True), BEGINNING)
    assert check.passed is not begun
    assert ("use --bos" in check.words) is begun


def test_the_token_stands_before_the_same_windows(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text(words(list(range(3, 53))))
    plain, begun = (load_corpus(str(tmp_path), checkpoint, 7, cache=tmp_path, bos=bos) for bos in (False, True))
    for seed in (0, 1):
        rows = begun.windows("train", 4, seed)
        assert rows[:, 0].tolist() == [0] * 4
        assert torch.equal(rows[:, 1:], plain.windows("train", 4, seed))
    assert begun.fingerprint != plain.fingerprint
    assert (plain.seq_len, plain.bos, begun.seq_len, begun.bos) == (7, None, 7, 0)
    with pytest.raises(UsageError, match="from 2 to 63, what tiny takes beside the token of --bos, got 64"):
        load_corpus(str(tmp_path), checkpoint, 64, cache=tmp_path, bos=True)
    with pytest.raises(UsageError, match="found none; leave --bos out"):
        load_corpus(str(tmp_path), checkpoint_of(tiny.llama(), bos=False), 7, cache=tmp_path, bos=True)


def test_self_begins_with_it_anyway(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    plain, begun = (
        load_corpus("self", checkpoint, LENGTH, sizes={"test": 8}, cache=tmp_path, bos=bos) for bos in (False, True)
    )
    assert torch.equal(plain.windows("test"), begun.windows("test"))
    assert plain.fingerprint == begun.fingerprint
    assert own_text(checkpoint, tmp_path).beginning is None


# ---- a whole command ---------------------------------------------------------------------------------------------


def test_a_command_reports_cut_splits_and_a_missing_beginning(tmp_path: Path, saved) -> None:
    folder = saved(trained(begun=True))
    lines = [words([3 + i % 17] * 12) for i in range(400)]
    text = tmp_path / "one.txt"
    text.write_text("\n".join(lines))
    progress = Silent()
    request = RadiusRequest(
        str(folder), data=str(text), seq_len=12, precision=0.9, minutes=0.05, store=tmp_path / "store"
    )  # fmt: skip
    without = measure_radius(request, progress)
    assert only(without.run.health, BEGINNING).passed is False
    assert "cut from the end of train" in only(without.run.health, SPLITS).words
    assert any("--bos" in line for line in progress.warnings)
    assert any("cut from the end of train" in line for line in progress.warnings)
    begun = measure_radius(
        RadiusRequest(**{**vars(request), "bos": True}), progress
    )  # fmt: skip
    assert not [check for check in begun.run.health if check.name == BEGINNING]
    assert begun.subject.seq_len == without.subject.seq_len == 12
    assert begun.search.probes.center_nll < without.search.probes.center_nll - 0.3
    assert begun.search.probes.tokens.tolist() == [12] * len(begun.search.probes.tokens)
