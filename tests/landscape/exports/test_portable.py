"""The portable file, opened by h5py alone, against the result that it was written from."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from landscape.exports.portable import export_hdf5
from landscape.exports.weights import ModelPoints
from landscape.study.result import StudyResult
from landscape.tables.column import columns
from landscape.tables.tidy import TABLES, tidy
from quant.center import Center
from quant.errors import PointError, StoreError
from quant.methods.rtn import rtn
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import synthetic, tiny
from tests.landscape.exports.opened import opened
from tests.landscape.tables import filled


@pytest.fixture(scope="module")
def study() -> StudyResult:
    return filled.study()


@pytest.fixture(scope="module")
def found(study: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("export") / "study.h5"
    export_hdf5(study, path)
    return opened(path)


def column_of(found: dict[str, Any], table: str, name: str) -> list[Any]:
    """The values of a column, None where the file says that there is none."""
    values = found["values"].get(f"{table}/{name}")
    if values is None:
        return []
    known = found["values"].get(f"{table}/{name}_known", [1] * len(values))
    return [value if there else None for value, there in zip(values, known, strict=True)]


def same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def test_every_dataset_is_plain_and_described(found: dict[str, Any]) -> None:
    assert found["problems"] == []
    assert {kind for kind in found["types"] if not kind.startswith("|S")} == {"<f8", "<i8"}
    for name in found["values"]:
        attributes = found["attributes"][name]
        assert set(attributes) == {"unit", "meaning"}, name
        assert attributes["meaning"].endswith("."), name


def test_every_cell_of_every_table_is_there(study: StudyResult, found: dict[str, Any]) -> None:
    for index, model in enumerate(study.models):
        whole = tidy(study)
        for name in TABLES:
            rows = [row for row in whole[name] if row.model == model.name and name != "failures"]
            table = f"models/{index}/tables/{name}"
            assert (table in found["attributes"]) == bool(rows)
            for column in columns(TABLES[name]) if rows else ():
                expected = [getattr(row, column.name) for row in rows]
                written = column_of(found, table, column.name) or [None] * len(rows)
                assert all(map(same, written, expected)), (table, column.name)
    assert column_of(found, "failures", "reason") == ["expected a matrix, got none"]


def test_the_readme_names_what_is_there(found: dict[str, Any]) -> None:
    root = found["attributes"]["/"]
    assert (root["format"], root["format_version"], root["kind"], root["name"]) == (
        "quant-landscape results", 1, "study", "both",
    )  # fmt: skip
    words = root["README"]
    for name in set(TABLES) - {"failures"}:
        assert name in words
    for path in found["values"]:  # models/0/tables/…, models/0/rays/…
        assert path.split("/")[2 if path.startswith("models") else 0] in words, path


def test_rays_and_planes_are_arrays(study: StudyResult, found: dict[str, Any]) -> None:
    for index, model in enumerate(study.models):
        survey, values = model.survey, found["values"]
        place = f"models/{index}"
        np.testing.assert_array_equal(values[f"{place}/rays/distance"], survey.rays[0].lambdas)
        assert values[f"{place}/rays/direction"] == [0, 1, 2]
        for split in ("train", "validation"):
            for name in ("nll", "kl", "agreement"):
                expected = [getattr(ray, name)[split] for ray in survey.rays]
                np.testing.assert_array_equal(values[f"{place}/rays/{name}/{split}"], expected)
        for j, plane in enumerate(survey.planes):
            for name in ("x", "y", "nll"):
                np.testing.assert_array_equal(values[f"{place}/planes/{j}/{name}"], getattr(plane, name))
            attributes = found["attributes"][f"{place}/planes/{j}"]
            assert (attributes["a"], attributes["b"], attributes["bits"]) == (plane.a, plane.b, plane.bits)


def test_the_same_result_gives_the_same_bytes_and_replaces_an_older_file(study: StudyResult, tmp_path: Path) -> None:
    export_hdf5(study, tmp_path / "one.h5")
    (tmp_path / "two.h5").write_text("older")
    export_hdf5(study, tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one.h5", "two.h5"}


def test_what_overflowed_is_not_finite_and_what_is_missing_is_marked(tmp_path: Path) -> None:
    export_hdf5(filled.overflowing(), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        points = file["models/0/tables/points"]
        lost = list(zip(points["point"].asstr()[:], points["split"].asstr()[:], strict=True)).index(
            ("rtn-int2-exact", "validation")
        )
        assert points["nll"][lost] == math.inf
        assert "nll_known" not in points  # it is there, and infinite
        assert "expert_matrices" not in points  # it was measured for none
        assert np.isnan(file["models/0/rays/nll/validation"][0, -1])
        assert "layers" not in file["models/0/tables"]
        models = file["models/0/tables/models"]
        assert models["radius"][0] == filled.overflowing().basin.radius.value


def test_names_that_are_no_utf_8_are_written_out(study: StudyResult, tmp_path: Path) -> None:
    byte, written = "a \udcff byte", "a \\udcff byte"
    survey = study.models[0].survey
    points = tuple(replace(point, name=f"{point.name} {byte}") for point in survey.points)
    run = replace(survey.run, settings={"data": byte})
    named = replace(survey, subject=replace(survey.subject, model=byte, data=byte), points=points, run=run)
    whole = replace(study, name=byte, models=(replace(study.models[0], survey=named),))
    export_hdf5(whole, tmp_path / "x.h5")
    found = opened(tmp_path / "x.h5")
    assert found["attributes"]["/"]["name"] == written
    model = found["attributes"]["models/0"]
    assert (model["name"], model["data"]) == (written, written)
    assert json.loads(model["settings"]) == {"data": byte}
    assert column_of(found, "models/0/tables/models", "model") == [written]
    assert all(name.endswith(written) for name in column_of(found, "models/0/tables/points", "point"))


# ---- points ---------------------------------------------------------------------------------------------------------


def weight_by_the_readme(matrix: h5py.Group) -> np.ndarray:
    """Decode a matrix by what ``landscape.exports.weights`` documents, with numpy alone."""
    if "weights" in matrix:
        return np.asarray(matrix["weights"][:])
    codes, scale = matrix["codes"][:].astype(np.float32), matrix["scale"][:]
    zero = matrix["zero"][:] if "zero" in matrix else np.zeros_like(scale)
    axis, group = matrix.attrs["input_axis"], matrix.attrs["group"]
    assert matrix["codes"][:].min() >= matrix.attrs["low"]
    assert matrix["codes"][:].max() <= matrix.attrs["high"]
    if group:
        index = np.arange(codes.shape[axis]) // group
        scale, zero = np.take(scale, index, axis), np.take(zero, index, axis)
    if "levels" in matrix:
        return np.sign(codes) * matrix["levels"][:][np.abs(codes).astype(int)] * scale
    return (codes - zero) * scale


SCHEMES = [
    QuantScheme(4), QuantScheme(3, "absmax", "channel"), QuantScheme(2, "absmax", "group:5"),
    QuantScheme(8, "absmax", "channel", symmetric=False), QuantScheme(4, "absmax", "group:8", symmetric=False),
]  # fmt: skip


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2])
def test_codes_and_scales_decode_to_the_weights(make, tmp_path: Path) -> None:
    model = make()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    formats = (QuantScheme.of_format(name) for name in (("nvfp4", "fp8") if make is tiny.gpt2 else ("fp8",)))
    points = {str(scheme): rtn(space, center, scheme) for scheme in (*SCHEMES, *formats)}
    points["floats"] = WeightPoint("floats", None, {slot.name: center.tensor(slot) + 1 for slot in space})
    base = synthetic.landscape(bits=(4,), methods=("rtn",))
    named = tuple(replace(base.points[0], name=name) for name in ("unmade", *points))
    export_hdf5(replace(base, points=named), tmp_path / "x.h5", {0: ModelPoints(space, points)})
    with h5py.File(tmp_path / "x.h5") as file:
        written = file["models/0/points"]
        assert sorted(written) == [str(place) for place in range(1, len(points) + 1)]  # of the points in the result
        for group in written.values():
            point = points[group.attrs["name"]]
            for slot in space:
                np.testing.assert_array_equal(weight_by_the_readme(group[slot.name]), point.tensor(slot).numpy())


def test_points_that_the_result_lacks_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    model = tiny.llama()
    space = WeightSpace.of(model)
    point = rtn(space, Center.of(model, space), QuantScheme(4))
    found = synthetic.landscape(bits=(4,), methods=("rtn",))
    for points in (
        {0: ModelPoints(space, {"rtn-int3-exact": point})},
        {1: ModelPoints(space, {"rtn-int4-exact": point})},
        {0: ModelPoints(space, {"rtn-int4-exact": replace(point, parts={})})},
    ):
        with pytest.raises(PointError):
            export_hdf5(found, tmp_path / "x.h5", points)
    assert list(tmp_path.iterdir()) == []


# ---- the disk -------------------------------------------------------------------------------------------------------


FULL_DISK = """
import errno, os, resource, sys
from pathlib import Path
from landscape.exports.portable import export_hdf5
from quant.errors import StoreError
from tests import synthetic

path, found = Path(sys.argv[1]), synthetic.landscape(bits=(4,), methods=("rtn",), directions=2)
export_hdf5(found, path)
whole, (_, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in range(0, len(whole), len(whole) // 23):  # wherever in the file the disk is full
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        export_hdf5(found, path)
        raise SystemExit(f"no error at {limit}")
    except StoreError as error:
        assert os.strerror(errno.EFBIG) in str(error) and "choose another file" in str(error), error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert [p.name for p in path.parent.iterdir()] == [path.name]
assert path.read_bytes() == whole
print("kept")
"""


def test_a_full_disk_is_one_line_and_keeps_the_older_file(tmp_path: Path) -> None:
    """In a process of its own: HDF5 that meets a write error itself crashes at a later time, or at exit."""
    words = [sys.executable, "-c", FULL_DISK, str(tmp_path / "x.h5")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="choose another file"):
        export_hdf5(synthetic.landscape(bits=(4,), methods=("rtn",)), tmp_path / "file" / "x.h5")
