"""Every family trains, is saved as a folder that any tool loads, and an interruption changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import data.train
from benchmarks.models import families, measured, texts, train
from benchmarks.rows import read_rows
from quant import WeightSpace, load_checkpoint

RECIPE = replace(families.RECIPE, hidden=16, layers=2, heads=2, positions=32, lengths=(8, 16), batch_tokens=32)
SHORT = replace(RECIPE, steps=6, warmup=2, every=2)
ROUND_TRIP = "A \t tab, an é, 漢字,\n\n = Title = \n <unk> @-@ 1 @,@ 000 \r\x00 and more.  "


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small text in the form of WikiText."""
    folder, rng = tmp_path_factory.mktemp("wikitext"), np.random.default_rng(0)
    words = ["the", "a", "river", "town", "of", "in", "was", "built", "<unk>", "1 @,@ 000", "and", ","]
    for split, count in (("train", 12), ("validation", 4), ("test", 4)):
        pages = [f" \n = Page {i} = \n \n {' '.join(rng.choice(words, 120))} . \n" for i in range(count)]
        (folder / f"{split}.txt").write_text("".join(pages), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def text(corpus: Path) -> texts.TrainingText:
    return texts.wikitext(str(corpus), RECIPE.positions)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_is_trained_saved_and_opened(name: str, text: texts.TrainingText, tmp_path: Path) -> None:
    """By transformers and by the toolkit, with the loss that the training measured."""
    family, rows = families.FAMILIES[name], tmp_path / "rows.jsonl"
    train.make(family, SHORT, text, tmp_path, rows)
    (row,) = read_rows(rows)
    folder = tmp_path / name
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer.decode(texts.encode(tokenizer, ROUND_TRIP)) == ROUND_TRIP
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id) == (0, 1)
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.fingerprint.startswith(row["fingerprint"])
    assert checkpoint.context == RECIPE.positions
    assert row["dimension"] == checkpoint.space.dimension < row["parameters"] == model.num_parameters()
    state = train.train_model(family, SHORT, text, tmp_path)
    assert data.train.nll(model, text.spread(8), 8) == pytest.approx(state.best, abs=1e-6)
    assert row["loss"]["test"] < np.log(row["vocabulary"])


def test_an_interrupted_training_ends_in_the_same_weights(
    text: texts.TrainingText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = families.FAMILIES["gpt-neox"]
    whole = train.train_model(family, SHORT, text, tmp_path / "whole")
    step = data.train.train_step

    def killed(state: data.train.State, recipe: data.train.Recipe, batch: torch.Tensor) -> float:
        if state.step == 5:
            raise KeyboardInterrupt
        return step(state, recipe, batch)

    with monkeypatch.context() as patch:
        patch.setattr(data.train, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train_model(family, SHORT, text, tmp_path / "killed")
    torch.manual_seed(99)
    resumed = train.train_model(family, SHORT, text, tmp_path / "killed")
    assert resumed.rows == whole.rows
    assert whole.best_weights.keys() == resumed.best_weights.keys()
    assert all(torch.equal(weight, resumed.best_weights[name]) for name, weight in whole.best_weights.items())


@pytest.mark.parametrize("family", families.FAMILIES.values(), ids=lambda family: family.name)
def test_matrices_fit_into_groups_of_128(family: families.Family) -> None:
    """As the models are trained, with 1 to 10 million parameters."""
    vocabulary = texts.VOCABULARY if family.text == "wikitext-2" else 1024
    model = family.build(family.recipe, vocabulary)
    assert 1e6 <= model.num_parameters() <= 1e7
    assert all(slot.inputs % 128 == 0 for slot in WeightSpace.of(model))


def test_documents_begin_with_the_first_token(text: texts.TrainingText, corpus: Path) -> None:
    assert all(document[0] == 0 and 0 not in document[1:] for document in text.documents)
    joined = "".join(text.tokenizer.decode(document[1:]) for document in text.documents)
    assert joined == (corpus / "train.txt").read_text()


def test_the_baseline_is_that_of_the_frequencies() -> None:
    """Two tokens of three, counts 2 and 0, with one added to each: 3 of 5 and 1 of 5."""
    windows = torch.tensor([[2, 0, 0], [1, 0, 2]])
    expected = -(3 * np.log(3 / 5) + np.log(1 / 5)) / 4
    assert measured.unigram_loss(np.array([2, 0, 0]), windows) == pytest.approx(expected, abs=1e-5)
