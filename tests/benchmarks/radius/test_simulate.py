"""The ground truth of the calibration is a truth, and its table is that of the script."""

import dataclasses
import re

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from benchmarks.radius import simulate


def committed(name: str = "coverage") -> list[list[str]]:
    rows = [line for line in simulate.PAGE.table(name).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]


def test_the_truth_is_the_radius_of_a_huge_sample():
    """Quadrature against one survey of 300 directions on 1000 windows, interpolated by another hand."""
    for synthetic in (simulate.LANDSCAPES[1], simulate.LANDSCAPES[-1]):
        probes, _ = synthetic.draw(np.random.default_rng(1), 300, 1000, lambdas=20)
        tokens = probes.tokens.sum()
        u = (probes.totals.sum(2).mean(0) / tokens - probes.center.sum() / tokens) / (
            probes.chance - probes.center.sum() / tokens
        )
        crossed = PchipInterpolator(u[: u.argmax() + 1], probes.lambdas[: u.argmax() + 1])
        # 10 % over 300 directions, and 8 to 13 % over 1000 windows: a standard error of 0.6 and 0.4 %.
        assert synthetic.truth(0.5) == pytest.approx(float(crossed(0.5)), rel=0.015)


def test_articles_change_what_windows_share_and_not_the_truth():
    """Windows of one article correlate as declared, others do not; the mean length is as declared."""
    synthetic, rng = simulate.ARTICLES, np.random.default_rng(2)
    probes, articles = synthetic.draw(rng, 2, 6000)
    bottom = np.log(probes.center / probes.tokens)
    neighbours = articles[1:] == articles[:-1]
    assert np.corrcoef(bottom[1:][neighbours], bottom[:-1][neighbours])[0, 1] == pytest.approx(0.7, abs=0.06)
    assert abs(np.corrcoef(bottom[1:][~neighbours], bottom[:-1][~neighbours])[0, 1]) < 0.08
    assert len(articles) / (articles[-1] + 1) == pytest.approx(3.0, rel=0.06)


def test_a_search_draws_its_windows_from_anywhere_in_the_text():
    """64 windows of 60 articles: were these of equal size, 39 would be met; the first 64 in a row are of about 8."""
    rng = np.random.default_rng(4)
    met = [len(set(simulate.WIKITEXT.landscape(rng, 1, 64).articles.tolist())) for _ in range(50)]
    assert 30 < np.mean(met) < 48
    losses = simulate.WIKITEXT.landscape(rng, 2, 64)
    assert losses.effect.shape == (2, 64)
    level = losses.bottom - losses.bottom.mean()
    alike = losses.articles[:, None] == losses.articles
    np.fill_diagonal(alike, False)
    assert np.multiply.outer(level, level)[alike].mean() > 0  # L_w moved with its article


@pytest.mark.parametrize(
    ("covered", "verdict"), [(1879, "low"), (1881, "ok"), (1900, "ok"), (1918, "ok"), (1920, "high")]
)
def test_verdicts_are_binomial(covered, verdict):
    """95 % of Binomial(2000, 0.95) lies from 1881 to 1918."""
    assert simulate.Coverage(0.5, 0.0, 0.1, covered, 0, 2000).verdict == verdict


def test_the_committed_table_has_a_row_for_every_cell():
    assert [row[:2] for row in committed()] == [
        [cell.name, f"{cell.directions} × {cell.windows}"] for cell in simulate.cells()
    ]


def test_the_committed_table_of_searches_has_a_row_for_every_cell():
    assert [row[:2] for row in committed("stopping")] == [
        [cell.name, f"±{cell.precision:.0%}"] for cell in simulate.searches()
    ]


def test_what_was_evaluated_once_stays_what_it_was():
    """A search asks for more of a landscape, not for another one; every window counts once."""
    losses = simulate.LANDSCAPES[0].landscape(np.random.default_rng(3), 6, 5)
    first = losses.totals(2, [0.8, 0.9], 3)
    assert losses.evaluations == 2 * 2 * 3
    assert (losses.totals(6, [0.9], 5)[:2, 0, :3] == first[:, 1]).all()
    assert losses.evaluations == 2 * 3 + 6 * 5
    assert len(np.unique(first)) == first.size
    center, tokens = losses.center(5)
    u = (losses.totals(6, [3.0], 5).sum() / 6 - center.sum()) / (simulate.CHANCE * tokens.sum() - center.sum())
    assert u == pytest.approx(1, abs=0.05)  # far out lies the plateau


def test_rows_take_the_place_of_those_that_begin_alike(tmp_path):
    page = simulate.Page(tmp_path / "page.md")
    page.path.write_text("before\n<!-- stopping -->\n<!-- /stopping -->\nafter\n")
    table = simulate.tables()[1]
    first, second, *_ = table.measures
    table.write({second: f"{second} old |"}, page)
    table.write({first: f"{first} new |"}, page)
    table.write({second: f"{second} newer |"}, page)
    text = page.text
    assert text.splitlines()[-4:] == [f"{first} new |", f"{second} newer |", "<!-- /stopping -->", "after"]
    assert text.startswith("before\n<!-- stopping -->\n2000 repetitions")
    assert "old" not in text


def test_a_search_row_says_what_became_of_the_searches():
    cell = next(iter(simulate.searches()))
    coverage, ends = simulate.measure_search(cell, repetitions=30)
    name, precision, reached, rounds, evaluated, _, half, covered, computed, first = (
        text.strip() for text in simulate.search_row(cell, coverage, ends).strip("|").split("|")
    )
    assert (name, precision, reached) == (cell.name, "±5%", "100.0%")
    truth = cell.landscape.truth(0.5)
    hits = [found.radius.low <= truth <= found.radius.high for found, _ in ends]
    narrower = [found.rounds[-1].crossing for found, _ in ends]
    assert computed == f"{sum(radius.low <= truth <= radius.high for radius in narrower) / 30:.1%}"
    never = dataclasses.replace(narrower[0], low=2 * truth, high=3 * truth)  # what the search reports stays as it was
    missed = [(dataclasses.replace(f, rounds=(dataclasses.replace(f.rounds[-1], crossing=never),)), n) for f, n in ends]
    assert simulate.search_row(cell, coverage, missed).split(" | ")[-2] == "0.0%"
    assert covered.split("%")[0] == f"{100 * sum(hits) / 30:.1f}"
    at_once = [hit for hit, (found, _) in zip(hits, ends, strict=True) if len(found.rounds) == 1]
    assert first == f"{sum(at_once) / len(at_once):.1%} of {len(at_once) / 30:.0%}"
    assert float(rounds) == pytest.approx(sum(len(found.rounds) for found, _ in ends) / 30, abs=0.05)
    assert int(evaluated) == int(np.median([count for _, count in ends]))
    assert float(half.strip("±%")) <= 5


def test_the_committed_table_is_what_the_estimator_gives():
    """A few surveys of some rows: the half width of R is that of the table; a changed estimator needs a new table."""
    cells = list(simulate.cells())
    for index in (2, 9, len(cells) - 1):
        measured = simulate.measure(cells[index], repetitions=100)[0]
        stated = float(re.sub(r"[±%]", "", committed()[index][3])) / 100
        assert measured.half_width == pytest.approx(stated, rel=0.1)
        assert measured.covered >= 88
