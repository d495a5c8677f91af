"""Evaluate plans with an engine, which knows positions, windows and a model, and nothing of files.

A session makes an engine for every plan, as ``Engine(model, space, atlas, batch)``. All engines share one store, which
keeps no name of an engine beside a loss: an engine must give the losses of ``InlineEngine`` to the bit, or the settings
of the store must keep the two apart (see ``landscape.session.opening``).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from landscape.probing.plan import ProbePlan, ProbeResult


class Engine(Protocol):
    """An evaluator of plans.

    Made for one plan, from a model at w, its weight space, the atlas of positions, and the number of windows in a
    forward pass (see ``landscape.probing.batches``).
    """

    def evaluate(self, plan: ProbePlan) -> Generator[ProbeResult, None, None]:
        """Yield one result per probe, in the plan's order, as soon as it is evaluated.

        The model holds w to the bit afterwards, whether the generator ends, raises or is closed early.

        Args:
            plan: The probes; their positions name points and families of the atlas.
        """
        ...
