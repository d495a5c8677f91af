"""The comparison of two folders of results fails on a changed last bit, and on all that is not foreseen."""

import copy
import json
import math

import pytest

from tests.compare_results import EXPECTED, compare, main

POINTS = [
    {"name": "rtn-int4", "loss": "kept", "nll": {"test": 2.5}},
    {"name": "qaft-int4", "loss": "degraded", "nll": {"test": 2.25}},
]
SEGMENTS = [
    {"a": "w", "b": name, "split": split, "nll": [2.0, 2.125, 2.5]}
    for name in ("rtn-int4", "qaft-int4")
    for split in ("train", "validation")
]
SURVEY = {
    "schema_version": 3,
    "points": POINTS,
    "segments": SEGMENTS,
    "probes": {"total": 12, "cached": 12, "evaluated": 0},
    "seconds": 1.5,
    "store": "here",
    "page": "here/page.html",
}
W_FT = {"name": "w_ft-int4", "loss": "kept", "nll": {"test": 2.125}}
NOT_EVALUATED = "Nothing was evaluated in this run, so there was nothing to check."
EXAMPLES = [
    ("radius", {"schema_version": 2}, {"schema_version": 3}),
    ("anatomy", {"loss": "degraded"}, {"loss": "inconclusive"}),
    (
        "advise",
        {"advice": [{"numbers": [{"source": "fitted: landscape/VALIDATION.md"}]}]},
        {"advice": [{"numbers": [{"source": "fitted: benchmarks/advice/README.md"}]}]},
    ),
    ("advise", {"seconds_per_pass": 0.25}, {"seconds_per_pass": 0.5}),
    ("probe", {"points": POINTS}, {"points": [POINTS[0], W_FT, POINTS[1]]}),
    (
        "probe",
        {"segments": SEGMENTS},
        {"segments": [{"a": "w", "b": "w_ft-int4", "split": "train", "nll": [2.0]}, *SEGMENTS]},
    ),
    ("probe", {}, {"misalignments": []}),
    ("probe", {"misalignments": []}, {"misalignments": [{"grid": "int4", "net": {"test": {"value": 0.5}}}]}),
    ("probe_more", {"probes": {"total": 12, "evaluated": 0}}, {"probes": {"total": 15, "evaluated": 3}}),
    (
        "probe",
        {"health": [{"name": "finite losses", "words": "All 12 losses are finite."}]},
        {"health": [{"name": "finite losses", "words": "All 15 losses are finite."}]},
    ),
    ("probe", {"health": [{"name": "L(w)", "passed": None}]}, {"health": [{"name": "L(w)", "passed": True}]}),
    (
        "probe",
        {"health": [{"name": "L(w)", "words": NOT_EVALUATED}]},
        {"health": [{"name": "L(w)", "words": "The same."}]},
    ),
    ("quantize", "rtn-int4\nloads\n", {"point": "rtn-int4"}),
]
"""A difference for each row of ``EXPECTED``, in its order: file, old, new."""
MISTAKES = [
    ("radius", {"schema_version": 2}, {"schema_version": 4}),
    ("anatomy", {"loss": "kept"}, {"loss": "inconclusive"}),
    ("anatomy", {"loss": "inconclusive"}, {"loss": "degraded"}),
    ("advise", {"advice": [{"numbers": [{"source": "a"}]}]}, {"advice": [{"numbers": [{"source": "b"}]}]}),
    ("advise", {"seconds_per_pass": 0.25}, {"seconds_per_pass": None}),
    ("probe", {"points": POINTS}, {"points": POINTS[:1]}),
    ("probe", {"points": POINTS}, {"points": POINTS[::-1]}),
    ("probe", {"points": POINTS}, {"points": [*POINTS, W_FT | {"name": "awq-int4"}]}),
    ("probe", {"points": [W_FT]}, {"points": [W_FT | {"nll": {"test": 2.25}}]}),
    ("probe", {"points": [W_FT]}, {"points": []}),
    ("probe", {"points": [W_FT, W_FT]}, {"points": [W_FT]}),
    ("probe", {"segments": SEGMENTS}, {"segments": SEGMENTS[1:]}),
    ("probe", {"misalignments": [{"grid": "int4"}]}, {"misalignments": []}),
    ("probe", {"probes": {"total": 12}}, {"probes": {"total": 11}}),
    ("anatomy", {"probes": {"total": 12}}, {"probes": {"total": 15}}),
    (
        "probe",
        {"health": [{"name": "finite losses", "words": "All 12 losses are finite."}]},
        {"health": [{"name": "finite losses", "words": "2 of 12 losses are not finite."}]},
    ),
    ("probe", {"health": [{"name": "L(w)", "passed": None}]}, {"health": [{"name": "L(w)", "passed": False}]}),
    ("quantize", "rtn-int4\nloads\n", "rtn-int4\n"),
    ("quantize", "rtn-int4\nloads\n", ""),
    ("radius", {"radius": 1.0}, ""),
    ("radius", "", ""),
]


