"""The loss landscape around a quantized language model: probe it, measure its basin, draw it.

    from landscape import SurveyRequest, probe, write_page
    found = probe(SurveyRequest("opt-nano", bits=(4, 2)))
    write_page(found, Path("page.html"))

Names are imported when they are first used, so that ``landscape --help`` answers without torch.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "SurveyResult": "landscape.survey.result",
    "PRESETS": "landscape.session.presets",
    "Preset": "landscape.session.presets",
    "SurveyRequest": "landscape.survey.request",
    "radial_figure": "landscape.report.survey.figures",
    "probe": "landscape.survey.probe",
    "to_json": "landscape.report.survey.json",
    "write_page": "landscape.report.survey.page",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
