"""Report the work of a run: what it will evaluate, what it evaluated, and how long that took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from landscape.formatting import data_size, duration
from landscape.report.values import JSON_VERSION
from landscape.session.forecast import Forecast
from landscape.session.run_record import ProbeCount


def forecast_lines(forecast: Forecast) -> Iterator[str]:
    """Report what will be done, and what it will cost."""
    yield _plan(forecast)
    if forecast.seconds:
        on_device = f"{data_size(forecast.device_memory)} on the device, " if forecast.device_memory else ""
        yield (
            f"about {duration(forecast.seconds)}, {data_size(forecast.memory)} of memory, {on_device}"
            f"{data_size(forecast.disk)} of disk"
        )


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """Return the forecast as JSON: ``{schema_version, forecast: the fields of Forecast}``."""
    return {"schema_version": JSON_VERSION, "forecast": asdict(forecast)}


def work_line(probes: ProbeCount, seconds: float) -> str:
    """Report what was evaluated, and how long it took."""
    total, spent = probes.total, duration(seconds)
    if not probes.evaluated:
        return f"nothing to evaluate: all {total} probes came from the cache ({spent})"
    return f"{probes.evaluated} of {total} probes evaluated, {probes.cached} from the cache, in {spent}"


def evaluations(probes: ProbeCount) -> str:
    """Report how many windows were evaluated, and how many came from the cache."""
    return f"{probes.evaluated} windows evaluated, {probes.cached} from the cache"


def _plan(forecast: Forecast) -> str:
    if not forecast.work and not forecast.points:
        return f"nothing to evaluate: all {forecast.cached} probes are in the cache"
    todo = [f"make {', '.join(forecast.points)}"] if forecast.points else []
    if forecast.probes or forecast.cached:
        todo.append(f"evaluate about {forecast.probes} probes ({forecast.cached} are in the cache)")
    if forecast.layer_errors:
        todo.append(f"measure {forecast.layer_errors} layer-wise errors")
    return f"to do: {'; '.join(todo)}"
