"""Evaluate one position after the other in this process."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import zip_longest

from torch import nn

from landscape.positions.atlas import Atlas
from landscape.positions.position import common_blocks
from landscape.probing.batches import batches
from landscape.probing.plan import ProbePlan, ProbeResult
from landscape.probing.prefix import Prefixes
from landscape.probing.references import References, evaluate_batch
from quant.center import preserved
from quant.space import WeightSpace


@dataclass(frozen=True, eq=False)
class InlineEngine:
    """Engine that writes the weights of each position into the model, and restores the pristine weights at the end.

    Where cores are idle, the next direction is drawn while the model evaluates (see ``landscape.positions.drawing``).
    First blocks that several positions leave unchanged run once: see ``landscape.probing.prefix``. Before the first
    position, the model gives the predictions at w that others are compared with: ``landscape.probing.references``.
    """

    model: nn.Module
    space: WeightSpace
    atlas: Atlas
    batch: int = 1
    """Number of windows in a forward pass."""
    references: References = field(default_factory=References)
    """Predictions at w that are there already: those of the last plan, where engines share them."""

    def evaluate(self, plan: ProbePlan) -> Generator[ProbeResult, None, None]:
        """Evaluate the probes in the plan's order, and restore the model bit for bit, however this ends."""
        prefixes = Prefixes(self.model)
        with preserved(self.model, self.space, self.atlas.center), self.atlas.drawing_ahead():
            self.references.hold(self.model, plan.compared, self.batch)
            for step, following in zip_longest(plan.steps, plan.steps[1:]):
                label, blocks = common_blocks(self.space, step.position)
                self.space.write(self.model, self.atlas.vector(step.position))
                self.atlas.expect(following.position if following else None)
                recipe, compared = str(step.position), self.references if step.fidelity else None
                for batch in batches(step.windows, self.batch):
                    with prefixes.reused(label, blocks, batch):
                        results = evaluate_batch(self.model, recipe, batch, compared)
                    yield from results
