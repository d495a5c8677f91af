"""Answer ``landscape export``: write a run that is kept into files that other programs open, without its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape.cli.own_command import (
    DebugOption,
    JsonOption,
    StoreOption,
    cache_root,
    optional_place,
    reported,
    say,
    say_json,
)

if TYPE_CHECKING:
    from landscape.exports.weights import ModelPoints
    from landscape.records.record import Record


@reported
def export(
    run: Annotated[str, typer.Argument(help="Name of a run (see `landscape cache ls`), its beginning, or a file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.h5", help="HDF5 file with all results, described in itself."),
    ] = None,
    surfaces: Annotated[
        Path | None,
        typer.Option("--surfaces", metavar="DIR", help="Folder for surfaces of tomgoldstein/loss-landscape."),
    ] = None,
    with_points: Annotated[
        bool, typer.Option("--with-points", help="Write the codes and scales of the points into FILE.h5 too.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a survey or a study into files that other programs open; no model is loaded and nothing is evaluated.

    FILE.h5 holds the tables, the directions and the planes, described in its attribute README, for h5py, MATLAB, Julia
    or R. `--surfaces` writes each line and plane for `plot_1D.py`, `plot_2D.py` and `h52vtp.py` of
    tomgoldstein/loss-landscape: there the loss on validation text is `test_loss`, and accuracies are the percentage of
    tokens whose first choice is that of w, known after `--loss kl`. The weights of points are read from the cache.

    **Examples**

        landscape export survey-opt-nano -o opt-nano.h5 --with-points

        landscape export my-study -o my-study.h5 --surfaces surfaces
    """
    from landscape.exports.portable import export_hdf5
    from landscape.exports.surfaces import export_surfaces
    from landscape.records.record import load_record
    from landscape.records.run_files import find_run
    from landscape.report.export import ExportedFiles, export_json, export_lines
    from quant.errors import UsageError

    output, surfaces = optional_place(output, "--output"), optional_place(surfaces, "--surfaces")
    _check_targets(output, surfaces, with_points)
    path = find_run(run, cache_root(store))
    record = load_record(path)
    if record.kind not in ("survey", "study"):
        raise UsageError(f"expected a survey or a study to export, got {path}, which is of {record.kind}; name another")
    if output is not None:
        export_hdf5(record.result, output, _points(record, path, store) if with_points else None)
    written = () if surfaces is None else export_surfaces(record.result, surfaces)
    files = ExportedFiles(output, with_points, surfaces, written)
    if as_json:
        described = {"run": str(path), "kind": record.kind, "command": record.command}
        say_json(described | export_json(record.result, files))
    else:
        say([*export_lines(record.result, files), f"from   {path}, which this measured:", f"       {record.command}"])


def _check_targets(output: Path | None, surfaces: Path | None, with_points: bool) -> None:
    """Check that there is something to write and that it can be written, before the work."""
    from quant.errors import UsageError
    from quant.files.cache import check_writable

    if output is None and surfaces is None:
        raise UsageError("expected a file to write, got none; add --output FILE.h5, or --surfaces DIR")
    if output is None and with_points:
        raise UsageError("expected --output FILE.h5 with --with-points, which go into that file, got none; add it")
    if output is not None:
        if output.is_dir():
            raise UsageError(f"expected a file as --output, got the folder {str(output)!r}; add a name to it")
        check_writable(output.parent, "a file in a folder to write to as --output")
    if surfaces is not None:
        check_writable(surfaces, "a folder to write to as --surfaces")


def _points(record: Record, path: Path, store: Path | None) -> dict[int, ModelPoints]:
    """Find the weights of the points, in the cache folder that was named or that holds the run, else in the run's."""
    from landscape.cli.errors import print_warning
    from landscape.exports.stored_points import stored_points
    from landscape.exports.surfaces import surveys_of

    usual = cache_root(store)
    root = usual if store is not None or path.resolve().is_relative_to(usual.resolve()) else None
    surveys = surveys_of(record.result)
    return {i: stored_points(each, root, record.command, print_warning) for i, each in enumerate(surveys)}
