"""Measure R alone, the radius of the basin, to a requested precision with few evaluations."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.session.request import SplitRequest, option
from quant.errors import UsageError

if TYPE_CHECKING:
    from landscape.estimators.radius_search import RadiusSearch
    from landscape.positions.directions import Family
    from landscape.probing.losses import RadialLosses
    from landscape.session.progress import Progress
    from landscape.session.run_record import Check, RunRecord, SubjectInfo
    from landscape.session.session import Session

_CHECKED = 4  # windows on which w must beat chance before the search


@dataclass(frozen=True, kw_only=True)
class RadiusRequest(SplitRequest):
    """Precision, time and directions of a search for R."""

    minutes: float | None = option("--max-minutes", default=None, unset="never")
    """Stop after this many minutes even if R is not precise enough."""
    family: str = "sphere"
    """Random directions: sphere (uniform), filter (as long as w in each output channel), or layer:TENSORS (of some
    tensors alone, such as layer:block=3)."""
    pairs: bool = False
    """Probe each direction at +λ and −λ and take the mean, in which odd terms cancel: twice the probes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(f"expected more than 0 minutes, and a finite number, got {self.minutes:g}; leave it out")


@dataclass(frozen=True)
class RadiusResult:
    """R of a model, and the record of the run that measured it."""

    subject: SubjectInfo
    split: str
    """Split that was probed."""
    family: str
    """Name of the family of directions, which contains the seed."""
    pairs: bool
    """Whether each direction was followed both ways."""
    search: RadiusSearch
    """R, the losses that it was read from, and the rounds of the search."""
    run: RunRecord

    @property
    def tokens(self) -> int:
        """Number of tokens whose loss was evaluated or came from the store."""
        return self.run.probes.total * self.subject.seq_len


def measure_radius(request: RadiusRequest, progress: Progress | None = None) -> RadiusResult:
    """Measure R of a model to the requested precision.

    Args:
        request: The model, the text and the precision of R.
        progress: Receives reports.

    Raises:
        UsageError: if the request cannot be met as it is.
        CheckpointError: if the model is not available, or no better than chance on the data.
        CorpusError: if the text is not available, or too short.
        StoreError: if the cache cannot be written; what was committed stays.

    Example:
        >>> from landscape import RadiusRequest, measure_radius
        >>> result = measure_radius(RadiusRequest("opt-nano", seq_len=64, precision=0.2))
        >>> 40 < result.search.radius.value < 90
        True
    """
    from landscape.positions.directions import family_of
    from landscape.session.session import Session

    with Session.open(request, progress) as session:
        subject = session.subject
        family = family_of(request.family, subject.space, subject.center, request.seed)
        losses = session.radial(family, pairs=request.pairs)
        search = search_radius(session, losses, request.precision, request.minutes)
        health = radial_health(session, family, search, float(search.probes.lambdas[0]))
        settings = {"precision": request.precision, "family": family.name, "both ways, ±ê": request.pairs}
        return RadiusResult(
            subject=session.info([request.split]),
            split=request.split,
            family=family.name,
            pairs=request.pairs,
            search=search,
            run=session.record(settings, health),
        )


def search_radius(
    session: Session, losses: RadialLosses, precision: float, minutes: float | None = None
) -> RadiusSearch:
    """Search for R along a family of directions, after a check that w beats chance.

    Args:
        session: A model at w; ``minutes`` count from its opening.
        losses: Losses along the directions.
        precision: Half width of R's interval, relative to R, at which to stop.
        minutes: Limit at which to stop even if R is not precise enough; None for no limit.

    Raises:
        CheckpointError: if w does not beat chance.
    """
    from landscape.estimators.radius_search import StoppingRule, search

    session.check_center(session.windows[:_CHECKED])
    session.stage("searching for R")

    def out_of_time(n_directions: int, lambdas: Sequence[float], n_windows: int) -> bool:
        if minutes is None:
            return False
        work = losses.missing(n_directions, lambdas, n_windows)
        needed = work * session.pace() if work else 0.0
        return time.monotonic() - session.started + needed > 60 * minutes

    rule = StoppingRule(precision, windows=len(session.windows), out_of_time=out_of_time)
    return search(losses, session.subject.norm, session.subject.chance, rule)


def radial_health(session: Session, family: Family, search: RadiusSearch, lam: float) -> tuple[Check, ...]:
    """Check that a search is sound, after all work on the model.

    Args:
        session: The session of the search.
        family: The family of directions.
        search: The result of the search.
        lam: Smallest λ at which the job evaluated the loss.
    """
    from landscape.health.self_checks import FinishedRun, examine, measure_slope

    last = search.rounds[-1]
    windows = session.windows[: last.windows]
    slope = measure_slope(session, family, windows)
    return examine(FinishedRun.of(session, family, last.directions, lam, slope, windows), session.progress)
