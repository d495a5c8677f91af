"""``landscape probe`` as a user runs it: the job, its JSON, its page, its cache."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas
import pytest

from tests.landscape.cli.asking import probe_words, stable


def test_the_whole_job_and_its_json(run, tmp_path, forwards):
    words = probe_words(tmp_path, "--bits", "4,2", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    found = json.loads(out)
    assert set(found) == {
        "schema_version", "model", "space", "data", "center", "center_perplexity", "center_size", "chance", "basin",
        "kl_radii", "points", "rays", "segments", "planes", "misalignments", "probes", "seconds", "store", "page",
        "run", "health",
    }  # fmt: skip
    assert [check["passed"] for check in found["health"]] == [True, True, None, True, True, True, True, True]
    assert "warning" not in err
    assert found["space"]["dimension"] == 983040
    assert [p["name"] for p in found["points"]] == [
        *(f"{method}-int{bits}-exact" for bits in (4, 2) for method in ("rtn", "gptq", "qaft")),
        "w_ft-int4-int2",  # the control of both QAFT, whose rates are the same here
    ]
    assert [(m["grid"], m["control"]) for m in found["misalignments"]] == [
        ("int4-exact", "w_ft-int4-int2"), ("int2-exact", "w_ft-int4-int2"),
    ]  # fmt: skip
    nll = {p["name"]: p["nll"]["test"] for p in found["points"]}
    raw = nll["gptq-int2-exact"] - nll["qaft-int2-exact"]
    net = raw + nll["w_ft-int4-int2"] - found["center"]["test"]
    assert found["misalignments"][1]["raw"]["test"]["value"] == pytest.approx(raw)
    assert found["misalignments"][1]["net"]["test"]["value"] == pytest.approx(net)
    assert set(found["points"][0]["nll"]) == {"train", "validation", "test"}
    assert len(found["segments"]) == 2 * 6 * 2 + 2  # the last two from w to its control, on both splits
    assert set(found["basin"]) == {
        "split", "directions", "windows", "articles", "radius", "band", "reentry", "monotone", "non_finite",
        "direction_radii", "other_radii",
    }  # fmt: skip
    assert len(found["basin"]["direction_radii"]) == len(found["rays"]) == found["basin"]["directions"]
    assert {len(ray["nll"][split]) for ray in found["rays"] for split in ("train", "validation")} == {
        len(found["rays"][0]["lambdas"])
    }
    other = found["basin"]["other_radii"]
    assert other["kept"]["value"] < found["basin"]["band"]["r10"]["value"]
    assert found["center"]["validation"] < other["unigram"]["reference"] < found["chance"]
    assert other["unigram"]["radius"]["value"] < found["basin"]["radius"]["value"]
    assert found["basin"]["articles"] <= found["basin"]["windows"]  # of tales, which tell theirs
    assert found["probes"]["total"] == found["probes"]["evaluated"] > 0
    assert "about" in err  # the forecast
    page = Path(found["page"]).read_text()
    assert f"{found['points'][0]['distance']:.3g}"[:3] in page

    forwards.clear()
    code, out, err = run(*words)
    again = json.loads(out)
    assert len(forwards) == again["probes"]["evaluated"] == 0
    told = f"nothing to evaluate: all {again['probes']['total']} probes are in the cache"
    assert told in " ".join(err.split())
    assert [check["passed"] for check in again["health"]] == [None, None, None, None, None, True, None, None]
    assert stable(again) == stable(found)

    # more directions and bits: what is known is not evaluated again
    code, out, _ = run(*probe_words(tmp_path, "--bits", "4,2", "--directions", "3", "--json"))
    more = json.loads(out)
    new_rays = more["probes"]["total"] - found["probes"]["total"]
    assert more["probes"]["evaluated"] == new_rays > 0
    assert [p["nll"] for p in more["points"]] == [p["nll"] for p in found["points"]]


def test_the_plane_is_drawn_is_in_the_json_and_is_forecast(run, tmp_path, forwards):
    """First without GPTQ, so that its point comes after QAFT's: pairs must not depend on what was made first."""
    words = probe_words(tmp_path, "--bits", "2", "--json")
    assert run(*words, "--methods", "qaft")[0] == 0
    code, out, err = run(*words, "--plane")
    assert code == 0, err
    found = json.loads(out)
    (plane,) = found["planes"]
    assert (plane["a"], plane["b"], plane["windows"]) == ("gptq-int2-exact", "qaft-int2-exact", 2)
    assert (len(plane["nll"]), len(plane["nll"][0])) == (13, 13)
    distances = {p["name"]: p["distance"] for p in found["points"]}
    for point in plane["points"][1:]:
        assert (point["x"] ** 2 + point["y"] ** 2) ** 0.5 == pytest.approx(distances[point["name"]], rel=1e-6)
    assert 'id="plane-1"' in Path(found["page"]).read_text()
    told = int(re.search(r"evaluate about\s+(\d+)\s+probes", err).group(1))
    assert told == pytest.approx(found["probes"]["evaluated"], rel=0.1)
    forwards.clear()
    _, out, err = run(*words, "--plane")
    assert len(forwards) == json.loads(out)["probes"]["evaluated"] == 0
    assert "nothing to evaluate" in err


