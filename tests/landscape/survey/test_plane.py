"""Check the plane through w and two points: its positions, its losses, its picture and its words."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from landscape.positions.atlas import Atlas, Plane
from landscape.positions.position import CENTER, At, OnPlane, on_plane
from landscape.probing.losses import Probes
from landscape.probing.plan import Probe, ProbeResult, identified
from landscape.report.survey.figures import plane_figure
from landscape.report.survey.json import to_json
from landscape.report.survey.page import page
from landscape.report.survey.wording import plane_sentences
from landscape.session.point_specs import ExternalSpec, plane_pairs, point_specs
from landscape.survey.analysis import geometry, plane_result
from landscape.survey.plane import PLANE_WINDOWS, SIDE, PlaneBasis, PlaneLattice
from landscape.survey.plans import plane_plan
from quant.center import Center
from quant.methods.rtn import rtn
from quant.space import WeightSpace
from tests import synthetic, tiny
from tests.landscape.reading import Page, floats


@pytest.fixture(scope="module")
def setting():
    """A real space with two points beside w; that they are RTN's at other grids does not matter here."""
    space = WeightSpace.of(model := tiny.llama())
    center = Center.of(model, space)
    gptq, qaft = point_specs(("gptq", "qaft"), (2,), ("exact",))
    grids = point_specs(("rtn",), (3, 2), ("absmax",))
    points = {w: rtn(space, center, g.scheme) for w, g in zip((gptq, qaft), grids, strict=True)}
    return space, center, points, geometry(space, center, points)


def flat(space, vector):
    return np.concatenate([vector.tensor(slot).double().numpy().ravel() for slot in space])


def test_the_corners_are_the_points_to_the_bit(setting):
    space, center, points, _ = setting
    a, b = points.values()
    for (s, t), corner in (((0.0, 0.0), center), ((1.0, 0.0), a), ((0.0, 1.0), b)):
        assert all(torch.equal(Plane(center, a, b, s, t).tensor(x), corner.tensor(x).float()) for x in space)
    assert [on_plane("a", "b", *st) for st in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))] == [At(CENTER), At("a"), At("b")]


def test_a_corner_is_its_point_though_w_is_so_much_larger_that_differences_round():
    def given(*values):
        return SimpleNamespace(tensor=lambda slot: torch.tensor(values), device=None)

    w, a, b = given(1.0, -3e4), given(1e-8, 1 / 3), given(-1 / 7, 1e-5)
    assert torch.equal(Plane(w, a, b, 1.0, 0.0).tensor(None), a.tensor(None))
    assert torch.equal(Plane(w, a, b, 0.0, 1.0).tensor(None), b.tensor(None))


def test_a_position_matches_flat_vectors_and_has_a_recipe_of_its_own(setting):
    space, center, points, _ = setting
    atlas = Atlas(center, dict(zip("ab", points.values(), strict=True)), {})
    w, a, b = (flat(space, v) for v in (center, *points.values()))
    found = flat(space, atlas.vector(OnPlane("a", "b", 0.7, -0.2)))
    assert found == pytest.approx(w + 0.7 * (a - w) - 0.2 * (b - w), abs=1e-6)
    recipes = {str(OnPlane(*p)) for p in (("a", "b", 0.5, 0.25), ("a", "b", 0.25, 0.5), ("b", "a", 0.5, 0.25))}
    assert len(recipes) == 3
    assert str(OnPlane("a", "b", 0.5, 0.25)) == "plane/a/b/s=0x1.0000000000000p-1/t=0x1.0000000000000p-2"


def test_distances_on_the_picture_are_distances_in_the_space(setting):
    space, center, points, shape = setting
    (p, q), (a, b) = points, points.values()
    basis = PlaneBasis.of(shape.gram[p, p], shape.gram[p, q], shape.gram[q, q])
    lattice = PlaneLattice.around(basis, side=3)
    for i, y in enumerate(lattice.y):
        for j, x in enumerate(lattice.x):
            here = Plane(center, a, b, *lattice.affine[i, j].tolist())
            for corner, (u, v) in ((center, (0, 0)), (a, (basis.a, 0)), (b, basis.b)):
                true = np.linalg.norm(flat(space, here) - flat(space, corner))
                assert true == pytest.approx(math.hypot(x - u, y - v), rel=1e-4)
    assert basis.b[1] > 0


