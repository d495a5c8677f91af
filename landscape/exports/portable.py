"""Write a survey or a study as one HDF5 file that h5py, MATLAB, Julia and R open without this package.

/                       README, format, format_version, kind (survey or study) and name, as attributes
/models/<i>/            a model, counted from 0; its name, data, fingerprint and settings as attributes
tables/<table>/<column>                 the tidy tables of ``landscape.tables``, one dataset a column
rays/direction, distance                (n_d,) and (n_λ,)
rays/nll/<split>, kl/<split>, agreement/<split>    (n_d, n_λ); the latter two only if probed by KL
planes/<j>/x, y, nll                    (n_x,), (n_y,) and (n_y, n_x); a, b, bits, split, windows as attributes
points/<k>/<matrix>/codes, scale, zero, weights    only if asked for: see ``landscape.exports.weights``
/failures/<column>      cells of a study without a result
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.claims.claim import Claim
from landscape.exports.hdf5_file import Group, write_array, write_attributes, write_hdf5, write_table
from landscape.study.result import StudyResult
from landscape.survey.result import PlaneResult, RayProfile, SurveyResult
from landscape.tables.column import L2, NATS
from landscape.tables.points import TOKENS
from landscape.tables.tidy import TABLES, survey_tables, tidy
from quant.errors import PointError, UsageError

if TYPE_CHECKING:  # imports torch, which only the export of weights needs
    from landscape.exports.weights import ModelPoints

FORMAT = "quant-landscape results"
FORMAT_VERSION = 1
README = """\
Losses of a language model around its weights w, and of its quantized versions; measured by quant-landscape.
Every dataset and every table says in its attributes 'meaning' and 'unit' what it holds.

/models/<i>                     a model, counted from 0: attributes 'name', 'data', 'fingerprint', 'settings' (JSON)
  tables/<table>/<column>       tables; the columns of one table are equally long, one element a row:
                                models, splits, points, misalignments, rays, segments, segment_summary, planes,
                                plane_points, layers, layer_errors, dampings, epochs, rates, claims
  rays/direction, distance      random directions from w, and the distances probed on each; w itself is not among them
  rays/nll/<split>              loss there, direction by distance; if probed by KL, kl/<split> beside it, and
  rays/agreement/<split>        the share of the tokens whose most probable id is the same as at w
  planes/<j>/x, y, nll          a plane through w and two points: loss at w + x e1 + y e2, y by x
  points/<k>/<matrix>           codes and scales of the quantized weights, if they were exported
/failures                       cells of a study without a result

Tables: a table without rows, and a column without values, is left out. Where some values of a column are missing, the
column <name>_known beside it is 0 there and 1 elsewhere; what stands in <name> at a 0 means nothing. NaN or Inf at a 1
is a number that is not finite, as of a model whose output overflowed. Yes and no are 1 and 0.
Text is UTF-8 of a fixed length, padded with zero bytes. NLL and KL are in nats per token.
Arrays are stored row by row (C order): MATLAB, Julia, R and Fortran show their axes in reverse order.
"""
_ADVICE = "free some space, or choose another file"


def export_hdf5(found: SurveyResult | StudyResult, path: Path, points: Mapping[int, ModelPoints] | None = None) -> None:
    """Write a result as one portable HDF5 file, whole or not at all; the same result gives the same bytes.

    Args:
        found: The result.
        path: The file; an older one is replaced, missing folders are made.
        points: Weights of points to write too, by the place of their model in the result, counted from 0: see
            ``landscape.exports.stored_points``.

    Raises:
        PointError: if the weights are of a model or a point that the result lacks.
        StoreError: if the file cannot be written.
    """
    points = points or {}
    write_hdf5(path, lambda root: _fill(root, found, points), _ADVICE)


def _fill(root: Group, found: SurveyResult | StudyResult, points: Mapping[int, ModelPoints]) -> None:
    models: list[tuple[SurveyResult, tuple[Claim, ...]]]
    if isinstance(found, SurveyResult):
        kind, name, models = "survey", found.subject.model, [(found, ())]
    else:
        kind, name = "study", found.name
        models = [(each.survey, each.claims) for each in found.models]
    if strange := set(points) - set(range(len(models))):
        raise PointError(f"expected points of models 0 to {len(models) - 1} of the result, got some of {min(strange)}")
    write_attributes(root, {"README": README, "format": FORMAT, "format_version": FORMAT_VERSION})
    write_attributes(root, {"kind": kind, "name": name})
    for index, (survey, claims) in enumerate(models):
        _write_model(root.create_group(f"models/{index}"), survey, claims, points.get(index))
    write_table(root, "failures", TABLES["failures"], tidy(found)["failures"])


def _write_model(group: Group, found: SurveyResult, claims: tuple[Claim, ...], points: ModelPoints | None) -> None:
    subject = found.subject
    settings = json.dumps(dict(found.run.settings), ensure_ascii=False, default=str)
    write_attributes(group, {"name": subject.model, "data": subject.data, "fingerprint": subject.fingerprint})
    write_attributes(group, {"settings": settings})
    for name, rows in survey_tables(found, claims).items():
        write_table(group.require_group("tables"), name, TABLES[name], rows)
    if found.rays:
        _write_rays(group.create_group("rays"), found.rays)
    for index, plane in enumerate(found.planes):
        _write_plane(group.create_group(f"planes/{index}"), plane)
    if points is not None:
        from landscape.exports.weights import write_points

        write_points(group.create_group("points"), found, points)


def _write_rays(group: Group, rays: tuple[RayProfile, ...]) -> None:
    first = rays[0]
    if any(not np.array_equal(ray.lambdas, first.lambdas) for ray in rays):
        raise UsageError("expected all directions at the same distances, got others on some; export the tables alone")
    indices = np.array([ray.index for ray in rays], np.int64)
    write_array(group, "direction", indices, "", "Index of each direction in its family.")
    write_array(group, "distance", first.lambdas, L2, "Distances from w.")
    for split in first.nll:
        nll = np.array([ray.nll[split] for ray in rays])
        write_array(group.require_group("nll"), split, nll, NATS, "NLL, direction by distance.")
    for split in first.kl:
        kl = np.array([ray.kl[split] for ray in rays])
        write_array(group.require_group("kl"), split, kl, NATS, "Mean KL(w || position), direction by distance.")
    for split in first.agreement:
        shares = np.array([ray.agreement[split] for ray in rays])
        meaning = "Share of the tokens whose most probable id is the same as at w, direction by distance."
        write_array(group.require_group("agreement"), split, shares, TOKENS, meaning)


def _write_plane(group: Group, plane: PlaneResult) -> None:
    write_attributes(group, {"a": plane.a, "b": plane.b, "split": plane.split})
    write_attributes(group, {"bits": plane.bits, "windows": plane.windows})
    write_array(group, "x", plane.x, L2, "Distances along e1, which points from w to a.")
    write_array(group, "y", plane.y, L2, "Distances along e2, at right angles to e1, towards b.")
    write_array(group, "nll", plane.nll, NATS, "NLL at w + x e1 + y e2, y by x.")
