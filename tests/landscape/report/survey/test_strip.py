"""The strip of verdicts, and the ranges of the buttons."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from landscape.estimators.intervals import Estimate
from landscape.estimators.location import Loss
from landscape.report.perplexity_change import change_text
from landscape.report.survey.controls import controls
from landscape.report.survey.strip import SIGNS, verdict_strip
from landscape.report.survey.verdicts import near_but_steep
from landscape.report.survey.view import points_view, units, width_text
from quant.size import ModelSize
from tests import synthetic
from tests.synthetic import with_formats


def test_there_is_one_line_a_grid_and_one_cell_a_method() -> None:
    found = synthetic.landscape(bits=(2, 8), scales=("exact", "absmax"), external=("q4_k_m",))
    strip = verdict_strip(found)
    assert strip.methods == ("RTN", "GPTQ", "QAFT")
    assert [line.name for line in strip.lines] == ["int8 exact", "int8 absmax", "int2 exact", "int2 absmax"]
    by_name = {point.name: point for point in found.points}
    for line in strip.lines:
        for method, cell in zip(("rtn", "gptq", "qaft"), line.cells, strict=True):
            point = by_name[f"{method}-{line.name.replace(' ', '-')}"]
            assert (cell.loss, cell.location) == (point.loss, point.location)
            assert cell.change == change_text(point.rise["validation"])
    assert [line.name for line in strip.others] == ["q4_k_m"]


def test_a_method_that_was_not_asked_for_on_a_grid_has_no_cell() -> None:
    found = synthetic.landscape(bits=(4, 2), methods=("rtn", "gptq"))
    strip = verdict_strip(replace(found, points=found.points[1:]))
    assert [cell is None for cell in strip.lines[0].cells] == [False, True]  # GPTQ was seen first
    assert strip.lines[1].cells[1] is not None


def test_a_float_format_stands_by_its_name_and_shares_the_button_of_its_bits() -> None:
    found = with_formats(synthetic.landscape(bits=(8, 4), scales=("exact", "absmax", "mse")), {"absmax": "nvfp4"})
    assert [line.name for line in verdict_strip(found).lines] == [
        "int8 exact",
        "int8 mse",
        "int4 exact",
        "nvfp4",
        "int4 mse",
    ]
    assert [width_text(bits, found.points) for bits in (8, 4)] == ["int8", "4 bits"]
    alone = with_formats(synthetic.landscape(bits=(4,)), {"exact": "nvfp4"})
    assert width_text(4, alone.points) == "nvfp4"
    assert units(alone)[2].label == "÷ ‖Δw‖ of RTN nvfp4"


def test_steep_points_are_those_that_the_terminal_names() -> None:
    found = synthetic.smollm2_like(bits=(6,), methods=("rtn",), directions=3)
    assert [p.name for p in near_but_steep(found)] == ["rtn-int6-exact"]
    assert verdict_strip(found).lines[0].cells[0].steep


def test_bits_per_weight_stand_beside_the_grid_where_all_points_share_them() -> None:
    found = synthetic.landscape(bits=(4,), methods=("rtn", "gptq"))
    a, b = found.points
    sized = replace(found, points=(replace(a, size=ModelSize(4.5, 5, 9)), replace(b, size=ModelSize(4.5, 5, 9))))
    (line,) = verdict_strip(sized).lines
    assert (line.size, [cell.size for cell in line.cells]) == ("4.50 bits/weight", ["", ""])
    other = replace(sized, points=(sized.points[0], replace(b, size=ModelSize(4.25, 5, 9))))
    (line,) = verdict_strip(other).lines
    assert (line.size, [cell.size for cell in line.cells]) == ("", ["4.50 bits/weight", "4.25 bits/weight"])
    unsized = replace(found, points=tuple(replace(point, size=None) for point in found.points))
    assert verdict_strip(unsized).lines[0].size == ""


@pytest.mark.parametrize(
    ("nats", "text"),
    [
        (math.log(1.053), "+5.3 %"),
        (math.log(0.979), "−2.1 %"),
        (0.0001, "±0 %"),
        (-0.0001, "±0 %"),
        (math.log(2.3), "+130 %"),
        (math.log(17.2), "×17"),
        (800.0, "over ×1,000"),
        (math.inf, "overflowed"),
        (math.nan, "overflowed"),
    ],
)
def test_a_rise_in_nats_reads_as_a_change_of_perplexity(nats: float, text: str) -> None:
    assert change_text(Estimate(nats, -math.inf, math.inf)) == text


def test_every_word_for_a_loss_has_a_sign_of_its_own() -> None:
    words: tuple[Loss, ...] = ("kept", "inconclusive", "degraded", "lost")
    assert len({SIGNS[word] for word in words}) == len(SIGNS) == 4


def test_the_views_of_the_buttons_hold_their_points() -> None:
    found = synthetic.landscape(synthetic.Well(tilt=30.0), external=("q4_k_m",))
    views = controls(found).data["views"]
    assert set(views["points"]) == {"", "8", "4", "2"}
    for bits, shown in views["points"].items():
        for point in found.points:
            if not bits or str(point.bits) == bits or point.bits is None:
                assert shown["x"][0] < point.distance < shown["x"][1]
                assert all(shown["y"][0] < nll < shown["y"][1] for nll in point.nll.values())
    assert max(ray.nll["train"].max() for ray in found.rays) < views["everything"]["y"][1]
    assert "everything" not in controls(synthetic.landscape()).data["views"]


def test_points_that_are_all_w_leave_the_axis_as_it_is() -> None:
    found = synthetic.landscape(bits=(4,), methods=("rtn",))
    same = replace(found.points[0], distance=0.0, nll=found.center)
    shown = points_view(replace(found, points=(same,)))
    assert shown.x[1] > 0.9 * float(found.rays[0].lambdas.max())
    assert shown.y[0] < min(found.center.values()) < max(found.center.values()) < shown.y[1]
