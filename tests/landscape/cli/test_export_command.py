"""``landscape export`` as a user runs it."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np

from tests.landscape.cli.asking import probe_words
from tests.landscape.exports.goldstein import read_line, read_plane
from tests.landscape.exports.opened import opened
from tests.landscape.small import NUMBERS


def test_a_survey_is_exported_from_the_cache(run, tmp_path, forwards):
    more = ["--bits", "2", "--methods", "rtn,gptq,qaft", "--plane"]
    code, out, err = run(*probe_words(tmp_path, *more, "--json"))
    assert code == 0, err
    found = json.loads(out)
    forwards.clear()
    words = ["export", "--store", tmp_path / "store", *NUMBERS, *more]
    file, folder = tmp_path / "new" / "nano.h5", tmp_path / "surfaces"
    code, out, err = run(*words, "-o", file, "--with-points", "--surfaces", folder)
    assert code == 0, err
    assert len(forwards) == 0
    assert str(file) in out
    assert int(re.search(r"\((\d+) surfaces", out).group(1)) == len(list(folder.iterdir()))
    values = opened(file)["values"]
    assert values["models/0/rays/nll/train"] == [ray["nll"]["train"] for ray in found["rays"]]
    assert values["models/0/planes/0/nll"] == found["planes"][0]["nll"]
    names, splits = (values[f"models/0/tables/points/{name}"] for name in ("point", "split"))
    told = dict(zip(zip(names, splits, strict=True), values["models/0/tables/points/nll"], strict=True))
    assert told == {(p["name"], split): nll for p in found["points"] for split, nll in p["nll"].items()}
    with h5py.File(file) as opened_file:
        points = opened_file["models/0/points"]
        distances = {}
        for group in points.values():
            stored = group["model.decoder.layers.0.fc1.weight"]
            distances[group.attrs["name"]] = "codes" in stored
        assert distances == {
            "rtn-int2-exact": True, "gptq-int2-exact": True, "qaft-int2-exact": True, "w_ft-int2": False,
        }  # fmt: skip
        assert set(np.unique(points["0/model.decoder.layers.0.fc1.weight/codes"])) <= {-1, 0, 1}
    curve = read_line(folder / "rays_1.h5")
    assert curve.train_loss.tolist() == [found["center"]["train"], *found["rays"][0]["nll"]["train"]]
    heights = read_plane(folder / "plane_gptq-int2-exact_qaft-int2-exact.h5", "test_loss")
    plane = found["planes"][0]
    assert heights[plane["x"][3], plane["y"][5]] == plane["nll"][5][3]

    code, out, err = run(*words, "-o", tmp_path / "again.h5", "--with-points", "--json")
    assert code == 0, err
    assert json.loads(out)["files"] == [str(tmp_path / "again.h5")]
    assert (tmp_path / "again.h5").read_bytes() == file.read_bytes()


def test_what_cannot_be_written_is_refused_before_the_work(run, tmp_path, forwards):
    (tmp_path / "file").touch()
    for words, told in (
        ([], "expected a file to write, got none"),
        (["--surfaces", tmp_path / "s", "--with-points"], "expected --output FILE.h5 with --with-points"),
        (["-o", tmp_path], "expected a file as --output, got the folder"),
        (["-o", tmp_path / "file" / "x.h5"], "as --output"),
        (["--surfaces", tmp_path / "file"], "expected a folder to write to as --surfaces"),
    ):
        code, out, err = run("export", "--store", tmp_path / "store", *NUMBERS, *words)
        assert (code, out, len(forwards)) == (2, "", 0)
        assert told in " ".join(err.split())
    assert not (tmp_path / "store").exists()
