"""Ask for ``--yes`` before work that is forecast to take more than a year, or more disk than is free."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.cli.forwarding import Forwarding
from quant.errors import UsageError

if TYPE_CHECKING:
    from landscape.session.forecast import Forecast
    from landscape.session.progress import Progress
    from landscape.session.request import Request

LONGEST = 365 * 24 * 3600.0
"""Seconds of a run that nobody has to approve: in a year its machine is another, and its numbers are asked anew."""


def excess(seconds: float, disk: int, root: Path) -> str:
    """Return what is too much of a forecast, as a clause after "expected"; empty if nothing is.

    Args:
        seconds: Wall time.
        disk: Growth of the cache folder, in bytes.
        root: The cache folder; it need not exist.
    """
    from landscape.formatting import data_size, duration

    found = []
    if not seconds <= LONGEST:
        found.append(f"work of at most a year, forecast are about {duration(seconds)}")
    free = _free(root)
    if free is not None and disk > free:
        found.append(f"at most the {data_size(free)} that are free at {root}, forecast are {data_size(disk)}")
    return " and ".join(found)


def approved(answer: Callable[[Any, Any], object], request: Request, progress: Progress, yes: bool) -> Any:
    """Answer a request, unless its forecast is too much and the user did not say ``--yes``.

    Args:
        answer: A verb; if it reports a forecast, it does so before the work begins.
        request: Its request.
        progress: Receives reports.
        yes: Whether the user approves of any forecast.

    Raises:
        UsageError: if it is too much.
    """
    try:
        return answer(request, progress if yes else _Asking(progress, request.root))
    except _TooMuchError as refused:
        raise UsageError(f"expected {refused}; ask for less, or give --yes to run it all the same") from None


def warn_of_excess(seconds: float, disk: int, root: Path, progress: Progress) -> None:
    """Warn that the run of a forecast would need ``--yes``, if it would."""
    if found := excess(seconds, disk, root):
        progress.warn(f"expected {found}; without --dry-run this needs --yes")


def _free(root: Path) -> int | None:
    """Return the bytes that are free where a folder is, or will be made; None if that is not known."""
    for place in (root, *root.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


class _TooMuchError(BaseException):
    """Leaves the run, past everything that handles errors: a study goes on after those of one model."""


@dataclass(frozen=True)
class _Asking(Forwarding):
    """Progress that passes on all reports, and ends the run at a forecast that is too much."""

    root: Path

    def forecast(self, forecast: Forecast) -> None:
        super().forecast(forecast)
        if found := excess(forecast.seconds, forecast.disk, self.root):
            raise _TooMuchError(found)
