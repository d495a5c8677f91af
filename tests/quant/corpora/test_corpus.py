from __future__ import annotations

import gzip
import lzma
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from quant.checkpoints import hub
from quant.checkpoints.checkpoint import Checkpoint
from quant.corpora import tokenized
from quant.corpora.corpus import Corpus, load_corpus
from quant.errors import CorpusError, UsageError
from quant.files.cache import cache_folder
from quant.philox import uniforms
from quant.space import WeightSpace
from tests import tiny
from tests.tiny_tokenizer import tokenizer, words

IDS = {"train": list(range(3, 53)), "validation": list(range(30, 51)), "test": list(range(60, 30, -1))}


@pytest.fixture
def checkpoint() -> Checkpoint:
    model = tiny.llama()
    return Checkpoint("tiny", model, tokenizer(), "f" * 64, WeightSpace.of(model))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus whose tokens are known: the splits are the words of ``IDS``, in three kinds of file."""
    (tmp_path / "train.txt").write_text(words(IDS["train"]))
    (tmp_path / "validation.txt.gz").write_bytes(gzip.compress(words(IDS["validation"]).encode()))
    (tmp_path / "test.txt.xz").write_bytes(lzma.compress(words(IDS["test"]).encode()))
    return tmp_path


def load(folder: Path, checkpoint: Checkpoint, seq_len: int = 7, **options: object) -> Corpus:
    return load_corpus(str(folder), checkpoint, seq_len, cache=folder / "cache", **options)


def test_windows_are_the_text_cut_up_without_its_tail(folder: Path, checkpoint: Checkpoint) -> None:
    corpus = load(folder, checkpoint)
    for split, ids in IDS.items():
        n = len(ids) // 7
        assert corpus.splits[split].dtype == torch.int64
        assert corpus.splits[split].tolist() == [ids[7 * i : 7 * i + 7] for i in range(n)]  # nothing prepended
        assert torch.equal(corpus.windows(split), corpus.splits[split])


def test_subset_grows_by_adding_and_depends_on_seed_and_split(folder: Path, checkpoint: Checkpoint) -> None:
    corpus = load(folder, checkpoint, seq_len=2)
    every = {tuple(w) for w in corpus.splits["train"].tolist()}
    for count in range(1, 26):
        drawn = corpus.windows("train", count, seed=3).tolist()
        assert drawn == corpus.windows("train", 25, seed=3).tolist()[:count]
        assert len({tuple(w) for w in drawn} & every) == count
    assert corpus.windows("train", 25, seed=3).tolist() != corpus.windows("train", 25, seed=4).tolist()
    assert corpus.windows("train", 25, seed=3).tolist() != corpus.windows("train").tolist()


def test_subset_is_a_fair_draw(folder: Path, checkpoint: Checkpoint) -> None:
    corpus = load(folder, checkpoint, seq_len=5)  # 10 windows; draw 4 of them 500 times
    first = corpus.splits["train"][:, 0].tolist()
    counts = np.zeros(10)
    for seed in range(500):
        for token in corpus.windows("train", 4, seed)[:, 0].tolist():
            counts[first.index(token)] += 1
    assert abs(counts - 200).max() < 5 * np.sqrt(500 * 0.4 * 0.6)


def test_subset_is_the_same_everywhere(folder: Path, checkpoint: Checkpoint) -> None:
    # Golden: our own output of numpy 2.4 on x86-64; raw Philox bits are the same on all platforms (NEP 19).
    assert load(folder, checkpoint).windows("train", 4, seed=0)[:, 0].tolist() == [45, 38, 24, 3]


def test_uniforms_are_uniform_and_keyed() -> None:
    u = uniforms(20_000, "a", 1)
    assert 0 <= u.min() < u.max() < 1
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * 20_000)
    assert abs(np.corrcoef(u, uniforms(20_000, "a", 2))[0, 1]) < 5 / np.sqrt(20_000)
    assert np.array_equal(u[:10], uniforms(10, "a", 1))


def test_too_many_windows_says_how_many_there_are(folder: Path, checkpoint: Checkpoint) -> None:
    corpus = load(folder, checkpoint)
    for count in (0, 4):
        with pytest.raises(CorpusError, match=rf"expected 1 to 3 windows of .* validation.*got {count}"):
            corpus.windows("validation", count)
    with pytest.raises(CorpusError, match="1 to 3 windows"):
        load(folder, checkpoint, sizes={"train": 2, "validation": 4})


def test_too_short_a_text_says_how_long_it_is(folder: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(CorpusError, match="validation has 21 tokens, but one window takes 22; use a smaller --seq-len"):
        load(folder, checkpoint, seq_len=22)


@pytest.mark.parametrize("seq_len", [1, 65])
def test_length_must_fit_the_model(folder: Path, checkpoint: Checkpoint, seq_len: int) -> None:
    with pytest.raises(UsageError, match=f"from 2 to 64, what tiny takes, got {seq_len}"):
        load(folder, checkpoint, seq_len=seq_len)


def test_unknown_split_in_sizes(folder: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match="'tests'"):
        load(folder, checkpoint, sizes={"tests": 2})


def test_token_outside_the_vocabulary(folder: Path, checkpoint: Checkpoint) -> None:
    big = Checkpoint("tiny", checkpoint.model, tokenizer(size=80), "f" * 64, checkpoint.space)
    load(folder, big)
    (folder / "train.txt").write_text(words(list(range(50, 62))))
    with pytest.raises(CorpusError, match=r"below 61, the model's vocabulary, got 61 in .* train"):
        load(folder, big)


def test_fingerprint_is_of_ids_and_length(folder: Path, checkpoint: Checkpoint) -> None:
    before = load(folder, checkpoint).fingerprint
    (folder / "train.txt").write_text(words(IDS["train"]) + "\n")  # other text, same tokens
    assert load(folder, checkpoint).fingerprint == before
    (folder / "train.txt").write_text(words([4, *IDS["train"][1:]]))
    assert load(folder, checkpoint).fingerprint != before
    for split, suffix in (("validation", ".gz"), ("test", ".xz")):
        (folder / f"{split}.txt{suffix}").unlink()
    for split in IDS:
        (folder / f"{split}.txt").write_text(words(list(range(3, 33))))
    marks = {
        load(folder, checkpoint, seq_len=length).fingerprint for length in (5, 6)
    }  # the same 30 ids, cut otherwise
    assert len(marks) == 2


def test_two_files_of_a_split_are_named(folder: Path, checkpoint: Checkpoint) -> None:
    (folder / "test.txt.xz").unlink()
    for name in ("test.txt", "test.txt.gz"):
        (folder / name).write_bytes(gzip.compress(b"x"))
    with pytest.raises(CorpusError, match=r"found test\.txt and test\.txt\.gz"):
        load(folder, checkpoint)


def test_a_folder_without_any_split_is_no_corpus(tmp_path: Path, checkpoint: Checkpoint) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"expected train, validation, test in .*empty, .* found none; choose another"):
        load(tmp_path / "empty", checkpoint)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.txt", b"caf\xe9", "UTF-8 text in .*train.txt, got byte 3 = 0xe9"),
        ("test.txt.xz", b"not xz", "readable .xz file"),
        ("test.txt.xz", lzma.compress(b"w3 " * 99)[:-8], "readable .xz file"),
        ("validation.txt.gz", b"not gz", "readable .gz file"),
        ("validation.txt.gz", gzip.compress(b"w3 " * 99)[:-8], "readable .gz file"),
    ],
    ids=["not UTF-8", "not xz", "xz cut short", "not gz", "gz cut short"],  # bytes of gzip hold the time
)
def test_unreadable_text(folder: Path, checkpoint: Checkpoint, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        load(folder, checkpoint)


def test_an_unknown_split_is_named(folder: Path, checkpoint: Checkpoint) -> None:
    corpus = load(folder, checkpoint)
    for ask in (corpus.windows, corpus.window_articles):
        with pytest.raises(CorpusError, match="expected a split of train, validation, test, got 'dev'"):
            ask("dev")


def test_unknown_name_suggests_a_known_one(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'wikitext2'.*a folder that exists"):
        load_corpus("wikitext", checkpoint, 8)


def test_tales_come_with_the_package(checkpoint: Checkpoint, tmp_path: Path) -> None:
    corpus = load_corpus("tales", checkpoint, 64, cache=tmp_path)
    assert all(len(windows) >= 32 for windows in corpus.splits.values())


def test_wikitext_rows_are_joined_by_two_newlines(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"train": ["w3 w4", "", "w5"], "validation": ["w6", "w7"], "test": ["w8\n", "w9"]}
    data = tmp_path / "wikitext-2-raw-v1"
    data.mkdir()
    for split, texts in rows.items():
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), data / f"{split}-00000-of-00001.parquet")
    asked = []
    monkeypatch.setattr(hub, "fetch", lambda *arguments: asked.append(arguments[:2]) or tmp_path)
    texts = []
    monkeypatch.setattr(tokenized, "encode", lambda text, _: (texts.append(text.content) or torch.tensor([3, 4]), None))
    load_corpus("wikitext2", checkpoint, 2, cache=tmp_path)
    assert asked == [("Salesforce/wikitext", "dataset")]
    assert texts == ["w3 w4\n\n\n\nw5", "w6\n\nw7", "w8\n\n\nw9"]


def test_wikitext_without_a_network_names_the_alternatives(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    start = time.monotonic()
    with pytest.raises(
        CorpusError, match=r"Salesforce/wikitext.*cannot be reached.*a folder of train.txt.*tales.*self"
    ):
        load_corpus("wikitext2", checkpoint, 8, cache=tmp_path)
    assert time.monotonic() - start < 3


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_CACHE", "~/somewhere")
    assert cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("LANDSCAPE_CACHE")
    assert cache_folder().name == "quant-landscape"
