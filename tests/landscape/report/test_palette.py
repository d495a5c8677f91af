"""Every method has a look of its own, and every pair of methods a stroke."""

from itertools import product

from landscape.report import palette
from landscape.session.point_methods import METHODS


def test_every_method_has_a_look_of_its_own() -> None:
    marks = [palette.mark(method) for method in METHODS]
    assert len({(mark.color, mark.symbol) for mark in marks}) == len(METHODS)
    assert [mark.label for mark in marks] == [row.label for row in METHODS.values()]
    other = palette.mark("a tool's point")
    assert all((mark.color, mark.symbol) != (other.color, other.symbol) for mark in marks)


def test_joined_methods_have_a_stroke_in_either_order() -> None:
    pairs = [(earlier, row.name) for row in METHODS.values() for earlier in row.joined]
    strokes = [palette.stroke(*pair) for pair in pairs]
    assert len(set(strokes)) == len(pairs)
    assert strokes == [palette.stroke(b, a) for a, b in pairs]


def test_any_pair_has_a_stroke() -> None:
    for a, b in product([None, *METHODS, "a tool's point"], [*METHODS, "a tool's point"]):
        assert palette.stroke(a, b).color
    assert palette.stroke("rtn", "signround") == palette.Stroke(palette.mark("signround").color, "dash")
    assert palette.stroke(None, "rtn") == palette.Stroke(palette.BLUE, "solid")
