"""R alone: from a model's name to the radius of its basin, as precise as asked for, by few evaluations."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.radius_search import RadiusSearch, StoppingRule, search
from landscape.health.checks import Check
from landscape.health.self_checks import Examined, examine, measured_slope, nearest
from landscape.health.text_checks import ProbedText
from landscape.positions.atlas import Atlas
from landscape.positions.directions import family_of
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.losses import RadialLosses
from landscape.probing.plan import Window, identified
from landscape.probing.runner import Runner
from landscape.session.forecast import forward_seconds
from landscape.session.progress import Progress, Silent
from landscape.session.request import Request
from landscape.session.session import opened, run_record
from landscape.session.subject import check_center
from quant.architecture import vocabulary_size
from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint
from quant.corpora.corpus import Corpus, load_corpus, longest_window
from quant.corpora.texts import SELF, SPLITS
from quant.coverage import Coverage
from quant.errors import UsageError
from quant.space import norm

Array = NDArray[np.float64]

SEQ_LEN = 512
"""Tokens per window, or as many as the model takes: R depends on it, for a longer context makes a lower loss at w."""
_CHECKED = 4  # windows on which w must beat chance before anything is searched
SAMPLED = 64
"""Windows to be sampled where the corpus is ``self``; of a text all are at hand."""


@dataclass(frozen=True, kw_only=True)
class RadiusRequest(Request):
    """What a user asks of a search for R."""

    split: str = "validation"
    """Which split of it."""
    seq_len: int | None = None
    """Tokens per window; None for ``SEQ_LEN``, or fewer if the model takes fewer."""
    precision: float = 0.05
    """Half width of R's 95 % interval over R."""
    minutes: float | None = None
    """When to stop all the same; None for never."""
    family: str = "sphere"
    """What kind of directions: see ``landscape.positions.directions.family_of``."""
    pairs: bool = False
    """Whether every direction is followed both ways."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UsageError(f"expected {', '.join(SPLITS)} as --split, got {self.split!r}")
        if not 0 < self.precision < 1:
            raise UsageError(f"expected a precision between 0 and 1, such as 0.05, got {self.precision:g}")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"expected more than 0 minutes, got {self.minutes:g}")


@dataclass(frozen=True)
class RadiusResult:
    """R of a model, and what the run took that found it, its checks included."""

    model: str
    data: str
    split: str
    seq_len: int
    dimension: int
    """D."""
    coverage: Coverage
    """How much of the blocks' weights w holds."""
    norm: float
    """‖w‖."""
    family: str
    """Name of the directions, their seed in it."""
    pairs: bool
    """Whether each was followed both ways."""
    found: RadiusSearch
    """R, the losses that it was read from, and the rounds that led there."""
    evaluated: int
    """Windows evaluated now, at w and anywhere."""
    cached: int
    """Windows whose loss the store already held."""
    seconds: float
    """Wall time."""
    store: str
    """Folder of the cache."""
    health: tuple[Check, ...]
    """Whether the run was sound."""

    @property
    def tokens(self) -> int:
        """All tokens whose loss was evaluated or came from the store."""
        return (self.evaluated + self.cached) * self.seq_len


@dataclass(frozen=True, eq=False)
class Ground:
    """What a search for R stands on: a model that is lent, its windows and its losses."""

    checkpoint: Checkpoint
    center: Center
    """The pristine copy of w."""
    data: str
    """Name of the corpus."""
    corpus: Corpus
    windows: tuple[Window, ...]
    """All windows of the split, in the order of the seed."""
    losses: RadialLosses
    """Evaluated where the store does not hold them."""
    runner: Runner
    """Counts what was evaluated."""
    norm: float
    """‖w‖."""
    chance: float
    """C = ln|V|."""

    @property
    def seq_len(self) -> int:
        """Tokens of the text per window."""
        return self.corpus.seq_len

    def pace(self) -> float:
        """Seconds for one window: of those evaluated so far, or of one more if the store held them all."""
        if self.runner.evaluated:
            return self.runner.seconds / self.runner.evaluated
        return forward_seconds(self.checkpoint.model, self.windows[0].tokens)


