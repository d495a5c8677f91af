"""Evaluate plans with an engine, which knows positions, windows and a model, and nothing of files.

A session opens an engine once and makes one for every plan, as ``make(model, space, atlas, batch)``. All engines share
one store, which keeps no name of an engine beside a loss: an engine must give the losses of ``InlineEngine`` to the
bit, or the settings of the store must keep the two apart (see ``landscape.session.opening``).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from torch import nn

from landscape.positions.atlas import Atlas
from landscape.probing.plan import ProbePlan, ProbeResult
from quant.space import WeightSpace


class Engine(Protocol):
    """An evaluator of plans.

    Made for one plan, from a model at w, its weight space, the atlas of positions, and the number of windows in a
    forward pass (see ``landscape.probing.batches``).
    """

    def evaluate(self, plan: ProbePlan) -> Generator[ProbeResult, None, None]:
        """Yield one result per probe, in any order, as soon as it is evaluated.

        The model holds w to the bit afterwards, whether the generator ends, raises or is closed early.

        Args:
            plan: The probes, each once; their positions name points and families of the atlas.
        """
        ...


EngineMaker = Callable[[nn.Module, WeightSpace, Atlas, int], Engine]
"""The making of engines for the plans of one session."""
