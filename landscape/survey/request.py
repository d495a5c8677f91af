"""Define the request of a survey: points, directions and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from landscape.session.bounds import DIRECTIONS, LEAST_DISTANCE, MOST_DISTANCE, check_probes
from landscape.session.point_methods import METHODS, PAPER_METHODS, listed
from landscape.session.point_specs import AnySpec, ExternalSpec, check_names, free_specs, plane_pairs, point_specs
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import LAST, PANEL_RUN, PresetRequest, ProbingRequest, option
from landscape.session.work_shard import WorkShard
from quant.errors import UsageError
from quant.scheme import Width

LOSSES = ("nll", "kl")
"""Values of ``loss``."""


@dataclass(frozen=True, kw_only=True)
class SurveyRequest(PresetRequest, ProbingRequest):
    """Points, directions and numbers of a survey."""

    bits: tuple[Width, ...] = option("--bits", "-b", default=(8, 4, 2))
    """Bit widths, 2 to 8, and float formats (nvfp4, mxfp4, fp8), comma-separated."""
    directions: int = option("--directions", "-d", default=8, least=1, most=DIRECTIONS)
    """Random directions from w."""
    family: str = "sphere"
    """Random directions: sphere (uniform), filter (as long as w in each output channel), or layer:TENSORS (of some
    tensors alone, such as layer:block=3)."""
    loss: str = option(default="nll", choices=" or ".join(LOSSES))
    """Measure along rays and segments, where R and the words for points follow from the NLL in any case: nll, or kl,
    which adds KL(w ‖ position), of which w is the exact minimum on any text, and the radius R_kl."""
    pairs: bool = False
    """Probe each direction at +λ and −λ and take the mean, in which odd terms cancel: twice the probes."""
    methods: tuple[str, ...] = option(default=PAPER_METHODS, choices=listed(METHODS.values()))
    """Methods whose points are made, comma-separated."""
    scales: tuple[str, ...] = option("--scale", default=("exact",))
    """Rules for the scales of integer grids, comma-separated: exact, histogram, histogram-torch, absmax, mse."""
    granularities: tuple[str, ...] = option("--granularity", default=("tensor",))
    """Weights that share a scale of an integer grid: tensor, channel (output), or group:N (N of its inputs),
    comma-separated."""
    symmetric: bool = True
    """Symmetric grid around zero; --no-symmetric: min–max grid with a zero point (needs --scale absmax)."""
    external: tuple[ExternalSpec, ...] = option(
        "--point", default=(), metavar="NAME=PATH", parts={"gauge": "--unfold-gauge"}
    )
    """A point that another tool made of this model: a .gguf file, or a folder of safetensors (plain, GPTQ, AWQ,
    AutoRound, llm-compressor, FP8). May be given several times."""
    plane: bool = False
    """Draw the plane through w, GPTQ and QAFT too: 676 evaluations per grid (13 × 13 on 4 windows)."""
    layers: bool = False
    """Measure each matrix of each point too: its distance, clipping and damping, and its layer-wise error, the squared
    error of its output, on training and test windows."""
    preset: Preset = option(
        factory=lambda: PRESETS["quick"],
        rank=LAST,
        numbers=(
            "windows",
            "test_windows",
            "seq_len",
            "lambda_count",
            "alphas",
            "refinements",
            "calibration_windows",
            "qaft_examples",
            "qaft_epochs",
            "qaft_rates",
        ),
    )
    """quick, standard or paper: gives the numbers under "Set by --preset" that you do not."""
    shard: WorkShard | None = option(default=None, panel=PANEL_RUN, metavar="I/N")
    """Evaluate the I-th of N parts of the work, counted from 1 (1/8 to 8/8), into the --store that all parts share,
    and draw nothing; the same command without --shard evaluates what is left and draws. auto: this task of a SLURM
    array. auto/N: this pod of N in an indexed Kubernetes job."""
    lambdas: tuple[float, ...] | None = option(default=None, rank=LAST, unset="auto")
    """ℓ2 distances from w to probe, comma-separated; auto finds them."""

    def __post_init__(self) -> None:
        windows = (self.preset.train_windows or 1) + (self.preset.validation_windows or 1)
        distances = len(self.lambdas or ()) or self.preset.lambdas
        check_probes("--directions × distances", self.directions * distances * (1 + self.pairs), windows)
        check_probes("--alphas", self.preset.alphas + self.preset.refinements, windows)
        if self.directions < 1:
            raise UsageError(f"expected at least one direction, got {self.directions}")
        if self.lambdas is not None:
            _check_distances(self.lambdas)
        if self.loss not in LOSSES:
            raise UsageError(f"expected {' or '.join(LOSSES)} as --loss, got {self.loss!r}")
        check_names(self.specs)
        if self.plane and not plane_pairs(self.specs):
            raise UsageError(
                f"expected gptq and qaft among --methods with --plane, which lies through both, got "
                f"{', '.join(self.methods)}; add them, or leave --plane out"
            )

    @property
    def by_kl(self) -> bool:
        """Whether rays and segments are compared with w."""
        return self.loss == "kl"

    @property
    def specs(self) -> tuple[AnySpec, ...]:
        """All points: those to make, controls included, then those of other tools."""
        made = point_specs(self.methods, self.bits, self.scales, self.granularities, self.symmetric)
        return (*made, *free_specs(self.methods, self.bits, self.preset), *self.external)

    @property
    def data_for(self) -> tuple[str, ...]:
        """See ``PresetRequest``."""
        return self.methods


def _check_distances(lambdas: tuple[float, ...]) -> None:
    """Check that floats can hold positions at these distances."""
    if not lambdas or not all(0 < distance < math.inf for distance in lambdas):
        raise UsageError(f"expected distances above 0 as lambdas, got {lambdas}; w itself is always probed")
    odd = [distance for distance in lambdas if not LEAST_DISTANCE <= distance <= MOST_DISTANCE]
    if odd:
        raise UsageError(
            f"expected distances from {LEAST_DISTANCE:g} to {MOST_DISTANCE:g} as --lambdas, got {odd[0]:g}; leave it "
            "out, or give auto, which finds them"
        )
