"""Measure the loss landscape around a quantized language model, and advise how to quantize it.

    from landscape import SurveyRequest, probe, write_page
    result = probe(SurveyRequest("opt-nano", bits=(4, 2)))
    write_page(result, Path("page.html"))

Verbs take a request and return a result: ``probe``, ``run_study``, ``measure_radius``, ``measure_curvature``,
``dissect``, ``advise`` and ``quantize``. Names are imported on first use, so that ``landscape --help`` answers without
torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the same names, for type checkers
    from landscape.advice.advise import AdviceResult as AdviceResult
    from landscape.advice.advise import advise as advise
    from landscape.advice.request import AdviceRequest as AdviceRequest
    from landscape.anatomy.dissect import dissect as dissect
    from landscape.anatomy.request import AnatomyRequest as AnatomyRequest
    from landscape.anatomy.result import AnatomyResult as AnatomyResult
    from landscape.curvature.anharmonicity import CurvatureResult as CurvatureResult
    from landscape.curvature.anharmonicity import measure_curvature as measure_curvature
    from landscape.curvature.request import CurvatureRequest as CurvatureRequest
    from landscape.estimators.loss_limit import Limit as Limit
    from landscape.exports.portable import export_hdf5 as export_hdf5
    from landscape.exports.stored_points import stored_points as stored_points
    from landscape.exports.surfaces import export_surfaces as export_surfaces
    from landscape.quantize import QuantizeRequest as QuantizeRequest
    from landscape.quantize import QuantizeResult as QuantizeResult
    from landscape.quantize import quantize as quantize
    from landscape.radius import RadiusRequest as RadiusRequest
    from landscape.radius import RadiusResult as RadiusResult
    from landscape.radius import measure_radius as measure_radius
    from landscape.records.record import load_record as load_record
    from landscape.records.record import save_record as save_record
    from landscape.report.study.files import write_figures as write_figures
    from landscape.report.study.page import write_study_page as write_study_page
    from landscape.report.survey.figures import radial_figure as radial_figure
    from landscape.report.survey.json import to_json as to_json
    from landscape.report.survey.page import write_page as write_page
    from landscape.session.point_specs import ExternalSpec as ExternalSpec
    from landscape.session.presets import PRESETS as PRESETS
    from landscape.session.presets import Preset as Preset
    from landscape.session.work_shard import WorkShard as WorkShard
    from landscape.study.plan import plan_study as plan_study
    from landscape.study.request import StudyRequest as StudyRequest
    from landscape.study.result import StudyResult as StudyResult
    from landscape.study.run import run_study as run_study
    from landscape.study.run import run_study_shard as run_study_shard
    from landscape.survey.probe import probe as probe
    from landscape.survey.request import SurveyRequest as SurveyRequest
    from landscape.survey.result import ShardResult as ShardResult
    from landscape.survey.result import SurveyResult as SurveyResult
    from landscape.survey.shard import probe_shard as probe_shard
    from landscape.tables.csv_files import write_tables as write_tables
    from landscape.tables.tidy import tidy as tidy

_HOMES = {
    "AdviceRequest": "landscape.advice.request",
    "AdviceResult": "landscape.advice.advise",
    "AnatomyRequest": "landscape.anatomy.request",
    "AnatomyResult": "landscape.anatomy.result",
    "CurvatureRequest": "landscape.curvature.request",
    "CurvatureResult": "landscape.curvature.anharmonicity",
    "ExternalSpec": "landscape.session.point_specs",
    "Limit": "landscape.estimators.loss_limit",
    "PRESETS": "landscape.session.presets",
    "Preset": "landscape.session.presets",
    "QuantizeRequest": "landscape.quantize",
    "QuantizeResult": "landscape.quantize",
    "RadiusRequest": "landscape.radius",
    "RadiusResult": "landscape.radius",
    "ShardResult": "landscape.survey.result",
    "StudyRequest": "landscape.study.request",
    "StudyResult": "landscape.study.result",
    "SurveyRequest": "landscape.survey.request",
    "SurveyResult": "landscape.survey.result",
    "WorkShard": "landscape.session.work_shard",
    "advise": "landscape.advice.advise",
    "dissect": "landscape.anatomy.dissect",
    "export_hdf5": "landscape.exports.portable",
    "export_surfaces": "landscape.exports.surfaces",
    "load_record": "landscape.records.record",
    "measure_curvature": "landscape.curvature.anharmonicity",
    "measure_radius": "landscape.radius",
    "plan_study": "landscape.study.plan",
    "probe": "landscape.survey.probe",
    "probe_shard": "landscape.survey.shard",
    "quantize": "landscape.quantize",
    "radial_figure": "landscape.report.survey.figures",
    "run_study": "landscape.study.run",
    "run_study_shard": "landscape.study.run",
    "save_record": "landscape.records.record",
    "stored_points": "landscape.exports.stored_points",
    "tidy": "landscape.tables.tidy",
    "to_json": "landscape.report.survey.json",
    "write_figures": "landscape.report.study.files",
    "write_page": "landscape.report.survey.page",
    "write_study_page": "landscape.report.study.page",
    "write_tables": "landscape.tables.csv_files",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """The package with the verb ``quantize``, which the module of that name would hide once it is imported."""

    @property
    def quantize(self) -> object:
        return self.__dict__["quantize"] if "quantize" in self.__dict__ else __getattr__("quantize")

    @quantize.setter
    def quantize(self, value: object) -> None:
        """Take another function, as a test does; ignore the module, which the import system puts here."""
        if value is not sys.modules.get(_HOMES["quantize"]):
            self.__dict__["quantize"] = value

    @quantize.deleter
    def quantize(self) -> None:
        """Take the function that was put here away."""
        if "quantize" not in self.__dict__:
            raise AttributeError("module 'landscape' has no other 'quantize' than its own")
        del self.__dict__["quantize"]


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return __all__
