"""Suggest the next command, from the request and its result."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from landscape.advice.advise import AdviceResult
from landscape.advice.recipe import output_name
from landscape.advice.request import AdviceRequest
from landscape.advice.trials import shipped_gptq
from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from landscape.cli.command_line import command_line, in_preset
from landscape.quantize import QuantizeRequest
from landscape.radius import RadiusRequest, RadiusResult
from landscape.session.point_methods import PAPER_METHODS
from landscape.session.presets import PRESETS
from landscape.session.request import PointRequest, Request
from landscape.survey.request import SurveyRequest
from landscape.survey.result import SurveyResult
from quant.scheme import QuantScheme


def after_probe(request: SurveyRequest, found: SurveyResult, steep: bool, output: Path) -> str:
    """Suggest what follows a survey.

    Args:
        request: The request that was met.
        found: The result.
        steep: Whether a point is near but steep.
        output: Folder of the page.
    """
    if found.basin.radius.value is None and request.lambdas:
        return _suggest(replace(request, lambdas=None), "--lambdas ends before R", output)
    if math.isinf(found.basin.radius.high) and request.directions < 2:
        return _suggest(replace(request, directions=8), "several directions bound R", output)
    on_integers = any(isinstance(width, int) for width in request.bits)
    if steep and on_integers and request.scales == ("exact",):
        unclipped = replace(request, scales=("exact", "absmax"))
        return _suggest(unclipped, "near but steep: does clipping do it?", output)
    standard = in_preset(request.preset, "standard")
    if request.preset.name == "quick" and standard.validation_windows == PRESETS["standard"].validation_windows:
        return _suggest(replace(request, preset=standard), "more windows, narrower intervals", output)
    more = replace(request, directions=2 * request.directions)
    return _suggest(more, "a narrower interval for R", output)


def after_shard(request: SurveyRequest, output: Path) -> str:
    """Suggest what follows a shard: the run that evaluates what all shards left, and draws."""
    return _suggest(replace(request, shard=None), "when all shards are done", output)


def after_radius(request: RadiusRequest, result: RadiusResult) -> str:
    """Suggest what follows a search for R: the points around w, on windows of the same length, on which R depends.

    A search that its time ended goes on first.
    """
    if result.search.ended == "out of time" and request.minutes is not None:
        return _suggest(replace(request, minutes=4 * request.minutes), "goes on from here")
    survey = SurveyRequest(
        **_shared(request, SurveyRequest),
        family=request.family,
        pairs=request.pairs,
        preset=replace(PRESETS["quick"], seq_len=result.subject.seq_len),
    )
    return _suggest(survey, "where are the points?")


def after_anatomy(request: AnatomyRequest, found: AnatomyResult, output: Path) -> str:
    """Suggest what follows an anatomy; see ``after_probe``."""
    if isinstance(request.bits, str):  # a float format has no other scale, and no other widths
        return _suggest(_survey(request, PAPER_METHODS), "where are GPTQ and QAFT?", output)
    if found.anatomy.culprit == "clip" and request.scale != "absmax":
        unclipped = replace(_survey(request, PAPER_METHODS), scales=(request.scale, "absmax"))
        return _suggest(unclipped, "is it better unclipped?", output)
    if found.plan is None:
        return _suggest(replace(request, plan_bits=(8, 6, 4, 3)), "which tensors need more bits?", output)
    return _suggest(_survey(request, PAPER_METHODS), "where are GPTQ and QAFT?", output)


def after_advice(request: AdviceRequest, found: AdviceResult) -> str:
    """Suggest making the point of fewest bits that keeps the limit, else the one that comes nearest to it."""
    verdict = found.smallest
    chosen = verdict.choice
    keeps = "keep" if chosen.as_shipped else "should keep"
    reason = f"the fewest bits that {keeps} the limit" if verdict.keeps else "comes nearest to the limit"
    scheme = chosen.scheme
    order = shipped_gptq(scheme).act_order if chosen.way == "gptq" else False
    point = QuantizeRequest(
        **(_shared(request, QuantizeRequest) | {"gptq": replace(request.gptq, act_order=order)}),
        **_grid_options(scheme),
        method=chosen.way,
        export=Path(output_name(request.model, chosen.way, scheme)),
    )
    return _suggest(point, reason)


def _grid_options(scheme: QuantScheme) -> dict[str, Any]:
    """Return the fields that ask for a grid; a float format has no others."""
    if scheme.format:
        return {"bits": scheme.format}
    return {"bits": scheme.bits, "scale": scheme.scale, "granularity": scheme.granularity}


def after_quantize(request: QuantizeRequest) -> str:
    """Suggest what follows a point: a survey that holds it, with the same numbers, beside RTN on the same grid."""
    return _suggest(_survey(request, ("rtn",)), "how much loss does it cost?")


def _suggest(request: Request, reason: str, output: Path | None = None) -> str:
    line = command_line(request) if output is None else command_line(request, output)
    return f"{line}    # {reason}"


def _survey(request: PointRequest, methods: tuple[str, ...]) -> SurveyRequest:
    """Ask for a survey of one point and of those of other methods, on its own grid."""
    return SurveyRequest(
        **_shared(request, SurveyRequest),
        bits=(request.bits,),
        scales=(request.scale,),
        granularities=(request.granularity,),
        symmetric=request.symmetric,
        methods=tuple(dict.fromkeys((*methods, request.method))),
    )


def _shared(request: Request, kind: type[Request]) -> dict[str, Any]:
    """Return the fields that a request shares with another kind of request: those of the classes that both extend."""
    shared = (base for base in type(request).__mro__ if issubclass(base, Request) and issubclass(kind, base))
    return {field.name: getattr(request, field.name) for base in shared for field in fields(base)}
