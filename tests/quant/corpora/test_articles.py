"""Find where articles begin, and the article of each window, in texts made from known articles."""

from __future__ import annotations

import lzma
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file

from quant.checkpoints import hub
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.corpora.articles import article_starts, window_articles
from quant.corpora.corpus import load_corpus
from quant.corpora.texts import read_texts
from quant.hashing import token_hash
from quant.space import WeightSpace
from tests import tiny
from tests.tiny_tokenizer import tokenizer, words

TABLE = " = Wins ; L = \n = Losses , D = \n draws \n"
ARTICLES = [
    " \n = First = \n \n Some text . \n \n = = Section = = \n \n = = = Deeper = = = \n \n More . \n ",
    "\n = a = b = \n \n What has a sign in its title . \n" + TABLE + " \n",
    " = Third ( film ) = \n \n Short . \n",
]


def cut(text: str, starts: tuple[int, ...] | None) -> list[str]:
    assert starts is not None
    return [text[a:b] for a, b in zip(starts, (*starts[1:], None), strict=True)]


def test_articles_of_wikitext_begin_at_their_titles():
    text = "".join(ARTICLES)
    found = cut(text, article_starts(text.split("\n"), gap=1))
    assert [article.lstrip(" \n").split("\n")[0] for article in found] == [
        "= First = ",
        "= a = b = ",
        "= Third ( film ) = ",
    ]
    assert "".join(found) == text


def test_tales_begin_at_the_end_of_the_one_before():
    text = "</s>One.\nStill one.\n</s>Two, </s> and two.\n</s>Three.\n"
    assert cut(text, article_starts(text.split("\n"), gap=1)) == [
        "</s>One.\nStill one.\n", "</s>Two, </s> and two.\n", "</s>Three.\n",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Just words.\n",
        "Preface.\n\n = Title = \n\nText.\n",
        " = = Section = = \n \n x \n",
        TABLE,
    ],
)
def test_of_any_other_text_no_articles_are_known(text: str):
    assert article_starts(text.split("\n"), gap=1) is None


def by_counting(starts: list[int], count: int, seq_len: int) -> list[int]:
    """Token by token: the article that most of a window's tokens are of, of several the first."""
    article = np.cumsum([token in starts for token in range(count * seq_len)]) - 1
    return [Counter(row).most_common(1)[0][0] for row in article.reshape(count, seq_len).tolist()]


def test_a_window_is_of_the_article_with_most_of_its_tokens():
    rng = np.random.default_rng(1)
    for _ in range(200):
        seq_len, count = int(rng.integers(1, 12)), int(rng.integers(1, 12))
        end = count * seq_len + 5  # the tail fills no window
        starts = [0, *sorted(rng.choice(np.arange(1, end), int(rng.integers(0, min(10, end - 1))), replace=False))]
        assert window_articles(starts, count, seq_len).tolist() == by_counting(starts, count, seq_len)
    assert window_articles([0, 2, 6], 2, 4).tolist() == [0, 1]  # both windows are halved


@pytest.fixture
def checkpoint() -> Checkpoint:
    model = tiny.llama()
    return Checkpoint("tiny", model, tokenizer(), "f" * 64, WeightSpace.of(model))


def wiki(titles: list[int], length: int) -> str:
    """Articles that a tiny tokenizer reads: ``= w5 =`` is three tokens, and the given number of words follows."""
    return "".join(f" \n = w{title} = \n \n {words([title] * length)} \n" for title in titles)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text(wiki([7, 8, 9, 10], 12))
    return tmp_path


def test_windows_know_their_articles_through_the_tokens(folder: Path, checkpoint: Checkpoint):
    corpus = load_corpus(str(folder), checkpoint, 5, cache=folder)
    windows, articles = corpus.windows("train"), corpus.window_articles("train")
    titles = torch.tensor([7, 8, 9, 10])[articles]
    counts = torch.stack([(windows == title).sum(1) for title in (7, 8, 9, 10)])
    assert torch.equal(counts.max(0).values, (windows == titles[:, None]).sum(1))
    drawn, labels = corpus.windows("train", 6, seed=3), corpus.window_articles("train", 6, seed=3)
    place = [windows.tolist().index(row) for row in drawn.tolist()]
    assert labels.tolist() == articles[place].tolist()


def test_articles_are_labels_and_change_no_window(folder: Path, checkpoint: Checkpoint):
    known = load_corpus(str(folder), checkpoint, 5, cache=folder)
    for split in ("train", "validation", "test"):
        path = folder / f"{split}.txt"
        path.write_text(path.read_text().replace(" = ", "  = ", 1))  # the tiny tokenizer reads the same
    unknown = load_corpus(str(folder), checkpoint, 5, cache=folder)
    assert unknown.window_articles("train") is None
    assert unknown.fingerprint == known.fingerprint
    assert [token_hash(row) for row in unknown.windows("test", 4)] == [token_hash(r) for r in known.windows("test", 4)]


def test_every_sample_of_self_is_its_own_article(checkpoint: Checkpoint, tmp_path: Path):
    corpus = load_corpus("self", checkpoint, 5, sizes={"test": 9}, cache=tmp_path)
    assert corpus.window_articles("test", 4).tolist() == [0, 1, 2, 3]


