"""Running plans: what the store does not know yet goes to the engine, and from there into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from landscape.probing.engines import Engine
from landscape.probing.plan import Probe, ProbePlan, ProbeResult, Window
from landscape.probing.store import Store

COMMIT_SECONDS = 15.0
"""Results are committed at least this often: what a killed run loses."""


class Runner:
    """Evaluates plans against one store, each probe once."""

    def __init__(
        self, store: Store, provenance: Mapping[str, Any], advance: Callable[[float], None] = lambda work: None
    ) -> None:
        """Bind the runner to a store.

        Args:
            store: Where results are read from, and committed to in batches.
            provenance: How new results are made: versions, device, threads.
            advance: Called with 1 for each probe evaluated.
        """
        self.store, self.provenance, self.advance = store, provenance, advance
        self.known: dict[Probe, ProbeResult] = store.probes()
        """Every result so far, from the store or new."""
        self.asked: set[Probe] = set()
        """Every probe that a plan asked for."""
        self.fresh: set[Probe] = set()
        """Those of them that were evaluated by this runner; the store held the others."""
        self.rehearsing = False
        """Whether plans are noted alone."""
        self.seconds = 0.0
        """Wall time of the evaluations."""

    @property
    def evaluated(self) -> int:
        """How many probes were evaluated by this runner."""
        return len(self.fresh)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Evaluate nothing meanwhile: what plans ask for is noted, and to read what is not known is a KeyError."""
        self.rehearsing = True
        try:
            yield
        finally:
            self.rehearsing = False

    def knows(self, gather: Callable[[], object]) -> bool:
        """Whether something can be gathered from what is known, tried in a rehearsal."""
        with self.rehearsal():
            try:
                gather()
            except KeyError:  # of a probe, or of a point that is not made yet
                return False
        return True

    def run(self, plan: ProbePlan, engine: Engine) -> None:
        """Evaluate what is missing of a plan; what was evaluated is committed also when this is interrupted."""
        pending: list[ProbeResult] = []
        started = committed_at = time.monotonic()
        self.asked.update(plan.probes())
        if self.rehearsing:
            return
        with closing(engine.evaluate(plan.missing(self.known))) as results:
            try:
                for result in results:
                    pending.append(result)
                    self.known[result.probe] = result
                    self.fresh.add(result.probe)
                    self.advance(1.0)
                    if time.monotonic() - committed_at > COMMIT_SECONDS:
                        self.store.commit(pending, self.provenance)
                        pending, committed_at = [], time.monotonic()
            finally:
                self.seconds += time.monotonic() - started
                if pending:
                    self.store.commit(pending, self.provenance)

    def nll(self, position: str, windows: Sequence[Window]) -> float:
        """Nats per token at a position.

        Raises:
            KeyError: if a probe of it has not been evaluated.
        """
        results = [self.known[Probe(position, window.identity)] for window in windows]
        return sum(r.total for r in results) / sum(r.tokens for r in results)
