"""A landscape whose loss is known: every tensor adds its own stiffness times the square of its own distance."""

from __future__ import annotations

import numpy as np

from landscape.positions.atlas import Atlas
from landscape.probing.losses import Probes
from landscape.probing.plan import Probe, ProbeResult, identified
from quant.center import Center
from quant.space import WeightSpace
from tests import tiny

TOKENS = 11
BASE = 2.0


class Additive:
    """Evaluates plans on ``L = 2 + Σ_l stiffness_l ‖w_l − center_l‖²``, plus a level of each window's own."""

    def __init__(self, points, architecture="llama"):
        self.model = tiny.ARCHITECTURES[architecture]()
        self.space = WeightSpace.of(self.model)
        self.center = Center.of(self.model, self.space)
        self.points = {label: make(self.space, self.center) for label, make in points.items()}
        self.stiffness = dict(
            zip((s.name for s in self.space), np.linspace(0.1, 3.0, len(self.space.slots)), strict=True)
        )
        self.windows = identified(tiny.windows(3))
        self.known = {}
        self.probes = Probes(self.known, {"v": self.windows})

    def rise(self, vector):
        """ΔL at a vector, by hand."""
        square = {s.name: (vector.tensor(s) - self.center.tensor(s)).double().square().sum() for s in self.space}
        return float(sum(self.stiffness[name] * value for name, value in square.items()))

    def run(self, plan, more=None):
        """Evaluate a plan; more points by label may be given."""
        atlas = Atlas(self.center, {**self.points, **(more or {})}, {})
        for step in plan.steps:
            loss = BASE + self.rise(atlas.vector(step.position))
            for i, window in enumerate(step.windows):
                probe = Probe(str(step.position), window.identity)
                self.known[probe] = ProbeResult(probe, TOKENS * (loss + 0.1 * i), TOKENS)
