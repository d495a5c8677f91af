from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from landscape.report.survey.figures import plane_figure, radial_figure
from landscape.report.survey.traces import crowded
from landscape.report.survey.view import omissions, panels, view
from landscape.survey.result import SurveyResult
from tests import synthetic

SPLIT_AXES = {"train": "x", "validation": "x2"}


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape()


@pytest.fixture(scope="module")
def figure(found: SurveyResult) -> go.Figure:
    return radial_figure(found)


def traces(figure: go.Figure, axis: str, name: str) -> list[go.Scatter]:
    return [t for t in figure.data if t.xaxis == axis and t.name == name and not t.showlegend]


def menu(figure: go.Figure, label: str) -> go.layout.Updatemenu:
    return next(m for m in figure.layout.updatemenus if any(b.label == label for b in m.buttons))


@pytest.mark.parametrize(("split", "axis"), SPLIT_AXES.items())
def test_rays_are_the_measured_values_from_w_on(found: SurveyResult, figure: go.Figure, split: str, axis: str) -> None:
    for ray in found.rays:
        (trace,) = traces(figure, axis, f"direction {ray.index}")
        assert list(trace.x) == [0.0, *ray.lambdas]
        assert list(trace.y) == [found.center[split], *ray.nll[split]]
    drawn = [t for t in figure.data if t.xaxis == axis and t.name.startswith("direction ")]
    assert len(drawn) == len(found.rays) == 8


@pytest.mark.parametrize(("split", "axis"), SPLIT_AXES.items())
def test_points_and_segments_are_the_measured_values(
    found: SurveyResult, figure: go.Figure, split: str, axis: str
) -> None:
    for point in found.points:
        (trace,) = traces(figure, axis, point.name)
        assert (list(trace.x), list(trace.y)) == ([point.distance], [point.nll[split]])
    own = [s for s in found.segments if s.split == split]
    for segment in own:
        (trace,) = traces(figure, axis, f"{segment.a} – {segment.b}")
        first = 1 if segment.a == "w" else 0  # the one α below 0 would be folded back
        assert segment.alphas[0] < 0
        assert list(trace.x) == list(segment.distances[first:])
        assert list(trace.y) == list(segment.nll[first:])
    assert len([t for t in figure.data if t.xaxis == axis and " – " in t.name]) == len(own) == 18


@pytest.mark.parametrize(("split", "axis"), SPLIT_AXES.items())
def test_radius_band_and_chance_are_where_they_were_measured(
    found: SurveyResult, figure: go.Figure, split: str, axis: str
) -> None:
    basin = found.basins[split]
    interval, line, name = traces(figure, axis, "R")
    assert (list(name.x), name.text) == ([basin.radius.value], (" R",))
    assert set(line.x) == {basin.radius.value}
    assert set(interval.x) == {basin.radius.low, basin.radius.high}
    assert interval.fill == "toself"
    assert set(traces(figure, axis, "band")[0].x) == {basin.r10.value, basin.r90.value}
    assert set(traces(figure, axis, "chance")[0].y) == {found.subject.chance}
    assert str(round(basin.radius.low, 1)) in line.customdata[0]


def test_the_axis_switch_divides_everything_by_one_length(found: SurveyResult, figure: go.Figure) -> None:
    int2 = next(p for p in found.points if p.name == "rtn-int2-exact")
    buttons = menu(figure, "distance").buttons
    assert [b.label for b in buttons[:2]] == ["distance", "÷ ‖w‖"]
    for button, length in zip(buttons, (1.0, found.subject.norm, int2.distance), strict=True):
        changes, layout = button.args
        assert len(changes["x"]) == len(figure.data)
        for trace, scaled in zip(figure.data, changes["x"], strict=True):
            absolute = [math.nan if v is None else v for v in trace.x]
            np.testing.assert_allclose([math.nan if v is None else v for v in scaled], np.array(absolute) / length)
        for axis in ("xaxis", "xaxis2"):
            expected = np.array(figure.layout[axis].range) / length
            np.testing.assert_allclose(layout[f"{axis}.range"], expected)
    assert "rtn-int2-exact" in buttons[2].args[1]["xaxis.title.text"]
    assert not figure.layout.shapes  # nothing with an abscissa escapes the switch


def test_without_rtn_there_is_no_unit_of_rtn() -> None:
    figure = radial_figure(synthetic.landscape(methods=("gptq",), bits=(4,)))
    assert [b.label for b in menu(figure, "distance").buttons] == ["distance", "÷ ‖w‖"]
    assert len(figure.layout.updatemenus) == 1  # and with one bit width no choice of bits