@contextmanager
def ground(request: RadiusRequest, progress: Progress) -> Iterator[Ground]:
    """A model with its text, ready for probing; see ``measure_radius`` for the errors."""
    with opened(request, progress) as (checkpoint, store):
        progress.stage("reading the text")
        corpus = _corpus(request, checkpoint, progress)
        chosen = (request.split, len(corpus.windows(request.split)), request.seed)
        windows = identified(corpus.windows(*chosen), corpus.window_articles(*chosen))
        model, space = checkpoint.model, checkpoint.space
        center = Center.of(model, space)
        family = family_of(request.family, space, center, request.seed)
        runner = Runner(store, run_record(checkpoint.device), progress.advance)
        engine = InlineEngine(model, space, Atlas(center, {}, {family.name: family}))
        losses = RadialLosses(runner, engine, family, windows, request.pairs)
        chance = math.log(vocabulary_size(model))
        totals, tokens = losses.center(min(_CHECKED, len(windows)))
        check_center(float(totals.sum() / tokens.sum()), chance, request.corpus, checkpoint.dtype)
        yield Ground(checkpoint, center, request.corpus, corpus, windows, losses, runner, norm(space, center), chance)


def measure_radius(request: RadiusRequest, progress: Progress | None = None) -> RadiusResult:
    """Find R of a model as precisely as asked for.

    Args:
        request: What to measure.
        progress: Hears what is going on.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model cannot be had, or is no better than chance on the data.
        CorpusError: if the text cannot be had, or is too short.
        StoreError: if the cache cannot be written; what was committed stays.
    """
    started = time.monotonic()
    progress = progress or Silent()
    with ground(request, progress) as here:
        found = search_radius(request, here, progress, started)
        return concluded(request, here, found, float(found.probes.lambdas[0]), progress, started)


def search_radius(request: RadiusRequest, here: Ground, progress: Progress, started: float) -> RadiusSearch:
    """Find R on a model that is lent already; ``started`` is when the time of the request began."""
    progress.stage("searching for R")

    def out_of_time(directions: int, lambdas: Sequence[float], windows: int) -> bool:
        if request.minutes is None:
            return False
        work = here.losses.missing(directions, lambdas, windows)
        needed = work * here.pace() if work else 0.0
        return time.monotonic() - started + needed > 60 * request.minutes

    limits = StoppingRule(request.precision, windows=len(here.windows), out_of_time=out_of_time)
    return search(here.losses, here.norm, here.chance, limits)


def concluded(
    request: RadiusRequest, here: Ground, found: RadiusSearch, lam: float, progress: Progress, started: float
) -> RadiusResult:
    """What a search found and what all work took, once nothing more is done to the model: then the run is checked.

    Args:
        request: What was asked for.
        here: The model, still lent.
        found: What the search found.
        lam: The smallest λ at which it was asked for a loss.
        progress: Is warned of what failed.
        started: When the time of the request began.
    """
    health, runner = _health(here, found, lam, progress), here.runner
    runner.store.compact()
    return RadiusResult(
        model=request.model,
        data=here.data,
        split=request.split,
        seq_len=here.seq_len,
        dimension=here.checkpoint.space.dimension,
        coverage=here.checkpoint.coverage,
        norm=here.norm,
        family=here.losses.family.name,
        pairs=request.pairs,
        found=found,
        evaluated=runner.evaluated,
        cached=len(runner.asked) - runner.evaluated,
        seconds=time.monotonic() - started,
        store=str(runner.store.folder),
        health=health,
    )


def _corpus(request: RadiusRequest, checkpoint: Checkpoint, progress: Progress) -> Corpus:
    """The corpus; how its splits were cut is said at once."""
    room = longest_window(checkpoint, request.corpus, request.bos)
    corpus = load_corpus(
        request.corpus,
        checkpoint,
        request.seq_len or (SEQ_LEN if room is None else min(SEQ_LEN, room)),
        sizes={request.split: SAMPLED} if request.corpus == SELF else None,
        seed=request.seed,
        cache=request.root,
        revision=request.data_revision,
        bos=request.bos,
        warn=progress.warn,
    )
    for note in corpus.notes:
        progress.warn(note)
    return corpus


def _health(here: Ground, found: RadiusSearch, lam: float, progress: Progress) -> tuple[Check, ...]:
    """Whether the run was sound; what was not is told at once."""
    losses, last = here.losses, found.rounds[-1]
    windows, least = here.windows[: last.windows], nearest(lam, here.norm)
    slope = measured_slope(losses.run, here.runner, losses.family, here.norm, windows, here.data == SELF)
    checkpoint = here.checkpoint
    done = Examined(
        here.runner, checkpoint.model, checkpoint.space, here.center, losses.family, last.directions, least, windows[0],
        slope, ProbedText.of(checkpoint, here.corpus, windows),
    )  # fmt: skip
    return examine(done, progress)
