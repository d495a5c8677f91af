"""``landscape export`` as a user runs it: from a run that is kept, without its model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape import PRESETS, SurveyRequest, probe
from landscape.anatomy.result import AnatomyResult
from landscape.records.record import load_record, save_record
from landscape.records.run_files import run_path, study_path
from landscape.study.result import ModelStudy, StudyResult
from quant.checkpoints.checkpoint import load_checkpoint
from quant.scheme import QuantScheme
from tests.conftest import ROOT
from tests.landscape.cli.asking import probe_words
from tests.landscape.exports.goldstein import read_line, read_plane
from tests.landscape.exports.opened import opened
from tests.landscape.exports.test_portable import weight_by_the_readme
from tests.landscape.records.invented import invent
from tests.landscape.tables import filled
from tests.synthetic import landscape

MATRIX = "model.decoder.layers.0.fc1.weight"


FEW = {"train_windows": 2, "validation_windows": 2, "test_windows": 2, "seq_len": 32, "alphas": 3, "refinements": 0}
COMMAND = "landscape probe --bits 2 --methods rtn"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The record of a small survey in its store."""
    store = tmp_path_factory.mktemp("kept") / "store"
    preset = replace(PRESETS["quick"], **FEW)
    found = probe(SurveyRequest("opt-nano", bits=(2,), methods=("rtn",), directions=2, preset=preset, store=store))
    path = run_path(Path(found.run.store), "survey", "opt-nano", COMMAND)
    save_record(found, path, COMMAND)
    return path


def test_a_run_is_exported_with_its_points_and_nothing_is_evaluated(run, tmp_path, forwards):
    more = ["--bits", "2", "--methods", "rtn,gptq,qaft", "--plane", "--loss", "kl", "--json"]
    code, out, err = run(*probe_words(tmp_path, *more))
    assert code == 0, err
    found = json.loads(out)
    kept = Path(found["run"])
    forwards.clear()
    file, folder = tmp_path / "new" / "nano.h5", tmp_path / "surfaces"
    words = ["export", kept.stem, "--store", tmp_path / "store", "--with-points"]
    code, out, err = run(*words, "-o", file, "--surfaces", folder)
    assert (code, err, len(forwards)) == (0, "", 0)
    assert f"file   {file} (" in out
    assert "4 points, 2 directions, 1 plane, with codes and scales)" in out
    assert int(re.search(r"\((\d+) surfaces", out).group(1)) == len(list(folder.iterdir()))
    values = opened(file)["values"]
    for name in ("nll", "kl", "agreement"):
        assert values[f"models/0/rays/{name}/train"] == [ray[name]["train"] for ray in found["rays"]]
    assert values["models/0/planes/0/nll"] == found["planes"][0]["nll"]
    names, splits = (values[f"models/0/tables/points/{name}"] for name in ("point", "split"))
    told = dict(zip(zip(names, splits, strict=True), values["models/0/tables/points/nll"], strict=True))
    assert told == {(p["name"], split): nll for p in found["points"] for split, nll in p["nll"].items()}
    look_at_points(file)
    look_at_surfaces(folder, found)

    code, out, err = run("cache", *words, "-o", tmp_path / "again.h5", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["run"], told["kind"], told["files"]) == (str(kept), "survey", [str(tmp_path / "again.h5")])
    assert (told["models"], told["left_out"]) == (["opt-nano"], [])
    assert (tmp_path / "again.h5").read_bytes() == file.read_bytes()


def look_at_points(file):
    """RTN's codes are those of rounding the model again; w_FT is on no grid."""
    checkpoint = load_checkpoint("opt-nano")
    with h5py.File(file) as opened_file:
        points = {group.attrs["name"]: group for group in opened_file["models/0/points"].values()}
        on_grid = {name: "codes" in group[MATRIX] for name, group in points.items()}
        assert on_grid == {
            "rtn-int2-exact": True, "gptq-int2-exact": True, "qaft-int2-exact": True, "w_ft-int2": False,
        }  # fmt: skip
        weight = checkpoint.model.get_parameter(MATRIX).detach().numpy()
        written = weight_by_the_readme(points["rtn-int2-exact"][MATRIX])
        assert points["rtn-int2-exact"].attrs["scheme"] == str(QuantScheme(2)) == "int2-exact"
        scale = points["rtn-int2-exact"][MATRIX]["scale"][0, 0]
        np.testing.assert_array_equal(written, scale * np.clip(np.round(weight / scale), -1, 1))
        assert np.abs(points["w_ft-int2"][MATRIX]["weights"][:] - weight).max() < np.abs(written - weight).max()


def look_at_surfaces(folder, found):
    ray, center = found["rays"][0], found["center"]
    curve = read_line(folder / "rays_1.h5")
    assert curve.train_loss.tolist() == [center["train"], *ray["nll"]["train"]]
    assert curve.test_acc.tolist() == [100, *(100 * share for share in ray["agreement"]["validation"])]
    assert 0 <= curve.test_acc[-1] < 50  # far out another token is most probable, mostly
    (segment,) = [s for s in found["segments"] if (s["a"], s["b"], s["split"]) == ("w", "rtn-int2-exact", "train")]
    curve = read_line(folder / "segment_w_rtn-int2-exact.h5")
    at_w, at_point = (segment["alphas"].index(alpha) for alpha in (0, 1))
    (point,) = [p for p in found["points"] if p["name"] == "rtn-int2-exact"]
    assert curve.train_acc[at_w] == 100
    assert curve.train_acc[at_point] == pytest.approx(100 * point["agreement"]["train"]["value"], rel=1e-12)
    heights = read_plane(folder / "plane_gptq-int2-exact_qaft-int2-exact.h5", "test_loss")
    plane = found["planes"][0]
    assert heights[plane["x"][3], plane["y"][5]] == plane["nll"][5][3]


