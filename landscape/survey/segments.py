"""Choose the positions of each segment: the same coarse ones for all, then more where its own profile bends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from landscape.estimators.refinement import next_alpha
from landscape.positions.position import on_segment
from landscape.probing.losses import Probes
from landscape.probing.plan import NotEvaluated
from landscape.session.subject import JUDGED_SPLIT

Ends = tuple[str, str]
"""Labels of the ends of a segment, at α = 0 and 1."""


class AdaptiveSegments:
    """The α of every segment of a run, extended by one position at a time as probes become known.

    New positions follow from the judged split alone, and both radial splits are probed there. They depend on stored
    numbers only, so that a second run chooses the same.
    """

    def __init__(self, ends: Iterable[Ends], coarse: Sequence[float], refinements: int) -> None:
        """Begin with the coarse positions.

        Args:
            ends: Labels of the ends of each segment.
            coarse: Positions of every segment, increasing.
            refinements: Number of positions that may be added to each.
        """
        self._alphas: dict[Ends, tuple[float, ...]] = {pair: tuple(coarse) for pair in ends}
        self._left = dict.fromkeys(self._alphas, refinements)

    @property
    def alphas(self) -> Mapping[Ends, tuple[float, ...]]:
        """Positions of each segment so far, increasing."""
        return self._alphas

    @property
    def left(self) -> int:
        """Number of positions that may still be added, over all segments."""
        return sum(self._left.values())

    def grow(self, probes: Probes) -> bool:
        """Add a position to each segment whose probes so far are all known and leave a bend unresolved.

        Returns:
            Whether a position was added; if so, new probes may be necessary.
        """
        grown = [self._grow(ends, probes) for ends, left in self._left.items() if left]
        return any(grown)

    def _grow(self, ends: Ends, probes: Probes) -> bool:
        alphas = self._alphas[ends]
        try:
            totals = np.array([probes.totals(on_segment(*ends, alpha), JUDGED_SPLIT) for alpha in alphas])
            tokens = probes.tokens(JUDGED_SPLIT)
        except NotEvaluated:
            return False
        alpha = next_alpha(np.array(alphas), totals, tokens)
        if alpha is None:
            self._left[ends] = 0
            return False
        self._alphas[ends] = tuple(sorted((*alphas, alpha)))
        self._left[ends] -= 1
        return True
