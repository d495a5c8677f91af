"""Load a corpus by name, as windows of token ids for training, validation and test.

A text is tokenized as it stands, without special tokens, and cut into contiguous windows that do not overlap; the tail
that fills no window is dropped. Nothing is prepended, unless ``bos`` requests the tokenizer's beginning-of-text token:
then each window of L tokens has it in front, L + 1 in all, and all L tokens are scored. Where the text shows its
articles (``quant.corpora.articles``), the article of each window is known; in ``self`` every window is its own article.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from quant.architecture import vocabulary_size
from quant.checkpoints.checkpoint import Checkpoint
from quant.checkpoints.rust_panics import tokenizer_in_use
from quant.corpora.articles import window_articles
from quant.corpora.self_corpus import recipe_fingerprint, sample_windows
from quant.corpora.texts import SELF, SPLITS, read_texts
from quant.corpora.tokenized import tokenize
from quant.corpora.tokens import check_token, prepended_token
from quant.errors import CorpusError, UsageError
from quant.files.cache import cache_folder
from quant.hashing import tensor_bytes
from quant.philox import permutation


@dataclass(frozen=True, eq=False)
class Corpus:
    """Token windows of one length."""

    name: str
    """The name under which it was requested."""
    splits: Mapping[str, Tensor]
    """Windows of each split, (n, L) int64, in the order of the text; (n, L + 1) if ``bos`` was prepended."""
    articles: Mapping[str, Tensor | None]
    """The article of every window of each split, (n,) int64: the one in which most of its tokens lie. None where the
    text does not show its articles, or the tokenizer is not a fast one."""
    fingerprint: str
    """sha256 over the ids of all splits; for ``self`` over the recipe, so that it stays as windows are added."""
    shuffled: bool
    """Whether a subset is drawn by seed (a text), or is the first ones (independent samples)."""
    bos: int | None = None
    """The beginning-of-text token that was prepended to every window; None if none was."""
    notes: tuple[str, ...] = ()
    """Sentences on how its splits were made, where a user would not expect it."""

    @property
    def seq_len(self) -> int:
        """L, the tokens of the text in a window."""
        return next(iter(self.splits.values())).shape[1] - (self.bos is not None)

    def windows(self, split: str, count: int | None = None, seed: int = 0) -> Tensor:
        """Return a subset of a split's windows; a larger one contains every smaller one of the same seed.

        Args:
            split: ``train``, ``validation`` or ``test``.
            count: Number of windows; all, in order, if None.
            seed: Seed of the choice.

        Returns:
            (count, L) int64, or (count, L + 1) if ``bos`` was prepended.

        Raises:
            CorpusError: if there are fewer.
        """
        chosen = self._chosen(split, count, seed)
        return self.splits[split][chosen]

    def window_articles(self, split: str, count: int | None = None, seed: int = 0) -> Tensor | None:
        """Return the article of each window that ``windows`` gives for these arguments, (count,); None if not known."""
        chosen, articles = self._chosen(split, count, seed), self.articles[split]
        return None if articles is None else articles[chosen]

    def _chosen(self, split: str, count: int | None, seed: int) -> Tensor | slice:
        """Return the indices of a subset of a split's windows."""
        if split not in self.splits:
            raise CorpusError(f"expected a split of {', '.join(self.splits)}, got {split!r}; ask for it in `sizes`")
        every = self.splits[split]
        if count is None:
            return slice(None)
        if not 1 <= count <= len(every):
            raise CorpusError(
                f"expected 1 to {len(every)} windows of {self.name} {split}, which has no more of {every.shape[1]} "
                f"tokens, got {count}; ask for fewer, or use a smaller --seq-len"
            )
        if not self.shuffled:
            return slice(count)
        return torch.from_numpy(permutation(len(every), "windows", split, seed))[:count]


def longest_window(checkpoint: Checkpoint, name: str, bos: bool) -> int | None:
    """Return how many tokens of a text fit into a window beside a prepended one; None if the model has no limit."""
    if checkpoint.context is None:
        return None
    return checkpoint.context - (bos and name != SELF)


