"""Read surface files as the plotting scripts of tomgoldstein/loss-landscape do.

After ``plot_1D.py`` (``plot_1d_loss_err``, ``plot_1d_loss_err_repeat``), ``plot_2D.py`` (``plot_2d_contour``) and
``h52vtp.py`` (``h5_to_vtp``) at commit 05c9824 of https://github.com/tomgoldstein/loss-landscape: the same keys, shapes
and order, written anew. Like the scripts, these readers know nothing of this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """What ``plot_1D.py`` draws: two losses on the left axis, two accuracies on the right one."""

    x: Array
    train_loss: Array
    train_acc: Array
    train_error: Array
    test_loss: Array | None
    test_acc: Array | None


def read_line(path: Path) -> Curves:
    """``plot_1d_loss_err``: the test curves are optional, but only together."""
    with h5py.File(path, "r") as file:
        x = file["xcoordinates"][:]
        assert "train_loss" in file
        train_loss, train_acc = file["train_loss"][:], file["train_acc"][:]
        tested = "test_loss" in file
        test_loss, test_acc = (file[key][:] if tested else None for key in ("test_loss", "test_acc"))
    assert x.shape == train_loss.shape == train_acc.shape  # else matplotlib refuses to draw
    assert not tested or x.shape == test_loss.shape == test_acc.shape
    return Curves(x, train_loss, train_acc, 100 - train_acc, test_loss, test_acc)


def read_repeated(prefix: Path, first: int, last: int) -> list[Curves]:
    """``plot_1d_loss_err_repeat``: files ``<prefix>_<i>.h5``, all four curves in each."""
    curves = [read_line(Path(f"{prefix}_{index}.h5")) for index in range(first, last + 1)]
    assert all(each.test_loss is not None for each in curves)
    return curves


def read_plane(path: Path, surface: str) -> dict[tuple[float, float], float]:
    """``plot_2d_contour``: the height at each (x, y), with coordinates from ``meshgrid(x, y)``."""
    with h5py.File(path, "r") as file:
        x, y = np.array(file["xcoordinates"][:]), np.array(file["ycoordinates"][:])
        heights = np.array(file[surface][:])
    grid_x, grid_y = np.meshgrid(x, y)
    assert heights.shape == grid_x.shape  # else matplotlib refuses to draw
    assert len(x) > 1
    assert len(y) > 1
    return {(a, b): z for a, b, z in zip(grid_x.flat, grid_y.flat, heights.flat, strict=True)}


def read_vertices(path: Path, surface: str) -> list[tuple[float, float, float]]:
    """``h5_to_vtp``: vertices in the order of the raveled lattice, which it takes for square."""
    with h5py.File(path, "r") as file:
        grid_x, grid_y = np.meshgrid(file["xcoordinates"][:], file["ycoordinates"][:])
        values = file[surface][:].ravel()
    side = int(math.sqrt(len(values)))
    assert side * side == len(values)
    return list(zip(grid_x.ravel().tolist(), grid_y.ravel().tolist(), values.tolist(), strict=True))