def test_the_picture_holds_the_three_points_with_room_around_and_is_no_strip():
    for b in ((0.9, 0.3), (-0.5, 2.0), (1.0, 0.01), (50.0, 1.0)):
        basis = PlaneBasis(1.0, b)
        lattice = PlaneLattice.around(basis)
        assert (len(lattice.x), len(lattice.y)) == (SIDE, SIDE)
        wide, high = (float(v[-1] - v[0]) for v in (lattice.x, lattice.y))
        for x, y in ((0, 0), (1, 0), b):
            assert lattice.x[0] + 0.1 * wide < x < lattice.x[-1] - 0.1 * wide
            assert lattice.y[0] + 0.1 * high < y < lattice.y[-1] - 0.1 * high
        assert min(wide, high) >= 0.499 * max(wide, high)


def test_rounding_of_the_inner_products_does_not_move_the_positions():
    """Sums in another order, with more threads, must not ask for other probes."""
    one, other = (
        PlaneLattice.around(PlaneBasis.of(1.7 * k, 1.1, 1.3 / k)).affine for k in (1.0, math.nextafter(1.0, 2.0))
    )
    assert np.array_equal(one, other)
    assert np.array_equal(one * 2**20, np.round(one * 2**20))


@pytest.mark.parametrize("gram", [(1.0, 2.0, 4.0), (1.0, -1.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)])
def test_points_on_one_line_with_w_span_no_plane(gram):
    assert PlaneBasis.of(*gram) is None


def test_planes_are_of_gptq_and_qaft_of_one_grid():
    specs = [
        *point_specs(("rtn", "gptq", "qaft", "qaft-lsq"), (4, 2), ("exact", "absmax")),
        ExternalSpec("qaft", "x"),
    ]
    pairs = [(a.name, b.name) for a, b in plane_pairs(specs)]
    assert pairs == [
        (f"gptq-int{bits}-{s}", f"qaft-int{bits}-{s}") for s in ("exact", "absmax") for bits in (4, 2)
    ]  # fmt: skip
    assert plane_pairs(point_specs(("rtn", "gptq"), (4,), ("exact",))) == []


def test_the_result_is_the_loss_at_each_place_on_the_first_windows(setting):
    _, _, points, shape = setting
    (p, q) = points
    basis = PlaneBasis.of(shape.gram[p, p], shape.gram[p, q], shape.gram[q, q])
    lattice = PlaneLattice.around(basis, side=5)
    windows = identified(tiny.windows(PLANE_WINDOWS + 2))
    labels = {p: "A", q: "B"}

    def loss(x, y):
        return 2.0 + x**2 + 3 * y

    known = {}
    plan = plane_plan("A", "B", lattice, windows[:PLANE_WINDOWS])
    assert len(plan) == 25 * PLANE_WINDOWS
    for position in [At(CENTER), At("A"), At("B"), *(step.position for step in plan.steps)]:
        on_corner = {At(CENTER): (0, 0), At("A"): (1, 0), At("B"): (0, 1)}
        s, t = (position.s, position.t) if isinstance(position, OnPlane) else on_corner[position]
        x, y = s * basis.a + t * basis.b[0], t * basis.b[1]  # where s Δa + t Δb lies
        for i, window in enumerate(windows[:PLANE_WINDOWS]):
            known[Probe(str(position), window.identity)] = ProbeResult(
                Probe(str(position), window.identity), 11 * (loss(x, y) + i), 11
            )
    found = plane_result(Probes(known, {"validation": windows}), labels, p, q, lattice)
    shift = np.mean(range(PLANE_WINDOWS))
    expected = [[loss(x, y) + shift for x in lattice.x] for y in lattice.y]
    np.testing.assert_allclose(found.nll, expected, rtol=1e-4)
    assert found.windows == PLANE_WINDOWS
    assert found.point_nll == pytest.approx(
        {"w": loss(0, 0) + shift, p.name: loss(basis.a, 0) + shift, q.name: loss(*basis.b) + shift}
    )


@pytest.fixture(scope="module")
def found():
    return synthetic.landscape(bits=(4, 2), plane=True)


