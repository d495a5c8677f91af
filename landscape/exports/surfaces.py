"""Write losses as the surface files of tomgoldstein/loss-landscape (Li et al. 2018), for its plotting scripts.

One line or plane is one file. By the scripts of that repository (``plot_1D.py``, ``plot_2D.py``, ``h52vtp.py``):

    1-D    xcoordinates (n,), train_loss (n,), train_acc (n,); test_loss and test_acc (n,), both or neither
    2-D    xcoordinates (n_x,), ycoordinates (n_y,), and any surface (n_y, n_x), chosen by ``--surf_name``

``plot_surface.py`` makes an array (n_x, n_y) and fills it in the order of ``meshgrid(x, y)``, and the plots read it in
that order, y by x: for its square lattices the same. ``h52vtp.py`` takes every lattice as square, and so are ours.

Under their names, ``train_loss`` is the NLL on the training split, ``test_loss`` that on the validation split,
each with the split in its attribute ``split``. A plane is probed on the validation split alone: its surface is
``test_loss`` (``--surf_name test_loss``), for under ``train_loss`` it would pass for training data. Their accuracies
are percentages of correct answers. Here they are percentages of the tokens whose most probable id is the same as at w,
where lines were probed by KL. Elsewhere they are not known: ``plot_1D.py`` does not run without ``train_acc``, so that
it is there and NaN, which draws nothing; the plots of planes do not read it, and it is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from landscape.exports.hdf5_file import Group, write_array, write_attributes, write_hdf5
from landscape.records.run_files import plain_name as short_name
from landscape.study.result import StudyResult
from landscape.survey.result import Array, PlaneResult, RayProfile, SurveyResult
from landscape.tables.column import L2, NATS
from quant.errors import UsageError

LOSSES: Mapping[str, str] = {"train": "train_loss", "validation": "test_loss"}
"""Their name for the loss on each split that lines are probed on."""
ACCURACIES: Mapping[str, str] = {"train": "train_acc", "validation": "test_acc"}
"""Their name for the accuracy on these splits."""
MEAN = "rays_mean"
_ADVICE = "free some space, or choose another --surfaces"


@dataclass(frozen=True, eq=False)
class Surface:
    """One surface file before it is written."""

    stem: str
    """Name of the file without ``.h5``."""
    meaning: str
    """Description of the line or plane."""
    unit: str
    """Unit of the coordinates."""
    x: Array
    """(n_x,) coordinates, increasing."""
    losses: Mapping[str, Array]
    """NLL by split, (n_x,), or (n_y, n_x) on a plane."""
    y: Array | None = None
    """(n_y,) ordinates of a plane, increasing; None on a line."""
    agreements: Mapping[str, Array] = field(default_factory=dict)
    """Share of the tokens that agree with w by split, (n_x,), on lines where it is known."""


def export_surfaces(found: SurveyResult | StudyResult, folder: Path) -> tuple[Path, ...]:
    """Write a file for each direction and their mean, for each segment, and for each plane.

    Directions are ``rays_1.h5``, ``rays_2.h5`` …, as ``plot_1D.py --prefix rays`` reads them, and ``rays_mean.h5``;
    segments ``segment_<a>_<b>.h5``; planes ``plane_<a>_<b>.h5``. If a study has several models, the names of its files
    begin with that of their model, ``opt-nano_rays_1.h5``.

    Args:
        found: The result.
        folder: The folder; it is made if it is missing, and older files of the same names are replaced.

    Returns:
        The files.

    Raises:
        UsageError: if two files would have the same name, or a lattice is not square.
        StoreError: if the folder cannot be written.
    """
    surveys = surveys_of(found)
    named = [
        (folder / f"{prefix}{surface.stem}.h5", surface)
        for prefix, survey in zip(model_prefixes(surveys), surveys, strict=True)
        for surface in surfaces(survey)
    ]
    counts = Counter(file for file, _ in named)
    if twice := sorted(str(file) for file, count in counts.items() if count > 1):
        raise UsageError(f"expected a file of its own for each line, got {', '.join(twice)} twice; rename one")
    for file, surface in named:
        _write(file, surface)
    return tuple(counts)


def surveys_of(found: SurveyResult | StudyResult) -> tuple[SurveyResult, ...]:
    """Return the survey of each model of a result."""
    return (found,) if isinstance(found, SurveyResult) else tuple(each.survey for each in found.models)


def model_prefixes(surveys: Sequence[SurveyResult]) -> list[str]:
    """Return how the names of the files of each model begin; models of one name have their place in the study too."""
    if len(surveys) == 1:
        return [""]
    names = [short_name(survey.subject.model) for survey in surveys]
    alike = Counter(name.lower() for name in names)  # some file systems take no notice of case
    return [f"{name}-{i}_" if alike[name.lower()] > 1 else f"{name}_" for i, name in enumerate(names)]


def surfaces(found: SurveyResult) -> Iterator[Surface]:
    """Yield the lines and planes of a landscape."""
    if found.rays:
        yield from _rays(found)
    yield from _segments(found)
    yield from (_plane(plane) for plane in found.planes)


def plain_name(name: str) -> str:
    """Return a name in characters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"


