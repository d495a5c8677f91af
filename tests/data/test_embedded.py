"""What is embedded is what its report says: the corpus `tales` and the model `opt-nano`."""

from __future__ import annotations

import csv
import json
import lzma
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, OPTForCausalLM, PreTrainedTokenizerBase

DATA = Path(__file__).parents[2] / "data"
MODEL = DATA / "opt-nano"
SPLITS = ("train", "validation", "test")
END = "</s>"


@cache
def text_of(split: str) -> str:
    return lzma.decompress((DATA / "tales" / f"{split}.txt.xz").read_bytes()).decode("utf-8")


@cache
def stories_of(split: str) -> list[str]:
    return [story.removesuffix("\n") for story in text_of(split).split(END)[1:]]


@cache
def report() -> dict:
    return json.loads((MODEL / "training.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def model() -> OPTForCausalLM:
    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()


def test_sizes_stay_small() -> None:
    assert (MODEL / "model.safetensors").stat().st_size <= 6e6
    assert sum(file.stat().st_size for file in (DATA / "tales").iterdir()) <= 1.5e6


@pytest.mark.parametrize("split", SPLITS)
def test_format_is_one_story_after_another(split: str) -> None:
    text = text_of(split)
    assert text == "".join(f"{END}{story}\n" for story in stories_of(split))
    assert text.isascii()
    assert "\n\n" not in text
    assert len(stories_of(split)) == report()["corpus"][split]["stories"]
    assert len(text) == report()["corpus"][split]["bytes"]


@pytest.mark.parametrize("split", SPLITS)
def test_every_story_ends_with_a_sentence(split: str) -> None:
    assert [story[-40:] for story in stories_of(split) if not re.search(r'[.!?]"?$', story)] == []
    assert [story[-40:] for story in stories_of(split) if re.search(r"\b(Mrs?|Ms|Dr|St)\.$", story)] == []


def test_no_story_is_in_two_splits() -> None:
    stories = [story for split in SPLITS for story in stories_of(split)]
    assert len(set(stories)) == len(stories)
    openings = [tuple(story.lower().split()[:25]) for story in stories]
    assert len(set(openings)) == len(openings)


@pytest.mark.parametrize("split", SPLITS)
def test_no_unfit_word(split: str) -> None:
    lines = (DATA / "unfit-words.txt").read_text("utf-8").splitlines()
    unfit = {word for line in lines if not line.startswith("#") for word in line.split()}
    assert len(unfit) > 200
    assert unfit.isdisjoint(re.findall(r"[a-z]+", text_of(split).lower()))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_tokenizer_round_trip_and_count(tokenizer: PreTrainedTokenizerBase, split: str) -> None:
    ids = tokenizer(text_of(split), add_special_tokens=False, verbose=False).input_ids
    assert tokenizer.decode(ids) == text_of(split)
    assert len(ids) == report()["corpus"][split]["tokens"]
    assert ids.count(tokenizer.eos_token_id) == len(stories_of(split))


def test_tokenizer_reads_any_text(tokenizer: PreTrainedTokenizerBase) -> None:
    text = " two  spaces , a tab\t, Zoë, 中文 and 🦊\n\n"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_special_tokens(tokenizer: PreTrainedTokenizerBase, model: OPTForCausalLM) -> None:
    config = model.config
    assert tokenizer.bos_token == tokenizer.eos_token == END
    assert tokenizer.bos_token_id == config.bos_token_id == config.eos_token_id == 0
    assert tokenizer.pad_token_id == config.pad_token_id == 1
    assert len(tokenizer) == config.vocab_size
    assert tokenizer("A fox.").input_ids == tokenizer("A fox.", add_special_tokens=False).input_ids


def test_model_is_a_small_opt_without_dropout(model: OPTForCausalLM) -> None:
    assert isinstance(model, OPTForCausalLM)
    assert model.num_parameters() == report()["parameters"]
    assert 1e6 * 0.9 <= model.num_parameters() <= 3e6
    assert model.config.dropout == model.config.attention_dropout == model.config.layerdrop == 0
    assert model.config.max_position_embeddings >= 512
    assert model.lm_head.weight is model.model.decoder.embed_tokens.weight


def test_weights_are_exact_in_half_precision_and_load_as_float32() -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    for weight in model.parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, weight.half().float())


@torch.no_grad()
def window_nll(model: OPTForCausalLM, tokens: list[int], length: int) -> float:
    rows = torch.tensor(tokens[: len(tokens) // length * length]).view(-1, length)
    total = 0.0
    for batch in rows.split(16):
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
        total -= logits.log_softmax(-1).gather(2, batch[:, 1:, None]).double().sum().item()
    return total / rows[:, 1:].numel()


@pytest.mark.parametrize("length", [256, 512])
def test_validation_nll_is_what_the_report_says(
    model: OPTForCausalLM, tokenizer: PreTrainedTokenizerBase, length: int
) -> None:
    tokens = tokenizer(text_of("validation"), add_special_tokens=False, verbose=False).input_ids
    assert window_nll(model, tokens, length) == pytest.approx(
        report()["corpus"]["validation"][f"nll_{length}"], abs=1e-3
    )


def test_kept_weights_are_the_minimum_of_the_curve() -> None:
    with (MODEL / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    losses = [float(row["validation_loss"]) for row in rows]
    best = losses.index(min(losses))
    assert steps == sorted(set(steps))
    assert steps[best] == report()["best_step"]
    assert losses[best] == pytest.approx(report()["corpus"]["validation"]["nll_256"], abs=0.02)
    assert min(losses[-5:]) - losses[best] > 0.005, "the curve does not turn: train longer"


def test_model_tells_a_story_from_the_end_of_text_token(
    model: OPTForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    torch.manual_seed(0)
    start = torch.full((4, 1), tokenizer.bos_token_id)
    rows = model.generate(start, attention_mask=torch.ones_like(start), do_sample=True, max_new_tokens=40)
    known = set(re.findall(r"[A-Za-z']+", text_of("train")))
    for row in rows.tolist():
        words = re.findall(r"[A-Za-z']+", tokenizer.decode(row, skip_special_tokens=True))
        assert sum(word in known for word in words) >= 0.8 * len(words) > 10
