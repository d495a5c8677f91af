"""List the commands, one row each: its request, the function that answers it, and how the result is shown.

The options of a command are the fields of its request: see ``landscape.cli.request_options``. Rows import what they
call when they call it, so that ``landscape --help`` answers without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.advice.request import AdviceRequest
from landscape.anatomy.request import AnatomyRequest
from landscape.cli.show import (
    Output,
    show_advice,
    show_anatomy,
    show_curvature,
    show_plan,
    show_point,
    show_radius,
    show_shard,
    show_study,
    show_study_shards,
    show_survey,
)
from landscape.curvature.request import CurvatureRequest
from landscape.quantize import QuantizeRequest
from landscape.radius import RadiusRequest
from landscape.session.request import Request
from landscape.study.request import StudyRequest
from landscape.survey.request import SurveyRequest

REPORT = Path("landscape-report")
"""Default folder of pages."""


@dataclass(frozen=True)
class Command:
    """One command of the command line."""

    name: str
    request: type[Request]
    verb: str
    """The function that answers the request, ``module:name``; it is imported when it is called."""
    show: Callable[[Any, Any, Output], None]
    """Prints a result and writes its page, from the request and the result."""
    text: str
    """Help text, in Markdown; its first paragraph stands in the list of commands."""
    examples: tuple[str, ...]
    """Commands that ``--help`` shows."""
    writes_page: bool = False
    writes_tables: bool = False
    """Whether its result can be written as tidy tables, with ``--csv``."""
    writes_figures: bool = False
    """Whether its figures can be written as files, with ``--figures``."""
    shard: tuple[str, Callable[[Any, Any, Output], None]] | None = None
    """The function that answers a request for one shard of the work, and what prints its result; there is no page."""
    dry_run: tuple[str, Callable[[Any, Any, Output], None]] | None = None
    """The function that answers a request for a dry run, and what prints its result; there is no page."""
    forecasts: bool = False
    """Whether it forecasts its cost before the work, so that ``--dry-run`` can stop there."""

    asks: bool = False
    """True if it forecasts its cost and requires ``--yes`` when that is excessive."""

    def answer(self, request: Request) -> tuple[str, Callable[[Any, Any, Output], None], bool]:
        """Return the function that answers a request, what prints its result, and whether that writes a page."""
        if self.dry_run is not None and getattr(request, "dry_run", False):
            return (*self.dry_run, False)
        if self.shard is not None and getattr(request, "shard", None) is not None:
            return (*self.shard, False)
        return self.verb, self.show, self.writes_page

    @property
    def help(self) -> str:
        """The text and the examples."""
        return "\n\n".join([self.text, "**Examples**", *(f"    {example}" for example in self.examples)])


COMMANDS = (
    Command(
        "advise",
        AdviceRequest,
        "landscape.advice.advise:advise",
        show_advice,
        """Say for each bit width which way keeps your limit: RTN, GPTQ or QAFT, and on which grid.

Rounds to nearest on every grid and measures what that costs; tries GPTQ on little data where that can decide;
foretells the rest, with its error. A verdict is the cheapest way that keeps the limit at the probability asked for.""",
        (
            "landscape advise",
            "landscape advise --model smollm2-135m --bits 4,3 --limit ppl+5% --data path/to/wikitext-2",
        ),
        writes_page=True,
        forecasts=True,
        asks=True,
    ),
    Command(
        "probe",
        SurveyRequest,
        "landscape.survey.probe:probe",
        show_survey,
        """Probe the loss landscape around a model's weights and their quantized versions.

Makes the quantized weights (RTN, GPTQ, QAFT), evaluates the loss along random directions and along the segments
between the points, estimates the radius R of the attractive basin, and writes one interactive page. Everything is
cached: a second run evaluates only what is new.""",
        (
            "landscape probe",
            "landscape probe --model opt-125m --bits 2 --directions 32",
            "landscape probe --model smollm2-135m --bits 8,4,2 --directions 4 --data path/to/wikitext-2",
            "landscape probe --scale exact,absmax --bits 2 --json",
            "landscape probe --bits 3,2 --directions 4 --plane --csv tables",
            "landscape probe --bits 2 --preset paper --dry-run",
            "landscape probe --bits 2 --directions 9 --store shared --shard 1/3",
            "landscape probe --model smollm2-135m --methods rtn,awq --granularity channel --point q4=model.Q4_K_M.gguf",
        ),
        writes_page=True,
        writes_tables=True,
        shard=("landscape.survey.shard:probe_shard", show_shard),
        forecasts=True,
        asks=True,
    ),
    Command(
        "study",
        StudyRequest,
        "landscape.study.run:run_study",
        show_study,
        """Measure models × bit widths × methods, the matrix of Xu et al. 2024, and write one page with all figures.

