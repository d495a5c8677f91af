"""Make landscapes whose radius is known: the ground truth for the intervals in ``simulate.py``.

A direction d and a window w see the loss ``L_dw(λ) = L_w + (P − L_w)·g(λ/s_dw)``, which starts as a quadratic at the
window's own ``L_w`` and saturates at the plateau P. ``ln s_dw = δ_d + ω_w + ε_dw`` is the crossed design: directions,
windows and their interaction. Windows come in articles, whose windows resemble each other, and may differ in length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from landscape.estimators.lambda_grid import sweep_grid
from landscape.estimators.radial_losses import RadialProbes

Array = NDArray[np.float64]

BOTTOM, CHANCE = 3.2, 10.8  # L(w) and ln|V| of SmolLM2-135M on WikiText-2, nats per token
TEXT = 480  # windows of 512 tokens in the validation split of WikiText-2, which are of 60 articles
NODES = 40  # of the Gauss-Hermite quadrature, for each of its three dimensions


@dataclass(frozen=True)
class Synthetic:
    """A population of directions and windows, whose mean profile and radius are known."""

    name: str
    quadratic: float = 1.0
    """Share of the quadratic term in the exponent of the well; the rest is quartic: 1 is a Gaussian well, 0.3 steep."""
    plateau: float = 1.0
    """u of the plateau: below 1 the model is better than chance there, above 1 worse."""
    directions: float = 0.03
    """Standard deviation of ln s over directions."""
    windows: float = 0.04
    """Standard deviation of ln s over windows."""
    cells: float = 0.03
    """Standard deviation of ln s over directions × windows."""
    rough: float = 0.02
    """Independent noise of each direction, window and λ, relative to the rise there."""
    bottoms: float = 0.10
    """Standard deviation of ln L_w over windows."""
    outliers: float = 0.0
    """Share of windows that deviate three times as far as the others do."""
    ragged: float = 0.0
    """Standard deviation over windows of the logarithm of the token count; short windows have the higher loss."""
    resemblance: float = 0.0
    """Correlation of two windows of one article, in L_w and in ω_w."""
    article: float = 1.0
    """Mean number of windows of an article, which is geometric; with 1 all windows are independent."""

    def well(self, x: Array) -> Array:
        """Return g: 0 at w, 1 on the plateau, with u = ½ at x = 1 for a cell without effects."""
        rate = -math.log(1 - 0.5 / self.plateau)
        return -np.expm1(-rate * (self.quadratic * x**2 + (1 - self.quadratic) * x**4))

    def window(self, z: Array, own: Array) -> tuple[Array, Array, Array]:
        """Turn two standard normal numbers into L_w, ω_w and the token count, which are correlated."""
        tokens = 500 * np.exp(self.ragged * (0.8 * own - 0.6 * z))
        return BOTTOM * np.exp(self.bottoms * z), self.windows * (0.8 * own - 0.6 * z), tokens

    def loss(self, lam: Array, bottom: Array, log_scale: Array) -> Array:
        """Return L_dw(λ) without the roughness."""
        top = BOTTOM + self.plateau * (CHANCE - BOTTOM)
        return bottom + (top - bottom) * self.well(lam * np.exp(-log_scale))

    def truth(self, level: float) -> float:
        """Find by quadrature the λ at which the mean over all directions and all tokens reaches u = level."""
        z, weight = np.polynomial.hermite_e.hermegauss(NODES)
        weight = weight / weight.sum()
        far = np.array([1.0, 3.0])[:, None, None]
        bottom, shift, tokens = self.window(far * z[:, None], far * z)
        share = np.array([1 - self.outliers, self.outliers])[:, None, None] * weight[:, None] * weight * tokens
        share = share / share.sum()
        log_scale = shift[..., None] + math.hypot(self.directions, self.cells) * z

        def excess(lam: float) -> float:
            loss = self.loss(np.float64(lam), bottom[..., None], log_scale) @ weight
            return float((share * (loss - (1 - level) * bottom)).sum() - level * CHANCE)

        return float(brentq(excess, 0.01, 10.0, xtol=1e-10))

    def draw(self, rng: np.random.Generator, n_d: int, n_w: int, lambdas: int = 14) -> tuple[RadialProbes, Array]:
        """Draw one experiment: its probes on the grid of a survey, and the article of each window."""
        lam = np.array(sweep_grid(0.95, lambdas))  # the pilot's radius is never quite R
        bottom, effect, tokens, articles = self._effects(rng, n_d, n_w)
        loss = self.loss(lam[:, None], bottom, effect[:, None, :])
        loss = loss + self.rough * (loss - bottom) * rng.standard_normal(loss.shape)
        return RadialProbes(lam, loss * tokens, tokens, bottom * tokens, CHANCE), articles

    def landscape(self, rng: np.random.Generator, n_d: int, n_w: int) -> SyntheticLosses:
        """Draw one landscape to search on, with at most n_d directions and n_w windows.

        Windows of articles come from anywhere in a text, as a seed draws them for ``landscape radius``.
        """
        if self.article == 1:
            return SyntheticLosses(self, rng, *self._effects(rng, n_d, n_w))
        bottom, effect, tokens, articles = self._effects(rng, n_d, TEXT)
        drawn = rng.permutation(TEXT)[:n_w]
        return SyntheticLosses(self, rng, bottom[drawn], effect[:, drawn], tokens[drawn], articles[drawn])

    def _effects(self, rng: np.random.Generator, n_d: int, n_w: int) -> tuple[Array, Array, NDArray[np.int64], Array]:
        """Draw L_w (n_w,), ln s_dw (n_d, n_w), and the token counts and articles of the windows."""
        ends = rng.random(n_w) < 1 / self.article
        articles = np.concatenate([[0], np.cumsum(ends[:-1])])
        shared = rng.standard_normal((2, n_w))[:, articles]
        z, own = math.sqrt(self.resemblance) * shared + math.sqrt(1 - self.resemblance) * rng.standard_normal((2, n_w))
        far = np.where(rng.random(n_w) < self.outliers, 3.0, 1.0)
        bottom, shift, real_tokens = self.window(far * z, far * own)
        tokens = np.maximum(2, np.rint(real_tokens)).astype(np.int64)
        effect = self.directions * rng.standard_normal((n_d, 1)) + self.cells * rng.standard_normal((n_d, n_w)) + shift
        return bottom, effect, tokens, articles


@dataclass
class SyntheticLosses:
    """A landscape as ``landscape.estimators.radius_search`` sees it; a loss evaluated twice is the same."""

    population: Synthetic
    rng: np.random.Generator
    bottom: Array
    """(n_w,) L_w."""
    effect: Array
    """(n_d, n_w) ln s_dw."""
    tokens: NDArray[np.int64]
    """(n_w,) scored tokens."""
    articles: Array
    """(n_w,) article of each window."""
    known: dict[float, Array] = field(default_factory=dict)
    """NLL sums (n_d, n_w) at each requested λ."""
    asked: dict[float, NDArray[np.bool_]] = field(default_factory=dict)
    """Which of them were requested (n_d, n_w)."""

    def totals(self, directions: int, lambdas: Sequence[float], windows: int) -> Array:
        """Implement ``landscape.estimators.radius_search.Losses``."""
        for lam in lambdas:
            if lam not in self.known:
                loss = self.population.loss(np.float64(lam), self.bottom, self.effect)
                rough = self.population.rough * (loss - self.bottom) * self.rng.standard_normal(loss.shape)
                self.known[lam], self.asked[lam] = (loss + rough) * self.tokens, np.zeros(loss.shape, bool)
            self.asked[lam][:directions, :windows] = True
        return np.stack([self.known[lam][:directions, :windows] for lam in lambdas], axis=1)

    def center(self, windows: int) -> tuple[Array, NDArray[np.int64]]:
        """Implement ``landscape.estimators.radius_search.Losses``."""
        return (self.bottom * self.tokens)[:windows], self.tokens[:windows]

    def blocks(self, windows: int) -> Array | None:
        """Implement ``landscape.estimators.radius_search.Losses``."""
        return self.articles[:windows]

    @property
    def evaluations(self) -> int:
        """Count the different windows that were evaluated away from w."""
        return sum(int(asked.sum()) for asked in self.asked.values())


LANDSCAPES = (
    Synthetic("alike: directions 3 %, windows 4 %"),
    Synthetic("directions 10 %", directions=0.10),
    Synthetic("windows 12 %", directions=0.02, windows=0.12),
    Synthetic("steep wall", quadratic=0.3),
    Synthetic("past chance, as Llama", quadratic=0.32, plateau=1.8),
    Synthetic("plateau at u = 0.95", plateau=0.95),
    Synthetic("outlying windows", windows=0.08, outliers=0.1),
    Synthetic("ragged windows", windows=0.08, ragged=0.3),
    Synthetic("outlying and ragged windows", windows=0.08, outliers=0.1, ragged=0.3),
)
ARTICLES = Synthetic("articles", windows=0.08, resemblance=0.7, article=3.0)
WIKITEXT = Synthetic("articles of 8 windows, as WikiText-2", resemblance=0.7, article=8.0)
