"""The synthetic landscapes: their ground truth is a truth, and a search sees one landscape."""

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from benchmarks.radius import landscapes


def test_the_truth_is_the_radius_of_a_huge_sample() -> None:
    """Quadrature against one survey of 300 directions on 1000 windows, interpolated by another hand."""
    for synthetic in (landscapes.LANDSCAPES[1], landscapes.LANDSCAPES[-1]):
        probes, _ = synthetic.draw(np.random.default_rng(1), 300, 1000, lambdas=20)
        tokens = probes.tokens.sum()
        u = (probes.totals.sum(2).mean(0) / tokens - probes.center.sum() / tokens) / (
            probes.chance - probes.center.sum() / tokens
        )
        crossed = PchipInterpolator(u[: u.argmax() + 1], probes.lambdas[: u.argmax() + 1])
        # 10 % over 300 directions, and 8 to 13 % over 1000 windows: a standard error of 0.6 and 0.4 %.
        assert synthetic.truth(0.5) == pytest.approx(float(crossed(0.5)), rel=0.015)


def test_articles_change_what_windows_share_and_not_the_truth() -> None:
    """Windows of one article correlate as declared, others do not; the mean length is as declared."""
    synthetic, rng = landscapes.ARTICLES, np.random.default_rng(2)
    probes, articles = synthetic.draw(rng, 2, 6000)
    bottom = np.log(probes.center / probes.tokens)
    neighbours = articles[1:] == articles[:-1]
    assert np.corrcoef(bottom[1:][neighbours], bottom[:-1][neighbours])[0, 1] == pytest.approx(0.7, abs=0.06)
    assert abs(np.corrcoef(bottom[1:][~neighbours], bottom[:-1][~neighbours])[0, 1]) < 0.08
    assert len(articles) / (articles[-1] + 1) == pytest.approx(3.0, rel=0.06)


def test_a_search_draws_its_windows_from_anywhere_in_the_text() -> None:
    """64 windows of 60 articles: were these of equal size, 39 would be met; the first 64 in a row are of about 8."""
    rng = np.random.default_rng(4)
    met = [len(set(landscapes.WIKITEXT.landscape(rng, 1, 64).articles.tolist())) for _ in range(50)]
    assert 30 < np.mean(met) < 48
    losses = landscapes.WIKITEXT.landscape(rng, 2, 64)
    assert losses.effect.shape == (2, 64)
    level = losses.bottom - losses.bottom.mean()
    alike = losses.articles[:, None] == losses.articles
    np.fill_diagonal(alike, False)
    assert np.multiply.outer(level, level)[alike].mean() > 0  # L_w moved with its article


def test_what_was_evaluated_once_stays_what_it_was() -> None:
    """A search asks for more of a landscape, not for another one; every window counts once."""
    losses = landscapes.LANDSCAPES[0].landscape(np.random.default_rng(3), 6, 5)
    first = losses.totals(2, [0.8, 0.9], 3)
    assert losses.evaluations == 2 * 2 * 3
    assert (losses.totals(6, [0.9], 5)[:2, 0, :3] == first[:, 1]).all()
    assert losses.evaluations == 2 * 3 + 6 * 5
    assert len(np.unique(first)) == first.size
    center, tokens = losses.center(5)
    u = (losses.totals(6, [3.0], 5).sum() / 6 - center.sum()) / (landscapes.CHANCE * tokens.sum() - center.sum())
    assert u == pytest.approx(1, abs=0.05)  # far out lies the plateau
