"""Read the rows of a cache with h5py alone, so that no code of the product decides what is there."""

from __future__ import annotations

from pathlib import Path

import h5py

Rows = dict[tuple[str, str, str], tuple[float, int]]
"""Sum of the NLL and number of tokens, by store, position and window."""


def read_rows(cache: Path) -> Rows:
    """Read all committed rows; a file that is no HDF5, or whose name is not that of a shard, has none."""
    rows: Rows = {}
    for path in sorted(cache.glob("*/probes/*.h5")):
        try:
            with h5py.File(path, "r", locking=False) as file:
                positions, windows = ([value.decode() for value in file[key][:]] for key in ("positions", "windows"))
                keys = ("position_index", "window_index", "total", "tokens")
                for place, window, total, tokens in zip(*(file[key][:].tolist() for key in keys), strict=True):
                    rows.setdefault((path.parts[-3], positions[place], windows[window]), (total, tokens))
        except (OSError, KeyError):
            continue
    return rows


def changed(before: Rows, after: Rows) -> str:
    """Describe the first row that is gone or has another value; empty if there is none."""
    for key, value in before.items():
        if key not in after:
            return f"the row {key} is gone"
        if repr(after[key]) != repr(value):
            return f"the row {key} has {after[key]}, not {value}"
    return ""