def load_corpus(
    name: str,
    checkpoint: Checkpoint,
    seq_len: int,
    *,
    sizes: Mapping[str, int | None] | None = None,
    seed: int = 0,
    cache: Path | None = None,
    revision: str | None = None,
    bos: bool = False,
    warn: Callable[[str], None] = warnings.warn,
) -> Corpus:
    """Load a corpus by name, in the tokens of a model.

    Args:
        name: ``tales``, ``self``, ``wikitext2``, a file, a folder or ``hf:…``: see ``quant.corpora.texts`` and
            ``quant.corpora.self_corpus``.
        checkpoint: The model whose tokenizer cuts the text, and which writes ``self``.
        seq_len: Length L of a window in tokens.
        sizes: Number of windows that each split must have; None for all. A text is checked for them; for ``self`` they
            are sampled, for these splits only.
        seed: Seed of the samples of ``self``.
        cache: Folder for token ids; the toolkit's cache folder if None.
        revision: Branch, tag or commit of a data set ``hf:…``.
        bos: Whether the tokenizer's beginning-of-text token is prepended to every window; windows of ``self`` begin
            with it anyway.
        warn: Function for one line about a damaged file of the cache, one that cannot be written, or slow sampling.

    Raises:
        UsageError: if the name, the length or a size is impossible, or the tokenizer has no token to prepend.
        CorpusError: if the text cannot be found or read, or is too short; on ``self`` also if the model is not causal.
        StoreError: if samples of ``self`` cannot be written into the cache.
    """
    sizes, cache = sizes or {}, cache or cache_folder()
    first = prepended_token(checkpoint) if bos else None
    prepended = None if name == SELF else first
    longest = longest_window(checkpoint, name, bos)
    if seq_len < 2 or (longest is not None and seq_len > longest):
        room = "" if prepended is None else " beside the token of --bos"
        range_ = "of at least 2" if longest is None else f"from 2 to {longest}, what {checkpoint.name} takes{room}"
        raise UsageError(f"expected --seq-len {range_}, got {seq_len}")
    for split, count in sizes.items():
        if split not in SPLITS or (count is not None and count < 1):
            raise UsageError(f"expected at least one window of {', '.join(SPLITS)}, got {count} of {split!r}")
    if name == SELF:
        if revision is not None:
            raise UsageError("expected --data hf:org/name with --data-revision, got 'self'; leave it out")
        splits = sample_windows(checkpoint, seq_len, sizes, seed, cache, warn)
        alone = {split: torch.arange(len(windows)) for split, windows in splits.items()}
        return Corpus(name, splits, alone, recipe_fingerprint(checkpoint, seq_len, seed), shuffled=False)
    vocabulary = vocabulary_size(checkpoint.model)
    splits, articles, texts = {}, {}, read_texts(name, revision)
    with tokenizer_in_use(checkpoint.name):
        tokens = tokenize(texts, checkpoint.tokenizer, cache, warn)
    for split, (ids, starts) in tokens.items():
        windows = _cut(name, split, ids, seq_len, vocabulary)
        articles[split] = None if starts is None else _articles(starts, windows)
        splits[split] = windows if prepended is None else F.pad(windows, (1, 0), value=prepended)
    notes = tuple(text.note for text in texts.values() if text.note)
    corpus = Corpus(name, splits, articles, _fingerprint(splits), shuffled=True, bos=prepended, notes=notes)
    for split, count in sizes.items():
        corpus.windows(split, count)  # raises now if there are too few
    return corpus


def _cut(name: str, split: str, ids: Tensor, seq_len: int, vocabulary: int) -> Tensor:
    """Cut a row of token ids into windows, (n, L)."""
    if len(ids) < seq_len:
        raise CorpusError(
            f"{name} {split} has {len(ids)} tokens, but one window takes {seq_len}; "
            "use a smaller --seq-len or a longer text"
        )
    check_token(int(ids.max()), vocabulary, f"in {name} {split}")
    count = len(ids) // seq_len
    return ids[: count * seq_len].view(count, seq_len)


def _articles(starts: Tensor, windows: Tensor) -> Tensor:
    """Return the article of each window, (n,), of a text whose articles begin at these tokens."""
    return torch.from_numpy(window_articles(starts.numpy(), *windows.shape))


def _fingerprint(splits: Mapping[str, Tensor]) -> str:
    """Return the sha256 over the ids of every split, and with their shapes over the length of a window."""
    digest = hashlib.sha256()
    for split, windows in sorted(splits.items()):
        digest.update(json.dumps([split, list(windows.shape)]).encode())
        digest.update(tensor_bytes(windows))
    return digest.hexdigest()
