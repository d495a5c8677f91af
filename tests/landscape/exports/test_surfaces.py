"""Surface files, read as the scripts of tomgoldstein/loss-landscape read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np
import pytest

from landscape.exports.surfaces import export_surfaces
from landscape.survey.result import SurveyResult
from quant.errors import UsageError
from tests import synthetic
from tests.landscape.exports.goldstein import read_line, read_plane, read_repeated, read_vertices
from tests.landscape.tables import filled


@pytest.fixture(scope="module")
def found() -> SurveyResult:
    return synthetic.landscape(bits=(4, 2), directions=3, plane=True, external=("q4 k/m",))


@pytest.fixture(scope="module")
def folder(found: SurveyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surfaces") / "new"
    files = export_surfaces(found, folder)
    assert sorted(files) == sorted(folder.iterdir())
    return folder


def test_each_direction_is_a_file_of_the_repeated_plot_and_begins_at_w(found: SurveyResult, folder: Path) -> None:
    curves = read_repeated(folder / "rays", 1, 3)
    for curve, ray in zip(curves, found.rays, strict=True):
        np.testing.assert_array_equal(curve.x, [0, *ray.lambdas])
        np.testing.assert_array_equal(curve.train_loss, [found.center["train"], *ray.nll["train"]])
        np.testing.assert_array_equal(curve.test_loss, [found.center["validation"], *ray.nll["validation"]])
        assert np.isnan(curve.train_acc).all()  # not measured; and the plot draws nothing
        assert np.isnan(curve.test_acc).all()
    mean = read_line(folder / "rays_mean.h5")
    np.testing.assert_allclose(mean.train_loss, np.mean([curve.train_loss for curve in curves], 0), rtol=1e-15)
    np.testing.assert_allclose(mean.test_loss, np.mean([curve.test_loss for curve in curves], 0), rtol=1e-15)


def test_each_segment_is_a_file_with_both_splits(found: SurveyResult, folder: Path) -> None:
    pairs = {(s.a, s.b) for s in found.segments}
    assert len(list(folder.glob("segment_*"))) == len(pairs)
    for segment in found.segments:
        curve = read_line(folder / f"segment_{segment.a}_{segment.b.replace(' ', '-').replace('/', '-')}.h5")
        np.testing.assert_array_equal(curve.x, segment.alphas)
        drawn = {"train": curve.train_loss, "validation": curve.test_loss}[segment.split]
        np.testing.assert_array_equal(drawn, segment.nll)


def test_a_plane_has_each_loss_at_its_place(found: SurveyResult, folder: Path) -> None:
    for plane in found.planes:
        path = folder / f"plane_{plane.a}_{plane.b}.h5"
        heights = read_plane(path, "test_loss")
        expected = {(x, y): plane.nll[i, j] for i, y in enumerate(plane.y) for j, x in enumerate(plane.x)}
        assert heights == expected
        assert not np.array_equal(plane.nll, plane.nll.T)  # so that swapped axes would show
        assert read_vertices(path, "test_loss") == [(x, y, z) for (x, y), z in expected.items()]


def test_a_plane_of_validation_text_does_not_pass_for_training_text(found: SurveyResult, folder: Path) -> None:
    with h5py.File(next(folder.glob("plane_*"))) as file:
        assert set(file) == {"xcoordinates", "ycoordinates", "test_loss"}
        assert file["test_loss"].attrs["split"] == "validation"
        assert "ℓ2 distance" in file["xcoordinates"].attrs["unit"]


def test_names_that_are_no_utf_8_are_written_out(found: SurveyResult, tmp_path: Path) -> None:
    segments = tuple(replace(segment, b=f"{segment.b} \udcff") for segment in found.segments)
    planes = tuple(replace(plane, b="\udcff") for plane in found.planes)
    files = export_surfaces(replace(found, segments=segments, planes=planes), tmp_path)
    with h5py.File(next(file for file in files if file.name.startswith("segment_"))) as file:
        assert file.attrs["meaning"].endswith(" \\udcff")


def test_matplotlib_draws_what_the_scripts_would(found: SurveyResult, folder: Path) -> None:
    """An accuracy that is NaN leaves an empty axis, not an error."""
    mpl.use("agg")
    from matplotlib import pyplot

    figure, left = pyplot.subplots()
    curve = read_line(folder / "rays_mean.h5")
    left.plot(curve.x, curve.train_loss)
    right = left.twinx()
    right.plot(curve.x, curve.train_acc)
    right.set_ylim(0, 100)
    figure.canvas.draw()
    pyplot.close(figure)
    figure, axes = pyplot.subplots()
    heights = read_plane(next(folder.glob("plane_*")), "test_loss")
    x, y = (sorted({spot[axis] for spot in heights}) for axis in (0, 1))
    values = np.array([[heights[a, b] for a in x] for b in y])
    assert axes.contour(*np.meshgrid(x, y), values, levels=np.arange(0.1, 10, 0.5)).levels.size
    pyplot.close(figure)


def test_accuracies_are_percentages_of_agreement_where_lines_were_probed_by_kl(tmp_path: Path) -> None:
    found = filled.filled()
    export_surfaces(found, tmp_path)
    curves = read_repeated(tmp_path / "rays", 1, 3)
    for curve, ray in zip(curves, found.rays, strict=True):
        assert (curve.train_acc[0], curve.test_acc[0]) == (100, 100)  # w agrees with itself
        np.testing.assert_allclose(curve.train_acc[1:], 100 * ray.agreement["train"], rtol=1e-15)
        np.testing.assert_allclose(curve.test_acc[1:], 100 * ray.agreement["validation"], rtol=1e-15)
    mean = read_line(tmp_path / "rays_mean.h5")
    np.testing.assert_allclose(mean.test_acc, np.mean([curve.test_acc for curve in curves], 0), rtol=1e-15)
    known, unknown = found.segments[:2]  # the same line on both splits: only the first was probed by KL
    curve = read_line(tmp_path / f"segment_{known.a}_{known.b}.h5")
    np.testing.assert_allclose(curve.train_acc, 100 * known.agreement, rtol=1e-15)
    assert (known.split, unknown.split, np.isnan(curve.test_acc).all()) == ("train", "validation", True)


def test_the_names_of_files_begin_with_the_model_where_there_are_several(tmp_path: Path) -> None:
    study = filled.study()
    files = export_surfaces(study, tmp_path / "both")
    assert {file.name.split("_")[0] for file in files} == {"one", "two"}
    assert [each.x.size for each in read_repeated(tmp_path / "both" / "two_rays", 1, 3)] == [14] * 3
    alone = export_surfaces(replace(study, models=study.models[:1]), tmp_path / "alone")
    assert [file.name for file in alone] == [file.name.removeprefix("one_") for file in files[: len(alone)]]


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = filled.study().models
    names = ("org/Model", "other/model", "third")
    surveys = [replace(one.survey, subject=replace(one.survey.subject, model=name)) for name in names]
    models = tuple(replace(two, survey=survey) for survey in surveys)
    files = export_surfaces(replace(filled.study(), models=models), tmp_path)
    assert {file.name.split("_")[0] for file in files} == {"Model-0", "model-1", "third"}
    assert len(set(files)) == len(list(tmp_path.iterdir()))


def test_what_the_scripts_would_misread_is_refused_and_nothing_is_written(found: SurveyResult, tmp_path: Path) -> None:
    plane = found.planes[0]
    narrow = replace(plane, x=plane.x[1:], nll=plane.nll[:, 1:])
    with pytest.raises(UsageError, match="expected a square lattice, got 13 × 12"):
        export_surfaces(replace(found, planes=(narrow,)), tmp_path)
    twins = tuple(replace(found.segments[0], b=name) for name in ("a b", "a-b"))
    with pytest.raises(UsageError, match=r"segment_w_a-b.h5 twice"):
        export_surfaces(replace(found, segments=twins), tmp_path)
    with pytest.raises(UsageError, match="got test, which their files have no name for"):
        export_surfaces(replace(found, planes=(replace(plane, split="test"),)), tmp_path / "other")
    ray = replace(found.rays[0], lambdas=found.rays[0].lambdas * 2)
    with pytest.raises(UsageError, match="expected all directions at the same distances"):
        export_surfaces(replace(found, rays=(ray, *found.rays[1:])), tmp_path)
    assert list(tmp_path.rglob("plane_*")) == list(tmp_path.glob("*.h5")) == []