def _rays(found: SurveyResult) -> Iterator[Surface]:
    """Yield each direction, and their mean; w is its first position, at distance 0."""
    first = found.rays[0]
    if any(not np.array_equal(ray.lambdas, first.lambdas) for ray in found.rays):
        raise UsageError("expected all directions at the same distances, got others on some; they have no mean")
    x = np.array([0.0, *first.lambdas])

    def surface(stem: str, meaning: str, rays: tuple[RayProfile, ...]) -> Surface:
        losses = {split: _mean([ray.nll[split] for ray in rays], found.center[split]) for split in first.nll}
        shares = {split: _mean([ray.agreement[split] for ray in rays], 1.0) for split in first.agreement}
        return Surface(stem, meaning, f"{L2} from w", x, losses, agreements=shares)

    yield surface(MEAN, f"mean over {len(found.rays)} random directions from w", found.rays)
    for number, ray in enumerate(found.rays, start=1):
        yield surface(f"rays_{number}", f"random direction {ray.index} from w", (ray,))


def _mean(profiles: Sequence[Array], at_w: float) -> Array:
    """Return the mean over profiles, after the value at w."""
    return np.array([at_w, *np.mean(profiles, axis=0)])


def _segments(found: SurveyResult) -> Iterator[Surface]:
    """Yield each segment once, with the losses on its splits; x is α, 0 at its first point and 1 at its second."""
    for a, b in dict.fromkeys((segment.a, segment.b) for segment in found.segments):
        same = [segment for segment in found.segments if (segment.a, segment.b) == (a, b)]
        if any(not np.array_equal(segment.alphas, same[0].alphas) for segment in same):
            raise UsageError(f"expected the same positions on all splits between {a} and {b}, got others on some")
        losses = {segment.split: segment.nll for segment in same}
        shares = {segment.split: segment.agreement for segment in same if segment.agreement is not None}
        stem = f"segment_{plain_name(a)}_{plain_name(b)}"
        meaning = f"straight line from {a} to {b}"
        unit = f"share of the way from {a} to {b}"
        yield Surface(stem, meaning, unit, same[0].alphas, losses, agreements=shares)


def plane_stem(plane: PlaneResult) -> str:
    """Return the name of the file of a plane, without that of its model and ``.h5``."""
    return f"plane_{plain_name(plane.a)}_{plain_name(plane.b)}"


def _plane(plane: PlaneResult) -> Surface:
    if len(plane.x) != len(plane.y):
        raise UsageError(f"expected a square lattice, got {len(plane.y)} × {len(plane.x)}, which h52vtp.py misreads")
    meaning = f"plane through w at (0, 0), {plane.a} at (x, 0), and {plane.b}; on {plane.windows} windows"
    return Surface(plane_stem(plane), meaning, f"{L2} from w", plane.x, {plane.split: plane.nll}, plane.y)


def _write(path: Path, surface: Surface) -> None:
    def fill(root: Group) -> None:
        write_attributes(root, {"meaning": surface.meaning})
        write_array(root, "xcoordinates", np.asarray(surface.x, np.float64), surface.unit, "Coordinate.")
        if surface.y is not None:
            write_array(root, "ycoordinates", np.asarray(surface.y, np.float64), surface.unit, "Ordinate.")
        for split, losses in surface.losses.items():
            _write_loss(root, split, np.asarray(losses, np.float64))
            if surface.y is None:
                _write_accuracy(root, split, surface.agreements.get(split), len(surface.x))

    write_hdf5(path, fill, _ADVICE)


def _write_loss(root: Group, split: str, losses: Array) -> None:
    if split not in LOSSES:
        raise UsageError(f"expected losses on {' and '.join(LOSSES)}, got {split}, which their files have no name for")
    write_array(root, LOSSES[split], losses, NATS, f"NLL on the {split} split.")
    write_attributes(root[LOSSES[split]], {"split": split})


def _write_accuracy(root: Group, split: str, shares: Array | None, count: int) -> None:
    if shares is None:
        values, meaning = np.full(count, np.nan), "Not known on this line: NaN, for plot_1D.py does not run without it."
    else:
        values = 100 * np.asarray(shares, np.float64)
        meaning = "Percentage of the tokens whose most probable id is the same as at w."
    write_array(root, ACCURACIES[split], values, "per cent", meaning)