def test_the_bits_switch_shows_one_bit_width_and_brings_back_its_legend(figure: go.Figure) -> None:
    for button in menu(figure, "int4").buttons:
        changes, indices = button.args
        for i, visible in zip(indices, changes["visible"], strict=True):
            name = figure.data[i].name
            belongs = figure.data[i].showlegend or button.label == "all bits" or f"{button.label}-" in name
            assert visible == belongs, (button.label, name)
        quantized = {i for i, t in enumerate(figure.data) if "-int" in t.name}
        assert quantized <= set(indices)
        untouched = {figure.data[i].name for i in range(len(figure.data)) if i not in set(indices)}
        assert {"w", "R", "band", "chance", "direction 0"} <= untouched


def test_a_point_of_another_tool_goes_by_its_name_and_is_seen_with_any_bit_width() -> None:
    figure = radial_figure(synthetic.landscape(bits=(8, 2), external=("q4_k_m",)))
    (trace,) = traces(figure, "x", "q4_k_m")
    assert (trace.marker.symbol, trace.text, trace.legendgroup) == ("star", ("q4_k_m",), "q4_k_m")
    assert [t.marker.symbol for t in figure.data if t.showlegend and t.name == "q4_k_m"] == ["star"]
    place = list(figure.data).index(trace)
    segment = list(figure.data).index(traces(figure, "x", "w – q4_k_m")[0])
    buttons = menu(figure, "int2").buttons
    assert [button.label for button in buttons] == ["all bits", "int8", "int2"]
    for button in buttons:
        changes, indices = button.args
        assert changes["visible"][indices.index(place)]
        assert list(changes["text"][indices.index(place)]) == ["q4_k_m"]
        assert changes["visible"][indices.index(segment)]


def test_every_trace_answers_to_a_legend_entry(figure: go.Figure) -> None:
    groups = {t.legendgroup for t in figure.data if t.showlegend}
    assert {t.legendgroup for t in figure.data} == groups
    names = [t.name for t in figure.data if t.showlegend]
    assert names == [
        "w", "random directions", "RTN", "GPTQ", "QAFT", "w – RTN", "w – GPTQ", "w – QAFT", "RTN – GPTQ", "RTN – QAFT",
        "GPTQ – QAFT", "radius R and its interval", "border r10 to r90", "chance ln|V|",
    ]  # fmt: skip


def test_methods_differ_in_colour_and_in_shape_and_segments_in_colour_or_dash() -> None:
    figure = radial_figure(synthetic.landscape(bits=(4, 2), scales=("exact", "absmax")))
    points = [t for t in figure.data if t.mode == "markers+text"]
    for attribute in ("color", "symbol"):
        looks = {t.name.split("-")[0]: t.marker[attribute].removesuffix("-open") for t in points}
        assert len(set(looks.values())) == 3
    assert {t.marker.symbol.endswith("-open") for t in points if "absmax" in t.name} == {True}
    assert {t.marker.symbol.endswith("-open") for t in points if "exact" in t.name} == {False}
    segments = [t for t in figure.data if " – " in t.name and t.showlegend]
    assert len({t.line.color for t in segments}) == len(segments) == 6
    assert len({t.line.dash for t in segments if not t.name.startswith("w")}) == 3
    widths = {name: t.line.width for t in figure.data if " – " in (name := t.name) and not t.showlegend}
    assert widths["w – rtn-int2-exact"] > widths["w – rtn-int4-exact"]


@pytest.mark.parametrize("make", [synthetic.landscape, synthetic.smollm2_like])
def test_all_points_the_plateau_and_chance_are_in_view(make) -> None:
    found = make()
    frame = view(found)
    for point in found.points:
        assert frame.x[0] < point.distance < frame.x[1]
        assert all(frame.y[0] < point.nll[split] < frame.y[1] for split in panels(found))
    for split in panels(found):
        assert frame.y[0] < found.center[split] < found.subject.chance < frame.y[1]
        assert found.basins[split].r90.value < frame.x[1]
        assert all(ray.lambdas[-1] < frame.x[1] for ray in found.rays)
    assert frame.hidden == 0
    assert omissions(found) == []


def test_points_beyond_the_rays_are_in_view() -> None:
    found = replace(synthetic.landscape(lambdas=[5, 10, 20, 30, 40, 50]), segments=())
    assert max(point.distance for point in found.points) > 2 * 50
    assert all(point.distance < view(found).x[1] for point in found.points)


def test_rays_far_above_chance_do_not_squash_the_rest_and_are_told() -> None:
    found = synthetic.landscape(synthetic.Well(tilt=30.0))
    frame, chance = view(found), found.subject.chance
    top = max(float(ray.nll[s].max()) for ray in found.rays for s in panels(found))
    assert top > chance + 3 * (chance - found.center["train"])
    assert frame.y[1] < chance + 2 * (chance - found.center["train"])
    above = sum(int((ray.nll[s] > frame.y[1]).sum()) for ray in found.rays for s in panels(found))
    assert above > 0
    assert f"{above} values lie above the plotted range" in " ".join(omissions(found))