@pytest.fixture
def status(tmp_path):
    """Run the comparison on one file, and return its exit status."""

    def run(name, old, new):
        folders = [tmp_path / "old", tmp_path / "new"]
        for folder, result in zip(folders, (old, new), strict=True):
            folder.mkdir(exist_ok=True)
            text = result if isinstance(result, str) else json.dumps(result)
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
        return main([str(folder) for folder in folders])

    return run


def test_other_times_and_places_are_no_difference(status, capsys):
    assert status("probe", SURVEY, SURVEY | {"seconds": 9.0, "store": "there", "page": None}) == 0
    assert capsys.readouterr().out.split() == ["0", "unexpected"]


@pytest.mark.parametrize("direction", [-math.inf, math.inf])
def test_a_changed_last_bit_fails_though_a_new_point_shifts_the_lists(status, capsys, direction):
    changed = copy.deepcopy(SURVEY)
    changed["points"].insert(0, W_FT)
    changed["segments"].insert(0, {"a": "w", "b": "w_ft-int4", "split": "train", "nll": [2.0]})
    assert status("probe", SURVEY, changed) == 0

    changed["segments"][2]["nll"][1] = other = math.nextafter(2.125, direction)
    assert status("probe", SURVEY, changed) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"UNEXPECTED  probe/segments[w, rtn-int4, validation]/nll[1]: 2.125 → {other!r}" in lines


@pytest.mark.parametrize(("old", "new"), [(0.0, -0.0), (1, 1.0), (1, True), (0.0, None), ("1", 1), ([1], [1, 1])])
def test_values_that_python_takes_for_equal_differ(old, new):
    assert not list(compare(old, old, "radius"))
    assert list(compare(old, new, "radius"))
    assert list(compare(new, old, "radius"))


def test_each_expected_difference_has_an_example():
    assert len(EXAMPLES) == len(EXPECTED)
    for row, (name, old, new) in zip(EXPECTED, EXAMPLES, strict=True):
        assert {row.covers(difference) for difference in compare(old, new, name)} == {True}, row.path


@pytest.mark.parametrize(("name", "old", "new"), EXAMPLES)
def test_an_expected_difference_is_printed_and_passes(status, capsys, name, old, new):
    assert status(name, old, new) == 0
    assert capsys.readouterr().out.startswith(f"expected    {name}")


@pytest.mark.parametrize(("name", "old", "new"), MISTAKES)
def test_any_other_difference_fails(status, capsys, name, old, new):
    (status("other", {}, {}), capsys.readouterr())
    assert status(name, old, new) == 1
    assert f"UNEXPECTED  {name}" in capsys.readouterr().out


@pytest.mark.parametrize("lacking", ["old", "new"])
def test_a_result_that_one_folder_lacks_fails(status, tmp_path, lacking):
    assert status("radius", {"radius": 1.0}, {"radius": 1.0}) == 0
    assert status("probe", SURVEY, SURVEY) == 0
    (tmp_path / lacking / "probe.json").unlink()
    assert main([str(tmp_path / "old"), str(tmp_path / "new")]) == 1


def test_folders_without_results_are_refused(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path)]) == main([str(tmp_path)]) == main([]) == 2
    assert all(line.startswith("expected two folders of *.json") for line in capsys.readouterr().err.splitlines())
