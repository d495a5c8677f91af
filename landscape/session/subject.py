"""Prepare the subject of a run: a model at its pretrained weights, and its windows of text."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from landscape.probing.plan import Window, identified
from landscape.session.point_methods import calibrates, trains
from landscape.session.presets import WINDOW, Preset
from landscape.session.request import JUDGED_SPLIT as JUDGED_SPLIT
from landscape.session.request import SPLITS
from landscape.session.request import TEST_SPLIT as TEST_SPLIT
from quant.architecture import vocabulary_size
from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint
from quant.checkpoints.context import UNLIMITED
from quant.corpora.corpus import Corpus, load_corpus, longest_window
from quant.corpora.texts import SELF
from quant.errors import CheckpointError, CorpusError
from quant.space import WeightSpace, norm

RADIAL_SPLITS = ("train", "validation")
"""Splits on which rays and segments are probed; on the test split, only points are."""
SAMPLED_WINDOWS = 64
"""Windows to sample for a search for R on the corpus ``self``; a text supplies all of its own."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Data for making points; GPTQ and QAFT use the same training examples (§3.4)."""

    windows: Tensor
    """(n, L) training windows for GPTQ, AWQ and SignRound."""
    training: Tensor
    """(n, L) training windows for QAFT."""
    validation: Tensor
    """(m, L) windows that choose QAFT's epoch and learning rate."""
    test: Tensor
    """(k, L) windows whose loss is recorded after each epoch of training, and chooses nothing."""

    @property
    def judging_windows(self) -> int:
        """Number of windows evaluated after each epoch of training."""
        return len(self.validation) + len(self.test)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, its centre and its windows."""

    checkpoint: Checkpoint
    center: Center
    """Pristine copy of w."""
    norm: float
    """‖w‖."""
    corpus: Corpus
    windows: Mapping[str, tuple[Window, ...]]
    """Windows to probe, by split."""
    calibration: Calibration
    """Windows for making points."""

    @property
    def model(self) -> nn.Module:
        """The model, which holds w except while an engine or a method uses it."""
        model: nn.Module = self.checkpoint.model
        return model

    @property
    def space(self) -> WeightSpace:
        """Weight space of the model."""
        return self.checkpoint.space

    @property
    def chance(self) -> float:
        """C = ln|V|, the NLL of a uniform guess."""
        return math.log(self.vocabulary)

    @property
    def vocabulary(self) -> int:
        """|V|, the number of tokens that the model predicts."""
        return vocabulary_size(self.model)

    @property
    def seq_len(self) -> int:
        """Tokens of text per window."""
        return self.corpus.seq_len

    @property
    def radial_windows(self) -> tuple[Window, ...]:
        """Windows of the radial splits."""
        return tuple(window for split in RADIAL_SPLITS for window in self.windows[split])

    @property
    def all_windows(self) -> tuple[Window, ...]:
        """Windows of every split."""
        return tuple(window for split in SPLITS for window in self.windows[split])


def unigram_entropy(tokens: Tensor) -> float:
    """Estimate the loss of a guess that knows how frequent each token is, and nothing else.

    A basin can be measured against this level instead of chance. The entropy of a sample is too low, since the sample
    lacks rare types: (K − 1)/2N is added for N tokens of K types (Miller 1955).

    Args:
        tokens: Ids of a text, of any shape.

    Returns:
        Nats per token.
    """
    counts = torch.bincount(tokens.flatten()).double()
    counts = counts[counts > 0]
    total = float(counts.sum())
    return math.log(total) - float((counts * counts.log()).sum()) / total + (len(counts) - 1) / (2 * total)


def check_center(nll: float, chance: float, data: str, dtype: str) -> None:
    """Check that w lies in a basin: its loss is finite and beats chance.

    Args:
        nll: L(w).
        chance: ln|V|.
        data: Name of the corpus.
        dtype: Dtype of the computation.

    Raises:
        CheckpointError: if the model's output overflows, or is no better than a uniform guess.
    """
    if not math.isfinite(nll):
        remedy = {"float16": "try --dtype bfloat16 or --dtype float32", "bfloat16": "try --dtype float32"}
        raise CheckpointError(
            f"expected a finite loss at w on {data}, got {nll}: an overflow in {dtype}; "
            + remedy.get(dtype, "the weights hold infinities or NaN, or activations grow beyond every bound")
        )
    if not nll < chance:
        raise CheckpointError(
            f"expected a model that beats chance (ln|V| = {chance:.3f}) on {data}, got an NLL of {nll:.3f} at w; there "
            "is no basin to measure: check the model and the data"
        )


def prepare(
    checkpoint: Checkpoint,
    data: str,
    preset: Preset,
    methods: Sequence[str],
    seed: int,
    cache: Path,
    *,
    revision: str | None = None,
    bos: bool = False,
    warn: Callable[[str], None] = warnings.warn,
) -> Subject:
    """Load the corpus, draw the windows and copy the weights.

    A smaller number of windows is always a subset of a larger one, and GPTQ and QAFT draw from the same sequence of
    training windows (§3.4: the exact same examples).

    Args:
        checkpoint: The model.
        data: Name of the corpus.
        preset: Numbers of windows, and their length.
        methods: Methods of the points that will be made; they need training windows.
        seed: Seed of the windows.
        cache: The cache folder.
        revision: Branch, tag or commit of a data set ``hf:…``.
        bos: Whether to prepend the beginning-of-text token to every window.
        warn: Receives a line about each split that had to be cut, and the warnings of ``load_corpus``.

    Raises:
        UsageError: if windows are longer than the model accepts.
        CorpusError: if the text is not available, or too short.
    """
    gptq = preset.calibration_windows if any(map(calibrates, methods)) else 0
    qaft = preset.qaft_examples if any(map(trains, methods)) else 0
    counts = {"train": preset.train_windows, "validation": preset.validation_windows, "test": preset.test_windows}
    train = counts["train"]
    sizes = {**counts, "train": None if train is None else max(train, gptq, qaft)}
    length = _length(preset, longest_window(checkpoint, data, bos), warn)
    corpus = load_corpus(
        data, checkpoint, length, sizes=sizes, seed=seed, cache=cache, revision=revision, bos=bos, warn=warn
    )
    for note in corpus.notes:
        warn(note)
    drawn = {split: corpus.windows(split, count, seed) for split, count in counts.items()}
    training = {n: corpus.windows("train", n, seed) if n else drawn["train"][:0] for n in (gptq, qaft)}
    calibration = Calibration(training[gptq], training[qaft], drawn["validation"], drawn["test"])
    center = Center.of(checkpoint.model, checkpoint.space)
    windows = {
        split: identified(rows, corpus.window_articles(split, counts[split], seed)) for split, rows in drawn.items()
    }
    _check_leakage(windows["test"], calibration)
    return Subject(checkpoint, center, norm(checkpoint.space, center), corpus, windows, calibration)


def _length(preset: Preset, longest: int | None, warn: Callable[[str], None]) -> int:
    """Return the tokens of text per window: the default is cut to what the model accepts, a number of the user's not.

    Args:
        preset: Numbers of windows, and their length.
        longest: The longest window that the model accepts; None if there is no limit.
        warn: Receives a line if windows are shorter than the default.
    """
    if preset.seq_len is None or longest is None:
        return preset.seq_len or longest or UNLIMITED
    if preset.seq_len == WINDOW and longest < WINDOW:
        warn(f"windows have {longest} tokens, as the model accepts no more; the default is {WINDOW}")
        return longest
    return preset.seq_len


def prepare_split(
    checkpoint: Checkpoint,
    data: str,
    split: str,
    seq_len: int | None,
    seed: int,
    cache: Path,
    *,
    revision: str | None = None,
    bos: bool = False,
    warn: Callable[[str], None] = warnings.warn,
) -> Subject:
    """Load all windows of one split and copy the weights; such a subject has no data for making points.

    Args:
        checkpoint: The model.
        data: Name of the corpus.
        split: Name of the split.
        seq_len: Tokens per window; None for ``WINDOW``, or fewer if the model accepts fewer.
        seed: Seed of the order of the windows.
        cache: The cache folder.
        revision: Branch, tag or commit of a data set ``hf:…``.
        bos: Whether to prepend the beginning-of-text token to every window.
        warn: Receives a line about each split that had to be cut, and the warnings of ``load_corpus``.

    Raises:
        UsageError: if windows are longer than the model accepts.
        CorpusError: if the text is not available, or too short.
    """
    longest = longest_window(checkpoint, data, bos)
    length = seq_len or (WINDOW if longest is None else min(WINDOW, longest))
    sizes = {split: SAMPLED_WINDOWS} if data == SELF else None
    corpus = load_corpus(
        data, checkpoint, length, sizes=sizes, seed=seed, cache=cache, revision=revision, bos=bos, warn=warn
    )
    for note in corpus.notes:
        warn(note)
    count = len(corpus.windows(split))
    rows = corpus.windows(split, count, seed)
    windows = {split: identified(rows, corpus.window_articles(split, count, seed))}
    center = Center.of(checkpoint.model, checkpoint.space)
    empty = rows[:0]
    calibration = Calibration(empty, empty, empty, empty)
    return Subject(checkpoint, center, norm(checkpoint.space, center), corpus, windows, calibration)


def _check_leakage(test: Sequence[Window], calibration: Calibration) -> None:
    """Check that no test window calibrates a point, trains it or chooses its epoch.

    Raises:
        CorpusError: if one does.
    """
    test_windows = {window.identity for window in test}
    training = torch.cat([calibration.windows, calibration.training])
    for rows, split in ((training, "training"), (calibration.validation, "validation")):
        shared = len(test_windows & {window.identity for window in identified(rows)})
        if shared:
            raise CorpusError(
                f"expected test windows that are not {split} windows, {shared} are; use splits that do not overlap"
            )