def test_the_forecast_counts_what_a_fresh_run_evaluates(run, tmp_path):
    """Of methods whose points differ: QAFT that keeps what it starts from shares that point's probes."""
    methods = "rtn,gptq,awq,qaft,qaft-lsq"
    words = probe_words(tmp_path, "--bits", "2", "--methods", methods, "--refinements", "0", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    told = int(re.search(r"evaluate about\s+(\d+)\s+probes", err).group(1))
    assert told == pytest.approx(json.loads(out)["probes"]["evaluated"], rel=0.05)


def test_a_failed_check_is_a_warning_in_plain_words(run, tmp_path):
    words = probe_words(tmp_path, "--bits", "2", "--methods", "rtn", "--lambdas", "1e-7,60", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    found = json.loads(out)
    (check,) = [check for check in found["health"] if check["passed"] is False]
    assert check["name"] == "float resolution"
    assert "landscape: warning: Weights in float32 are too coarse" in " ".join(err.split())
    page = Path(found["page"]).read_text()
    assert page.index("This run is not sound") < page.index(check["words"]) < page.index("<figure")


def test_a_table_for_people(run, tmp_path):
    code, out, _ = run(*probe_words(tmp_path, "--bits", "2", "--methods", "rtn"))
    assert code == 0
    assert "rtn-int2-exact" in out
    assert re.search(r"R (= \d|is more than)", out)
    assert "next   landscape probe" in out
    assert "evaluated" in out


def test_grids_and_options_of_gptq_reach_the_points(run, tmp_path):
    words = ["--bits", "3", "--methods", "gptq", "--scale", "absmax", "--granularity", "tensor,group:32", "--json"]
    code, out, err = run(*probe_words(tmp_path, *words))
    assert code == 0, err
    plain = {p["name"]: p for p in json.loads(out)["points"]}
    assert {p["grid"] for p in plain.values()} == {"absmax", "absmax-per-group32"}
    coarse, fine = plain["gptq-int3-absmax"], plain["gptq-int3-absmax-per-group32"]
    assert fine["distance"] < coarse["distance"]
    code, out, err = run(*probe_words(tmp_path, *words, "--act-order", "--gptq-inputs", "fp"))
    assert code == 0, err
    assert "make gptq-int3-absmax" in err  # other options make other points
    other = {p["name"]: p for p in json.loads(out)["points"]}
    assert all(other[name]["distance"] != plain[name]["distance"] for name in plain)
    page = Path(json.loads(out)["page"]).read_text()
    assert all((f"GPTQ {name}" in page) == changed for name, changed in (("act_order", True), ("block_size", False)))


def test_tables_are_written_are_told_and_are_the_same_again(run, tmp_path):
    words = probe_words(tmp_path, "--bits", "2", "--directions", "2", "--plane")
    code, out, err = run(*words, "--csv", tmp_path / "csv", "--output", tmp_path / "page")
    assert code == 0, err
    told = re.search(r"csv +(\S+) \(rows: (.*)\)", " ".join(out.split()))
    assert told.group(1) == str(tmp_path / "csv")
    counts = dict(re.findall(r"(\w+) (\d+)", told.group(2)))
    for name, count in counts.items():
        assert len(pandas.read_csv(tmp_path / "csv" / f"{name}.csv")) == int(count) > 0
    assert {"models", "splits", "points", "misalignments", "rays", "segments", "planes"} <= set(counts)
    code, out, err = run(*words, "--csv", tmp_path / "again", "--json")
    assert code == 0, err
    found = json.loads(out)
    before, after = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("csv", "again"))
    assert before == after  # one run made the points, the other read them
    points = pandas.read_csv(tmp_path / "csv" / "points.csv")
    for point in found["points"]:
        rows = points.query("point == @point['name']").set_index("split")
        assert rows.nll.to_dict() == pytest.approx(point["nll"], rel=1e-15)
        assert rows.distance.to_list() == pytest.approx([point["distance"]] * 3, rel=1e-15)
    segments = pandas.read_csv(tmp_path / "csv" / "segments.csv")
    assert len(segments) == sum(len(segment["alphas"]) for segment in found["segments"])


def test_tables_that_cannot_be_written_are_refused_before_the_work(run, tmp_path, forwards):
    (tmp_path / "file").touch()
    code, out, err = run(*probe_words(tmp_path, "--bits", "2", "--csv", tmp_path / "file"))
    assert (code, out, len(forwards)) == (2, "", 0)
    assert "expected a folder to write to as --csv" in " ".join(err.split())
    code, out, err = run(*probe_words(tmp_path, "--bits", "2", "--csv", tmp_path / "csv", "--shard", "1/2"))
    assert (code, out, len(forwards)) == (2, "", 0)
    assert "expected no --csv with --shard" in " ".join(err.split())
    assert not (tmp_path / "csv").exists()