def test_labels_too_close_to_tell_apart_are_left_to_the_bits_switch() -> None:
    found = synthetic.smollm2_like()
    bare = crowded(found, "validation", view(found))
    assert {"rtn-int8-exact", "gptq-int8-exact"} <= bare
    assert not {p.name for p in found.points if p.bits == 2} & bare
    figure = radial_figure(found)
    (trace,) = traces(figure, "x2", "rtn-int8-exact")
    assert trace.text == ("",)
    alone = next(b for b in menu(figure, "int8").buttons if b.label == "int8")
    position = alone.args[1].index(list(figure.data).index(trace))
    assert list(alone.args[0]["text"][position]) == ["int8"]


def test_a_label_that_would_cover_another_points_marker_is_left_out() -> None:
    """GPTQ's label stands right of and below its marker, 0.06 of the panel's width and 0.045 of its height away."""
    found = synthetic.smollm2_like()
    frame = view(found)
    _, gptq, qaft = (p for p in found.points if p.bits == 2)
    x, y = (0.06 * (frame.x[1] - frame.x[0]), 0.045 * (frame.y[1] - frame.y[0]))
    for shift, covered in ((0.9, True), (2.1, False)):
        nll = {**gptq.nll, "validation": gptq.nll["validation"] - shift * y}
        moved = replace(qaft, distance=gptq.distance + shift * x, nll=nll)
        scene = replace(found, points=(gptq, moved))
        assert (gptq.name in crowded(scene, "validation", frame)) == covered
    assert gptq.name not in crowded(replace(found, points=(gptq,)), "validation", frame)


def test_a_long_name_takes_more_room_than_a_bit_width() -> None:
    found = synthetic.landscape(bits=(4,), methods=("rtn",), external=("m",))
    frame = view(found)
    point, other = found.points[1], found.points[0]
    right = point.distance + 0.2 * (frame.x[1] - frame.x[0])  # external labels stand right of and above their marker
    above = point.nll["validation"] + 0.045 * (frame.y[1] - frame.y[0])
    moved = replace(other, distance=right, nll={**other.nll, "validation": above})
    for name, covered in (("m", False), ("mistral-7b-instruct.Q4_K_M", True)):
        scene = replace(found, points=(replace(point, name=name), moved))
        assert (name in crowded(scene, "validation", frame)) == covered


def test_a_censored_radius_is_a_dotted_bound_and_the_band_ends_where_knowledge_does() -> None:
    found = synthetic.landscape(lambdas=[5, 10, 20, 30, 40, 50])
    assert found.basin.radius.value is None
    assert found.basin.radius.low == 50
    figure = radial_figure(found)
    line, name = traces(figure, "x2", "R")  # and no shade of an interval
    assert name.text == (" R and r90 are farther out",)
    assert set(line.x) == {50}
    assert line.line.dash == "dot"
    assert max(traces(figure, "x2", "band")[0].x) == 50


def test_one_direction_has_a_radius_without_a_shade() -> None:
    found = synthetic.landscape(directions=1, bits=(4,), methods=("rtn",))
    line, _ = traces(radial_figure(found), "x2", "R")
    assert set(line.x) == {found.basin.radius.value}
    assert "not bounded by one direction" in line.customdata[0]


def test_values_that_are_not_finite_become_gaps_and_are_told() -> None:
    found = synthetic.overflowing()
    figure = radial_figure(found)
    json.loads(figure.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    (ray,) = traces(figure, "x2", "direction 0")
    assert ray.y[-1] is None
    assert "not finite" in ray.customdata[-1]
    assert not traces(figure, "x2", "rtn-int2-exact")
    assert traces(figure, "x", "rtn-int2-exact")
    told = " ".join(omissions(found))
    assert "the NLL on validation is not finite: rtn-int2-exact." in told
    assert "3 gaps" in told


def test_a_figure_alone_has_title_and_buttons_and_one_on_a_page_has_neither(found: SurveyResult) -> None:
    alone, bare = radial_figure(found), radial_figure(found, bare=True)
    assert alone.layout.title.text.startswith("opt-125m: basin radius R = ")
    assert len(alone.layout.updatemenus) == 2
    assert bare.layout.title.text is None
    assert not bare.layout.updatemenus
    assert bare.data == alone.data


def test_markup_in_a_name_is_text() -> None:
    figure = radial_figure(synthetic.landscape(model="<b>x</b>"))
    assert figure.layout.title.text.startswith("&lt;b&gt;x&lt;/b&gt;: basin radius R = ")


def test_the_axes_of_a_plane_say_what_they_measure() -> None:
    found = synthetic.landscape(bits=(4,), windows=4, plane=True)
    (plane,) = found.planes
    figure = plane_figure(plane, found)
    assert figure.layout.yaxis.title.text == "at right angles,<br>towards qaft-int4-exact"
    (bar,) = (trace.colorbar for trace in figure.data if trace.type == "contour" and trace.showscale is not False
              and trace.colorbar.title.text)  # fmt: skip
    assert bar.title.text == "u: share of the way from L(w) to chance"
