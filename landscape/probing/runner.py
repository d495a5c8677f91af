"""Run plans: evaluate the probes that the store lacks, and commit their results to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from landscape.probing.engines import Engine
from landscape.probing.plan import NotEvaluated, Probe, ProbePlan, ProbeResult, Window, require
from landscape.probing.store import Store
from quant.interruption import check, rescued_by, shielded

COMMIT_SECONDS = 15.0
"""Longest time between two commits: a killed run loses at most the results of this time."""
KEPT_LOSSES = {"losses": "kept from an earlier run; compared with w by this one"}
"""Addition to the record of results whose loss was known, maybe from another machine, before they were compared."""


class Runner:
    """Evaluator of plans against one store, each probe once."""

    def __init__(
        self,
        store: Store,
        provenance: Mapping[str, Any],
        advance: Callable[[float], None] = lambda work: None,
        check: Callable[[ProbePlan], None] = lambda plan: None,
    ) -> None:
        """Bind the runner to a store.

        Args:
            store: The store to read results from, and to commit them to in batches.
            provenance: Record of how new results are made: versions, device, threads.
            advance: Called with 1 for each evaluated probe.
            check: Called with what is missing before the first evaluation, and before each that compares predictions
                with those at w; it may refuse.
        """
        self.store, self.provenance, self.advance, self._check = store, provenance, advance, check
        self.known: dict[Probe, ProbeResult] = store.probes()
        """Every result so far, from the store or new."""
        self.asked: set[Probe] = set()
        """Every probe that a plan asked for."""
        self.fresh: set[Probe] = set()
        """The probes whose loss this runner measured; the store held the others."""
        self.compared: set[Probe] = set()
        """The probes whose loss was known, and which this runner evaluated again to compare them with w."""
        self.rehearsing = False
        """Whether plans are only noted and nothing is evaluated."""
        self.seconds = 0.0
        """Wall time of the evaluations."""

    @property
    def evaluated(self) -> int:
        """Number of probes that this runner evaluated."""
        return len(self.fresh) + len(self.compared)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Evaluate nothing inside: plans are only noted, and reading an unknown result raises ``NotEvaluated``."""
        self.rehearsing = True
        try:
            yield
        finally:
            self.rehearsing = False

    def refresh(self) -> None:
        """Read the store again: other processes may have added to it."""
        self.known.update(self.store.probes())

    def knows(self, gather: Callable[[], object]) -> bool:
        """Rehearse a computation, and say whether the known results and points are enough for it."""
        with self.rehearsal():
            try:
                gather()
            except NotEvaluated:
                return False
        return True

    def run(self, plan: ProbePlan, engine: Engine) -> None:
        """Evaluate the missing probes of a plan; an interrupt loses none that were evaluated."""
        pending: list[ProbeResult] = []
        started = committed_at = time.monotonic()
        self.asked.update(plan.probes())
        if self.rehearsing:
            return
        missing = plan.missing(self.known)
        if missing.steps:
            self.store.check_writable()
        if missing.steps and (not self.evaluated or missing.compared):
            self._check(missing)
        with closing(engine.evaluate(missing)) as results, rescued_by(lambda: self._commit(pending)):
            try:
                for result in results:
                    with shielded():
                        pending.append(self._learn(result))
                    self.advance(1.0)
                    check()
                    if time.monotonic() - committed_at > COMMIT_SECONDS:
                        self._commit(pending)
                        pending, committed_at = [], time.monotonic()
            finally:
                self.seconds += time.monotonic() - started
                if pending:
                    self._commit(pending)

    def _commit(self, results: Sequence[ProbeResult]) -> None:
        """Commit results; those whose loss an earlier run measured say so in their record."""
        results = list(results)  # another thread may add to them
        kept = [result for result in results if result.probe in self.compared]
        with shielded():
            self.store.commit([result for result in results if result.probe not in self.compared], self.provenance)
            self.store.commit(kept, {**self.provenance, **KEPT_LOSSES})

    def _learn(self, result: ProbeResult) -> ProbeResult:
        """Take a result in; a loss that is known stays as it is, to the bit, whatever machine measured it."""
        before = self.known.get(result.probe)
        if before is None:
            self.fresh.add(result.probe)
        else:
            self.compared.add(result.probe)
            result = replace(before, fidelity=result.fidelity)
        self.known[result.probe] = result
        return result

    def nll(self, position: str, windows: Sequence[Window]) -> float:
        """Average the NLL at a position over the tokens of some windows, in nats per token.

        Raises:
            NotEvaluated: A probe of the position has no result.
        """
        results = [require(self.known, Probe(position, window.identity)) for window in windows]
        return sum(r.total for r in results) / sum(r.tokens for r in results)
