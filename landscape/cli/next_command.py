"""What is worth typing next: a request that follows from the one that was met and from what it found."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from landscape.cli.command_line import anatomy_command, in_preset, probe_command, radius_command
from landscape.radius import RadiusRequest, RadiusResult
from landscape.session.point_specs import PAPER_METHODS
from landscape.session.presets import PRESETS
from landscape.survey.request import SurveyRequest
from landscape.survey.result import SurveyResult


def after_probe(request: SurveyRequest, found: SurveyResult, steep: bool, output: Path) -> str:
    """After a survey.

    Args:
        request: What was asked.
        found: What came of it.
        steep: Whether a point is near but steep.
        output: Folder of the page.
    """
    if found.basin.radius.value is None and request.lambdas:
        return f"{probe_command(replace(request, lambdas=None), output)}    # --lambdas ends before R"
    if math.isinf(found.basin.radius.high) and request.directions < 2:
        return f"{probe_command(replace(request, directions=8), output)}    # several directions bound R"
    if steep and request.scales == ("exact",):
        unclipped = replace(request, scales=("exact", "absmax"))
        return f"{probe_command(unclipped, output)}    # near but steep: does clipping do it?"
    standard = in_preset(request.preset, "standard")
    if request.preset.name == "quick" and standard.validation_windows == PRESETS["standard"].validation_windows:
        more = replace(request, preset=standard)
        return f"{probe_command(more, output)}    # more windows, narrower intervals"
    more = replace(request, directions=2 * request.directions)
    return f"{probe_command(more, output)}    # a narrower interval for R"


def after_radius(request: RadiusRequest, found: RadiusResult) -> str:
    """After a search for R: the points around w, on windows of the same length, on which R depends.

    A search that its time ended goes on first.
    """
    if found.found.ended == "out of time" and request.minutes is not None:
        return f"{radius_command(replace(request, minutes=4 * request.minutes))}    # goes on from here"
    survey = SurveyRequest(
        model=request.model,
        revision=request.revision,
        data=request.data,
        exclude=request.exclude,
        family=request.family,
        pairs=request.pairs,
        preset=replace(PRESETS["quick"], seq_len=found.subject.seq_len),
        seed=request.seed,
        dtype=request.dtype,
        device=request.device,
        store=request.store,
        data_revision=request.data_revision,
        bos=request.bos,
    )
    return f"{probe_command(survey)}    # where are the points?"


def after_anatomy(request: AnatomyRequest, found: AnatomyResult, output: Path) -> str:
    """After an anatomy; see ``after_probe``."""
    scale = request.wanted.scheme.scale
    if found.anatomy.culprit == "clip" and scale != "absmax":
        unclipped = replace(_survey(request), scales=(scale, "absmax"))
        return f"{probe_command(unclipped, output)}    # is it better unclipped?"
    if found.plan is None:
        planned = replace(request, plan_bits=(8, 6, 4, 3))
        return f"{anatomy_command(planned, output)}    # which tensors need more bits?"
    return f"{probe_command(_survey(request), output)}    # where are GPTQ and QAFT?"


def _survey(request: AnatomyRequest) -> SurveyRequest:
    """The point of an anatomy among those of the paper's methods, on its own grid."""
    scheme = request.wanted.scheme
    return SurveyRequest(
        model=request.model,
        revision=request.revision,
        data=request.data,
        bits=(scheme.bits,),
        scales=(scheme.scale,),
        granularities=(scheme.granularity,),
        symmetric=scheme.symmetric,
        methods=tuple(dict.fromkeys((*PAPER_METHODS, request.wanted.method))),
        gptq=request.gptq,
        preset=request.preset,
        seed=request.seed,
        dtype=request.dtype,
        device=request.device,
        store=request.store,
        data_revision=request.data_revision,
        bos=request.bos,
    )