def test_kept_tokens_come_back_with_their_articles(
    folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    fresh = load_corpus(str(folder), checkpoint, 5, cache=folder)
    monkeypatch.setattr("quant.corpora.tokenized.SHORT", 10)
    for _ in range(2):
        again = load_corpus(str(folder), checkpoint, 5, cache=folder)
        assert again.fingerprint == fresh.fingerprint
        assert torch.equal(again.window_articles("test"), fresh.window_articles("test"))
    (file,) = (folder / "tokens").iterdir()
    assert file.stat().st_mode == (folder / "test.txt").stat().st_mode  # another user of the cache can read it


@pytest.mark.parametrize("place", [-4, -40, 300])
def test_damaged_cached_tokens_are_made_again(
    place: int, folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("quant.corpora.tokenized.SHORT", 10)
    fresh = load_corpus(str(folder), checkpoint, 5, cache=folder)
    (file,) = (folder / "tokens").iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{file.name} is damaged: its text is tokenized again"):
        again = load_corpus(str(folder), checkpoint, 5, cache=folder)
    assert again.fingerprint == fresh.fingerprint
    assert torch.equal(again.window_articles("test"), fresh.window_articles("test"))
    assert load_corpus(str(folder), checkpoint, 5, cache=folder).fingerprint == fresh.fingerprint


def test_tokens_kept_without_articles_are_not_taken_for_them(
    folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    """They have another name, which has the tokenizer and the text in it and nothing else."""
    monkeypatch.setattr("quant.corpora.tokenized.SHORT", 10)
    monkeypatch.setattr("quant.corpora.text_files.article_starts", lambda lines, gap: None)
    load_corpus(str(folder), checkpoint, 5, cache=folder)
    (old,) = (folder / "tokens").iterdir()
    assert list(load_file(old)) == ["ids"]
    monkeypatch.undo()
    monkeypatch.setattr("quant.corpora.tokenized.SHORT", 10)
    corpus = load_corpus(str(folder), checkpoint, 5, cache=folder)
    assert corpus.windows("train").max() == 10
    assert corpus.window_articles("train").max() == 3


def test_rows_of_the_hub_have_the_same_articles(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = tmp_path / "wikitext-2-raw-v1"
    data.mkdir()
    text = wiki([7, 8, 9], 12).replace("w9 \n", "w9 \n" + TABLE)
    rows = ["" if line == " " else line + "\n" for line in text.split("\n")[:-1]]
    for split in ("train", "validation", "test"):
        pyarrow.parquet.write_table(pyarrow.table({"text": rows}), data / f"{split}-00000-of-00001.parquet")
        (tmp_path / f"{split}.txt").write_text(text)
    monkeypatch.setattr(hub, "fetch", lambda *arguments: tmp_path)
    hub_text, own = read_texts("wikitext2")["test"], read_texts(str(tmp_path))["test"]
    assert [a.split() for a in cut(hub_text.content, hub_text.starts)] == [
        a.split() for a in cut(own.content, own.starts)
    ]
    got, expected = (load_corpus(name, checkpoint, 5, cache=tmp_path) for name in ("wikitext2", str(tmp_path)))
    assert got.fingerprint == expected.fingerprint
    assert torch.equal(got.window_articles("test"), expected.window_articles("test"))


def test_the_tales_are_as_many_as_were_written():
    """1895, 133 and 115: counted where the corpus was built (``data/opt-nano/training.json``)."""
    assert [len(text.starts or ()) for text in read_texts("tales").values()] == [1895, 133, 115]


def test_wikitext_2_has_the_authors_number_of_articles(wikitext: Path):
    """600, 60 and 60 (Merity et al. 2016, Table 1)."""
    assert [len(text.starts or ()) for text in read_texts(str(wikitext)).values()] == [600, 60, 60]


def test_articles_are_counted_in_tokens_as_if_each_was_tokenized_by_itself(wikitext: Path, tmp_path: Path):
    """With opt-nano's byte-level tokenizer, on ten articles; a cut can move an edge by a token."""
    nano, text = load_checkpoint("opt-nano"), lzma.decompress((wikitext / "validation.txt.xz").read_bytes()).decode()
    starts = article_starts(text.split("\n"), gap=1)[:11]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text(text[: starts[-1]])
    alone = [len(nano.tokenizer(text[a:b], add_special_tokens=False).input_ids) for a, b in pairwise(starts)]
    edges = np.concatenate([[0], np.cumsum(alone)])
    corpus = load_corpus(str(tmp_path), nano, 512, cache=tmp_path)
    middles = np.arange(len(corpus.windows("test"))) * 512 + 256
    sure = np.array([(abs(edges - middle) > 276).all() for middle in middles])  # no edge in the window, by 20 tokens
    labels = corpus.window_articles("test").numpy()
    assert sure.sum() > 20
    assert (labels[sure] == np.searchsorted(edges, middles[sure], side="right") - 1).all()
    assert sorted(set(labels)) == list(range(10))


def test_the_embedded_tales_show_their_articles(tmp_path: Path):
    corpus = load_corpus("tales", load_checkpoint("opt-nano"), 32, cache=tmp_path)
    end = corpus.windows("test")[0, 0].item()
    windows, articles = corpus.windows("test"), corpus.window_articles("test")
    begun = (windows == end).reshape(-1).cumsum(0).reshape(windows.shape) - 1  # the story of each token
    assert articles.tolist() == [Counter(row).most_common(1)[0][0] for row in begun.tolist()]