def test_the_contour_is_the_measurement_with_the_border_chance_and_three_points(found):
    plane = found.planes[1]
    figure = plane_figure(plane, found)
    surface, lines, border, chance, *points = figure.data
    base = plane.point_nll["w"]
    u = (plane.nll - base) / (found.subject.chance - base)
    assert (list(surface.x), list(surface.y)) == (plane.x.tolist(), plane.y.tolist())
    np.testing.assert_allclose(np.array(surface.z), np.minimum(u, 1.25))
    np.testing.assert_allclose(np.array(border.z), u)
    np.testing.assert_allclose(np.array(lines.z), plane.nll)
    drawn = np.arange(lines.contours.start, lines.contours.end, lines.contours.size)
    assert 3 <= len(drawn) <= 10
    assert plane.nll.min() <= drawn[0] < drawn[-1] <= plane.nll.max()
    assert (border.contours.value, chance.contours.value) == (0.5, 1.0)
    assert border.line.dash != chance.line.dash
    assert [point.name for point in points] == ["w", plane.a, plane.b]
    assert [(p.x[0], p.y[0]) for p in points] == [(0.0, 0.0), (plane.places[plane.a][0], 0.0), plane.places[plane.b]]
    assert len({p.marker.symbol for p in points}) == len({p.marker.color for p in points}) == 3
    assert figure.layout.yaxis.scaleanchor == "x"  # to scale
    assert figure.layout.yaxis.scaleratio == 1
    for point in points:
        assert plane.x[0] < point.x[0] < plane.x[-1]
        assert plane.y[0] < point.y[0] < plane.y[-1]


def test_an_overflow_is_a_gap_and_is_reported(found):
    plane = synthetic.landscape(bits=(2,), plane=True).planes[0]
    plane.nll[0, 0], plane.nll[3, 4] = math.inf, math.nan
    figure = plane_figure(plane, found)
    json.loads(figure.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert figure.data[0].z[0][0] is None
    assert "2 positions" in plane_sentences(plane, found)[-1]


def test_the_page_draws_every_plane_with_one_plotly_and_says_it_in_words_and_numbers(found):
    text = page(found)
    library = "plotly.js v"
    assert text.count(library) == page(synthetic.landscape(bits=(4, 2))).count(library) >= 1
    assert text.count("Plotly.newPlot(") == 3
    assert [f'<div id="plane-{i}"' in text for i in (1, 2, 3)] == [True, True, False]
    parsed = Page(text)
    for plane in found.planes:
        for sentence in plane_sentences(plane, found):
            assert sentence in parsed.text
        rows = [r for r in parsed.table("The planes") if r["plane through w and"] == f"{plane.a}, {plane.b}"]
        assert [r["point"] for r in rows] == ["w", plane.a, plane.b]
        assert [floats(r["NLL"])[0] for r in rows] == pytest.approx(list(plane.point_nll.values()), abs=6e-5)
        assert floats(rows[2]["ℓ2 distance from w"])[0] == pytest.approx(math.hypot(*plane.places[plane.b]), rel=1e-4)
    values = [floats(row["NLL"])[0] for row in parsed.table("All values on the planes")]
    assert values == pytest.approx([v for plane in found.planes for v in plane.nll.ravel()], abs=6e-5)


def test_the_words_say_how_far_apart_the_points_are_and_what_the_border_cuts(found):
    plane = found.planes[1]
    angle = math.degrees(math.atan2(plane.places[plane.b][1], plane.places[plane.b][0]))
    inside = (plane.nll - plane.point_nll["w"] < 0.5 * (found.subject.chance - plane.point_nll["w"])).mean()
    said = " ".join(plane_sentences(plane, found))
    assert f"{angle:.0f}° apart" in said
    assert f"{inside:.0%} of the picture lies below it" in said
    flat = synthetic.landscape(synthetic.Well(top=3.6), bits=(2,), plane=True)
    assert "is not in the picture: all of it lies below" in " ".join(plane_sentences(flat.planes[0], flat))


def test_the_json_has_the_plane(found):
    written = json.loads(json.dumps(to_json(found), allow_nan=False))
    plane, entry = found.planes[0], written["planes"][0]
    assert np.array(entry["nll"]) == pytest.approx(plane.nll)
    assert [p["name"] for p in entry["points"]] == ["w", plane.a, plane.b]
    assert entry["points"][2]["y"] == plane.places[plane.b][1]
    assert to_json(synthetic.landscape(bits=(4,)))["planes"] == []


def test_colours_span_what_the_picture_shows_and_nothing_far_beyond_chance(found):
    flat = synthetic.landscape(bits=(8,), plane=True)
    surface = plane_figure(flat.planes[0], flat).data[0]
    u = flat.planes[0].saturation(flat.subject.chance)
    assert (surface.zmin, surface.zmax) == pytest.approx((u.min(), u.max()))
    assert surface.zmax < 0.1
    assert all(surface.zmin - 1e-12 <= tick <= surface.zmax + 1e-12 for tick in surface.colorbar.tickvals)
    plane = found.planes[1]
    plane.nll[0, 0] = 100 * found.subject.chance
    assert plane_figure(plane, found).data[0].zmax == 1.25
