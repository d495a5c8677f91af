"""Keep the samples of each kind of device and precision apart: their last tokens may differ."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quant.checkpoints.checkpoint import Checkpoint
from quant.corpora.corpus import Corpus, load_corpus
from quant.files.hashed_files import read_hashed
from quant.numerics import matmul_precision
from tests import tiny
from tests.quant.corpora.test_self_corpus import LENGTH, checkpoint_of, sharpened

CPU, CARD, CARDS = (
    (torch.device("cpu"),),
    (torch.device("cuda", 0),),
    (torch.device("cuda", 1), torch.device("cuda", 0)),
)


def corpus_on(
    checkpoint: Checkpoint, cache: Path, devices: tuple[torch.device, ...] = CPU, precision: str = "highest"
) -> Corpus:
    """Load windows of a model that is said to lie on these devices, and computes on the host."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "devices", property(lambda self: devices))
        placed = replace(checkpoint, matmul_precision=precision)
        return load_corpus("self", placed, LENGTH, sizes={"test": 8}, cache=cache)


def test_samples_of_another_kind_are_not_taken(tmp_path: Path) -> None:
    """The samples of each kind are made to differ by other weights, which the stated fingerprint does not show."""
    model = sharpened("llama")
    checkpoint = checkpoint_of(model)
    kinds = [(CPU, "highest"), (CARD, "highest"), (CARD, "high")]
    found = []
    for kind in kinds:
        found.append(corpus_on(checkpoint, tmp_path, *kind))
        with torch.no_grad():
            model.lm_head.weight.mul_(-1.1)
    assert len({corpus.fingerprint for corpus in found}) == 3
    windows = [corpus.splits["test"] for corpus in found]
    assert not any(torch.equal(windows[i], windows[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    for kind, corpus in zip(kinds, found, strict=True):  # none was written over, and none is sampled again
        assert torch.equal(corpus_on(checkpoint, tmp_path, *kind).splits["test"], corpus.splits["test"])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_several_cards_are_of_the_kind_of_one(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    one, two = (corpus_on(checkpoint, tmp_path, cards) for cards in (CARD, CARDS))
    assert one.fingerprint == two.fingerprint
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_samples_of_a_cpu_keep_their_place_and_recipe(tmp_path: Path) -> None:
    """Earlier versions wrote this recipe at this place: their samples are still found."""
    corpus = corpus_on(checkpoint_of(tiny.llama()), tmp_path)
    mark = hashlib.sha256(json.dumps(["self", "f" * 64, 0, LENGTH, 0]).encode()).hexdigest()
    assert corpus.fingerprint == mark
    path = tmp_path / "self" / ("f" * 16) / f"seed0-length{LENGTH}-first0" / "test-00000.safetensors"
    read = read_hashed(path, {"recipe": json.dumps([mark, "test", 0])})
    assert read is not None
    assert torch.equal(read[0]["ids"], corpus.splits["test"])


def test_samples_are_computed_at_the_precision_that_they_are_kept_under(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tiny.llama())
    found: set[str] = set()
    checkpoint.model.register_forward_pre_hook(lambda *_: found.add(torch.get_float32_matmul_precision()))
    with matmul_precision("high"):
        corpus_on(checkpoint, tmp_path)
        assert torch.get_float32_matmul_precision() == "high"
    assert found == {"highest"}
    found.clear()
    corpus_on(checkpoint, tmp_path, CARD, "high")
    assert found == {"high"}
