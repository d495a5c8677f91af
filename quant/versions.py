"""Record the versions that a point was made with: they determine the last bits of its numbers."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTIONS = ("torch", "transformers", "numpy", "quant-landscape")


def library_versions() -> dict[str, str | None]:
    """Return versions of this package, of the libraries it computes with, and of Python.

    None stands for a distribution that is not installed, as this package when it runs from its source tree.
    """
    return dict(_found())


@cache  # a look-up reads files, 10 ms in all, and AWQ makes thousands of RTN points
def _found() -> dict[str, str | None]:
    return {name: distribution_version(name) for name in _DISTRIBUTIONS} | {"python": platform.python_version()}


def distribution_version(name: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
