"""Find the data that comes with the package: the model ``opt-nano`` and the corpus ``tales``."""

from __future__ import annotations

from pathlib import Path

from quant.errors import ToolkitError

EMBEDDED = "opt-nano"
"""The model that comes with the package."""

_PACKAGE = Path(__file__).resolve().parents[1]


def embedded(name: str) -> Path:
    """Return the folder of an embedded model or corpus: ``quant/data/<name>`` in a wheel, else ``data/<name>``.

    Raises:
        ToolkitError: if the installation lacks it.
    """
    places = (_PACKAGE / "data" / name, _PACKAGE.parent / "data" / name)
    for place in places:
        if place.is_dir():
            return place
    raise ToolkitError(f"expected the embedded data {name!r} in {places[0]}, found none; reinstall quant-landscape")
