"""``landscape export`` as a user runs it: from a run that is kept, without its model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

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
from tests.landscape.tables import filled
from tests.synthetic import landscape

MATRIX = "model.decoder.layers.0.fc1.weight"


@pytest.fixture
def probed(run, tmp_path):
    """Probe with these options; its JSON, and the file of its run."""

    def probe(*more):
        code, out, err = run(*probe_words(tmp_path, "--bits", "2", *more, "--json"))
        assert code == 0, err
        found = json.loads(out)
        return found, Path(found["run"])

    return probe


def test_a_run_is_exported_with_its_points_and_nothing_is_evaluated(run, probed, tmp_path, forwards):
    found, kept = probed("--methods", "rtn,gptq,qaft", "--plane", "--loss", "kl")
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


def test_points_that_are_gone_or_made_anew_or_of_an_older_run_are_refused(run, probed, tmp_path):
    _, kept = probed("--methods", "rtn")
    file = tmp_path / "x.h5"
    words = ["export", kept, "--store", tmp_path / "store", "-o", file, "--with-points"]
    record = load_record(kept)
    (point,) = record.result.points
    other = replace(point, stored=replace(point.stored, label="point/" + "0" * 32))
    for result, told in (
        (replace(record.result, points=(other,)), "expected the weights of rtn-int2-exact that this run measured"),
        (replace(record.result, slots=()), "got one of an older version; run landscape probe --model opt-nano"),
        (replace(record.result, slots=record.result.slots[1:]), "expected the point rtn-int2-exact in"),
    ):
        save_record(result, kept, record.command)
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        assert told in err
        assert len(err.splitlines()) == 1
    save_record(record.result, kept, record.command)
    (tmp_path / "store").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / kept.relative_to(tmp_path / "store")
    code, _, err = run("export", moved, "-o", file, "--with-points")  # not in the usual cache, nor where it was
    assert code == 1
    assert f"expected the point rtn-int2-exact in {kept.parent.parent}, found none" in err
    code, _, err = run("export", moved, "-o", file, "--with-points", "--store", tmp_path / "moved")
    assert (code, err) == (0, "")
    for path in (tmp_path / "moved").glob("*/points/*/*.h5"):
        path.unlink()
    code, _, err = run("export", moved, "-o", tmp_path / "y.h5", "--with-points", "--store", tmp_path / "moved")
    assert code == 1
    assert "found none: it was removed, or the cache is another one; name that with --store, or make the" in err
    assert not (tmp_path / "y.h5").exists()


def test_points_of_other_tools_are_left_out_in_words(run, probed, tmp_path):
    out = tmp_path / "q3"
    code, _, err = run("quantize", "--bits", "3", "--method", "rtn", "--export", out, "--store", tmp_path / "store")
    assert code == 0, err
    _, kept = probed("--methods", "rtn", "--point", f"theirs={out}")
    words = ["export", kept.stem, "--store", tmp_path / "store", "-o", tmp_path / "x.h5"]
    code, out, _ = run(*words, "--with-points")
    assert code == 0
    assert "without the weights of theirs of opt-nano, which are in another tool's file" in out
    with h5py.File(tmp_path / "x.h5") as file:
        assert [group.attrs["name"] for group in file["models/0/points"].values()] == ["rtn-int2-exact"]
    assert "without the weights" not in run(*words)[1]


def test_a_study_of_several_models_is_exported_and_a_run_of_another_kind_is_not(run, tmp_path, dissected):
    path = study_path(tmp_path, "both")
    save_record(filled.study(), path, "landscape study")
    code, out, err = run("export", "both", "--store", tmp_path, "-o", tmp_path / "x.h5", "--surfaces", tmp_path / "s")
    assert (code, err) == (0, "")
    assert "2 models, " in out
    assert f"--surf_file {tmp_path / 's' / 'two_rays_mean.h5'} --loss_max " in out
    with h5py.File(tmp_path / "x.h5") as file:
        assert [file[f"models/{i}"].attrs["name"] for i in (0, 1)] == ["one", "two"]
    path = run_path(tmp_path / "store", "anatomy", "opt-nano", "landscape anatomy")
    save_record(dissected, path, "landscape anatomy")
    code, _, err = run("export", path, "-o", tmp_path / "y.h5")
    assert code == 2
    assert "expected a survey or a study to export, got " in err


def test_points_of_a_study_go_to_their_model(run, probed, tmp_path):
    _, kept = probed("--methods", "rtn")
    survey = load_record(kept).result
    other = replace(survey, subject=replace(survey.subject, data="other"), points=())
    study = StudyResult(
        "s", tuple(ModelStudy(each, (), "") for each in (other, survey)), (), "landscape study", 1.0, {}
    )
    save_record(study, study_path(tmp_path / "store", "s"), "landscape study")
    words = ["-o", tmp_path / "x.h5", "--with-points"]
    code, _, err = run("export", "s", "--store", tmp_path / "store", *words)
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