For each model: a survey with all points, w_FT beside QAFT, the layer-wise errors, and the paper's claims judged on it.
`landscape study FILE.toml` takes the options from a file, whose keys are their names (`seq-len = 256`); options of the
command line override it. A study that is killed goes on where it was; a point or a model that fails is left out with
its reason, and the exit code is then 1.""",
        (
            "landscape study --dry-run",
            "landscape study --models opt-nano --bits 8,6,4,3,2 --scale exact,absmax --preset standard",
            "landscape study --models opt-nano,smollm2-135m --data tales,path/to/wikitext-2 --bits 8,4,3",
            "landscape study my-study.toml --csv tables --figures figures",
        ),
        writes_page=True,
        writes_tables=True,
        writes_figures=True,
        shard=("landscape.study.run:run_study_shard", show_study_shards),
        dry_run=("landscape.study.plan:plan_study", show_plan),
        asks=True,
    ),
    Command(
        "radius",
        RadiusRequest,
        "landscape.radius:measure_radius",
        show_radius,
        """Measure the radius R of the basin around a model's weights, and nothing else.

Evaluates the loss at two neighbouring distances around R, on as many random directions and windows of text as it takes
to make the interval of R as narrow as asked for. Everything is cached, for this command and, at the same window length,
for `landscape curvature`, `advise` and `anatomy`.""",
        (
            "landscape radius",
            "landscape radius --model smollm2-135m --data path/to/wikitext-2 --precision 0.05 --max-minutes 10",
        ),
    ),
    Command(
        "curvature",
        CurvatureRequest,
        "landscape.curvature.anharmonicity:measure_curvature",
        show_curvature,
        """Measure the curvature at a model's weights: Tr H, the top eigenvalue, and how anharmonic the basin is.

Tr H comes from products with the Hessian (Hutchinson) and, separately, from losses at ±λ. With ReLU, as in OPT, the two
differ: its kinks bend the loss, and no product sees them. If the loss were quadratic up to the rim, the basin would
reach to R_quadratic; R/R_quadratic above 1 means that the loss rises more slowly than that farther out, below 1 faster.

A Hessian-vector product costs about ten forward passes of a window. Memory besides the model: 4 float32 vectors of D
numbers, 15 more for the top eigenvalue (`--no-top`), and the activations of one window for double backward (grows with
`--seq-len`): for smollm2-135m 4.1 GB in all at 128 tokens and 5.1 GB at 256, and 6.4 GB more for the top eigenvalue. R
is measured as by `landscape radius`, and cached with it; products are not cached, and stay in this process with
`--engine ray`. Needs float32.""",
        (
            "landscape curvature",
            "landscape curvature --model smollm2-135m --data path/to/wikitext-2 --seq-len 128 --windows 2 --no-top",
        ),
    ),
    Command(
        "anatomy",
        AnatomyRequest,
        "landscape.anatomy.dissect:dissect",
        show_anatomy,
        """Take one quantized point apart: what its Δw is made of, and which part of it costs the loss.

Measures how much of the basin the length of Δw, its allocation over the tensors, its shrinkage and its clipping
spend; the loss of each part, block, type and tensor alone; and how much is left when the clipping of the costliest
tensors is undone. With `--plan-bits` it makes and measures a mixed-precision plan. Everything is cached.""",
        (
            "landscape anatomy --bits 3",
            "landscape anatomy --model smollm2-135m --bits 8 --data path/to/wikitext-2 --windows 2 --directions 2",
            "landscape anatomy --bits 4 --plan-bits 8,6,4,3 --limit ppl+5%",
            "landscape anatomy --bits 4 --plan-bits 8,4,3 --size 4.25bpw",
        ),
        writes_page=True,
        forecasts=True,
        asks=True,
    ),
    Command(
        "quantize",
        QuantizeRequest,
        "landscape.quantize:quantize",
        show_point,
        """Quantize a model and write it as a folder that transformers loads.

The weights are fake-quantized: floats that lie on the grid, so that any tool can measure them. Their codes and scales
lie beside them, in `codes/`. RTN reads no text: `--data`, `--seed` and the numbers of the preset are for the other
methods, `--gptq-*` for gptq and qaft-from-gptq, `--qaft-*` for those that train.""",
        (
            "landscape quantize --bits 4 --method gptq --export opt-nano-int4",
            "landscape quantize --model smollm2-135m --bits 4 --method rtn --scale absmax --granularity group:128 "
            "--export q4",
        ),
        asks=True,
    ),
)
"""Every command, in the order of ``landscape --help``."""