def test_points_that_are_made_anew_or_of_an_older_run_are_refused(run, kept, tmp_path):
    record = load_record(kept)
    (point,) = record.result.points
    other = replace(point, stored=replace(point.stored, label="point/" + "0" * 32))
    for result, told in (
        (replace(record.result, points=(other,)), "expected the weights of rtn-int2-exact that this run measured"),
        (replace(record.result, slots=()), f"got one of an older version; run {COMMAND}"),
        (replace(record.result, slots=record.result.slots[1:]), "expected the point rtn-int2-exact in"),
    ):
        save_record(result, tmp_path / "run.json", record.command)
        code, out, err = run("export", tmp_path / "run.json", "-o", tmp_path / "x.h5", "--with-points")
        assert (code, out) == (1, "")
        assert told in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "x.h5").exists()


def test_points_are_read_where_the_run_was_or_in_the_cache_that_is_named(run, kept, tmp_path, monkeypatch):
    root, moved = kept.parent.parent.parent, tmp_path / "moved"
    shutil.copytree(root, moved)
    for path in moved.glob("*/points/*/*.h5"):
        path.unlink()  # as landscape cache gc does
    words = ["-o", tmp_path / "x.h5", "--with-points"]
    assert run("export", moved / kept.relative_to(root), *words)[0] == 0  # where it was
    for name in ("--store", "LANDSCAPE_CACHE"):
        monkeypatch.setenv("LANDSCAPE_CACHE", str(moved))
        more = ["--store", moved] if name == "--store" else []
        code, _, err = run("export", kept.stem, *words, *more)
        assert code == 1
        assert f"expected the point rtn-int2-exact in {moved / kept.parent.parent.name}, found none: it was" in err
        assert f"name that with --store, or make the point again: {COMMAND}" in err
    code, _, err = run("export", moved / kept.relative_to(root), *words, "--store", root)
    assert (code, err) == (0, "")


def test_points_of_other_tools_are_left_out_in_words(run, kept, tmp_path):
    record = load_record(kept)
    (point,) = record.result.points
    theirs = replace(point, name="theirs", stored=None)
    save_record(replace(record.result, points=(theirs, point)), tmp_path / "run.json", COMMAND)
    words = ["export", tmp_path / "run.json", "-o", tmp_path / "x.h5"]
    code, out, _ = run(*words, "--with-points")
    assert code == 0
    assert "without the weights of theirs of opt-nano, which are in another tool's file" in out
    with h5py.File(tmp_path / "x.h5") as file:
        assert [group.attrs["name"] for group in file["models/0/points"].values()] == ["rtn-int2-exact"]
    assert "without the weights" not in run(*words)[1]


def test_a_study_of_several_models_is_exported_and_a_run_of_another_kind_is_not(run, tmp_path):
    path = study_path(tmp_path, "both")
    save_record(filled.study(), path, "landscape study")
    code, out, err = run("export", "both", "--store", tmp_path, "-o", tmp_path / "x.h5", "--surfaces", tmp_path / "s")
    assert (code, err) == (0, "")
    assert "2 models, " in out
    assert f"--surf_file {tmp_path / 's' / 'two_rays_mean.h5'} --loss_max " in out
    with h5py.File(tmp_path / "x.h5") as file:
        assert [file[f"models/{i}"].attrs["name"] for i in (0, 1)] == ["one", "two"]
    path = tmp_path / "anatomy.json"
    save_record(invent(AnatomyResult, np.random.default_rng(0)), path, "landscape anatomy")
    code, _, err = run("export", path, "-o", tmp_path / "y.h5")
    assert code == 2
    assert "expected a survey or a study to export, got " in err


def test_points_of_a_study_go_to_their_model(run, kept, tmp_path):
    survey = load_record(kept).result
    other = replace(survey, subject=replace(survey.subject, data="other"), points=())
    study = StudyResult(
        "s", tuple(ModelStudy(each, (), "") for each in (other, survey)), (), "landscape study", 1.0, {}
    )
    save_record(study, tmp_path / "s.json", "landscape study")
    code, _, err = run("export", tmp_path / "s.json", "-o", tmp_path / "x.h5", "--with-points")
    assert (code, err) == (0, "")
    with h5py.File(tmp_path / "x.h5") as file:
        assert [len(file[f"models/{i}/points"]) for i in (0, 1)] == [0, 1]


def test_without_points_neither_torch_nor_the_model_is_needed(tmp_path):
    path = run_path(tmp_path / "store", "survey", "opt-125m", "probe")
    save_record(landscape(directions=2, windows=2), path, "landscape probe")
    code = (
        "import sys\nfrom landscape.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    words = [path, "--output", tmp_path / "x.h5", "--surfaces", tmp_path / "s"]
    done = subprocess.run(
        [sys.executable, "-c", code, "export", *map(str, words)],
        capture_output=True, text=True, cwd=ROOT, env=dict(os.environ), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_written_is_refused_before_the_work(run, tmp_path):
    (tmp_path / "file").touch()
    for words, told in (
        ([], "expected a file to write, got none"),
        (["--surfaces", tmp_path / "s", "--with-points"], "expected --output FILE.h5 with --with-points"),
        (["-o", tmp_path], "expected a file as --output, got the folder"),
        (["-o", tmp_path / "file" / "x.h5"], "as --output"),
        (["--surfaces", tmp_path / "file"], "expected a folder to write to as --surfaces"),
        (["-o", tmp_path / "x.h5"], "runs there: none yet"),
    ):
        code, out, err = run("export", "survey", "--store", tmp_path / "store", *words)
        assert (code, out) == (2, "")
        assert told in " ".join(err.split())
    assert not (tmp_path / "store").exists()
