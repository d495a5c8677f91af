"""Prepare what is probed: a model at its pretrained weights, and the windows of text that it is probed with."""

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
from landscape.session.presets import Preset
from landscape.session.request import SPLITS
from quant.architecture import vocabulary_size
from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint
from quant.checkpoints.context import UNLIMITED
from quant.corpora.corpus import Corpus, load_corpus, longest_window
from quant.corpora.texts import SELF
from quant.errors import CheckpointError, CorpusError
from quant.space import WeightSpace, norm

RADIAL_SPLITS = ("train", "validation")
"""Splits on which rays and segments are probed; the test split sees the points alone."""
JUDGED_SPLIT, TEST_SPLIT = "validation", "test"
"""The split that losses, R and locations are judged on, and the one that checks what was chosen by these."""
SEQ_LEN = 512
"""Tokens per window of a search for R: R depends on it, for a longer context makes a lower loss at w."""
SAMPLED = 64
"""Windows to be sampled for a search for R where the corpus is ``self``; of a text all are at hand."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The data that points are made with. GPTQ and QAFT use the same training examples (§3.4)."""

    gptq: Tensor
    """(n, L) training windows."""
    qaft: Tensor
    """(n, L) training windows."""
    validation: Tensor
    """(m, L) windows that choose QAFT's epoch and rate."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, its centre and its windows."""

    checkpoint: Checkpoint
    center: Center
    """The pristine copy of w."""
    norm: float
    """‖w‖."""
    corpus: Corpus
    windows: Mapping[str, tuple[Window, ...]]
    """The windows to probe, by split."""
    calibration: Calibration
    """The windows that points are made with."""

    @property
    def model(self) -> nn.Module:
        """The model, which holds w except while it is lent out."""
        model: nn.Module = self.checkpoint.model
        return model

    @property
    def space(self) -> WeightSpace:
        """Its weight space."""
        return self.checkpoint.space

    @property
    def chance(self) -> float:
        """C = ln|V|, the NLL of a uniform guess."""
        return math.log(self.vocabulary)

    @property
    def vocabulary(self) -> int:
        """|V|."""
        return vocabulary_size(self.model)

    @property
    def seq_len(self) -> int:
        """Tokens of the text per window."""
        return self.corpus.seq_len

    @property
    def radial_windows(self) -> tuple[Window, ...]:
        """Windows of the radial splits."""
        return tuple(window for split in RADIAL_SPLITS for window in self.windows[split])

    @property
    def all_windows(self) -> tuple[Window, ...]:
        """Windows of every split."""
        return tuple(window for split in SPLITS for window in self.windows[split])


def check_center(nll: float, chance: float, data: str, dtype: str) -> None:
    """See that there is a basin at all.

    Args:
        nll: L(w).
        chance: ln|V|.
        data: Name of the corpus.
        dtype: What the model is computed in.

    Raises:
        CheckpointError: if the model's output overflows, or it is no better than a uniform guess.
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

    The windows of a smaller number are always among those of a larger one, and GPTQ and QAFT draw from the same
    sequence of training windows (§3.4: the exact same examples).

    Args:
        checkpoint: The model.
        data: Name of the corpus.
        preset: How many windows, and their length.
        methods: Of the points that will be made, which take training windows.
        seed: Of the windows.
        cache: The cache folder.
        revision: Of a data set ``hf:…``.
        bos: Whether the beginning-of-text token is prepended to every window.
        warn: Takes a line about splits that had to be cut, and what ``load_corpus`` warns of.

    Raises:
        UsageError: if windows are longer than the model takes.
        CorpusError: if the text cannot be had, or is too short.
    """
    gptq = preset.calibration_windows if any(map(calibrates, methods)) else 0
    examples = preset.qaft_examples if any(map(trains, methods)) else 0
    counts = {"train": preset.train_windows, "validation": preset.validation_windows, "test": preset.test_windows}
    train = counts["train"]
    sizes = {**counts, "train": None if train is None else max(train, gptq, examples)}
    length = preset.seq_len or longest_window(checkpoint, data, bos) or UNLIMITED
    corpus = load_corpus(
        data, checkpoint, length, sizes=sizes, seed=seed, cache=cache, revision=revision, bos=bos, warn=warn
    )
    for note in corpus.notes:
        warn(note)
    drawn = {split: corpus.windows(split, count, seed) for split, count in counts.items()}
    chosen = {n: corpus.windows("train", n, seed) if n else drawn["train"][:0] for n in (gptq, examples)}
    calibration = Calibration(chosen[gptq], chosen[examples], drawn["validation"])
    center = Center.of(checkpoint.model, checkpoint.space)
    windows = {
        split: identified(rows, corpus.window_articles(split, counts[split], seed)) for split, rows in drawn.items()
    }
    _check_leakage(windows["test"], calibration)
    return Subject(checkpoint, center, norm(checkpoint.space, center), corpus, windows, calibration)


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
    """Load all windows of one split and copy the weights; no point can be made with such a subject.

    Args:
        checkpoint: The model.
        data: Name of the corpus.
        split: Which split.
        seq_len: Tokens per window; None for ``SEQ_LEN``, or fewer if the model takes fewer.
        seed: Of the order of the windows.
        cache: The cache folder.
        revision: Of a data set ``hf:…``.
        bos: Whether the beginning-of-text token is prepended to every window.
        warn: Takes a line about splits that had to be cut, and what ``load_corpus`` warns of.

    Raises:
        UsageError: if windows are longer than the model takes.
        CorpusError: if the text is not available, or too short.
    """
    room = longest_window(checkpoint, data, bos)
    length = seq_len or (SEQ_LEN if room is None else min(SEQ_LEN, room))
    sizes = {split: SAMPLED} if data == SELF else None
    corpus = load_corpus(
        data, checkpoint, length, sizes=sizes, seed=seed, cache=cache, revision=revision, bos=bos, warn=warn
    )
    for note in corpus.notes:
        warn(note)
    count = len(corpus.windows(split))
    rows = corpus.windows(split, count, seed)
    windows = {split: identified(rows, corpus.window_articles(split, count, seed))}
    center = Center.of(checkpoint.model, checkpoint.space)
    nothing = rows[:0]
    return Subject(
        checkpoint, center, norm(checkpoint.space, center), corpus, windows, Calibration(nothing, nothing, nothing)
    )


def _check_leakage(test: Sequence[Window], calibration: Calibration) -> None:
    """No test window may have calibrated a point, trained it or chosen its epoch.

    Raises:
        CorpusError: if one has.
    """
    tested = {window.identity for window in test}
    used = torch.cat([calibration.gptq, calibration.qaft])
    for rows, what in ((used, "training"), (calibration.validation, "validation")):
        both = sum(window.identity in tested for window in identified(rows))
        if both:
            raise CorpusError(
                f"expected test windows that make no point, {both} of the {what} windows are test windows as well; "
                "use splits that do not overlap"
            )
