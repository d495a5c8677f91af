"""Measure the paper's claims on a model: probe its landscape, judge each claim, and write the rows of `README.md`.

    python -m benchmarks.claims.measure --model opt-nano --work WORK
    python -m benchmarks.claims.measure --model smollm2-135m --data path/to/wikitext-2 --work WORK

Points and probes go into a cache in WORK, as with `landscape probe --store`, so that an interrupted run resumes.
The rows go to ``benchmarks/claims/<model>.jsonl``; `python -m benchmarks.claims.table` makes the tables from them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.claims import record
from benchmarks.rows import write_rows
from landscape.claims.claim import Observations, RtnDistance
from landscape.claims.point_claims import claims
from landscape.cli.console import ConsoleProgress
from landscape.estimators.radial_losses import RadialProbes
from landscape.positions.position import CENTER, on_segment
from landscape.probing.losses import Probes, radial_probes
from landscape.session.point_specs import PointSpec
from landscape.session.presets import find_preset
from landscape.session.progress import Progress
from landscape.session.session import Session
from landscape.session.subject import JUDGED_SPLIT, Subject
from landscape.survey.probe import probe
from landscape.survey.request import SurveyRequest
from landscape.survey.result import SurveyResult
from quant import QuantScheme, distance, rtn

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Settings:
    """Bit widths, scales and sample sizes for one model, unless the command line gives others."""

    bits: str
    scales: str
    directions: int
    preset: str
    windows: int
    """Windows of the validation split, in place of the preset's."""
    rtn_bits: tuple[int, ...] = ()
    """Further bit widths for which only ‖Δw‖ of RTN is computed: claim 3 needs no more."""


SETTINGS = {
    "opt-nano": Settings("8,4,3,2", "exact,absmax", 8, "quick", 8, rtn_bits=(6,)),
    "smollm2-135m": Settings("8,4,2", "exact", 8, "quick", 8, rtn_bits=(6, 3)),  # about two hours on one core
}
OTHERS = Settings("8,4,2", "exact", 8, "quick", 8)


def gather(request: SurveyRequest, found: SurveyResult, progress: Progress) -> Observations:
    """Read the losses by window behind a landscape from its store."""
    with Session.open(request, progress) as session:
        subject, probes = session.subject, session.probes
        made = [spec for spec in request.specs if isinstance(spec, PointSpec) and session.find(spec) is not None]
        labels = {spec.name: session.label(spec) for spec in made}
    lambdas = [float(lam) for lam in found.rays[0].lambdas]
    family = str(found.run.settings["family"])
    return Observations(
        landscape=found,
        radial=radial_probes(
            probes, JUDGED_SPLIT, family, request.directions, lambdas, subject.chance, request.pairs
        ),
        along={
            point.name: _along(probes, subject, labels[point.name], point.distance, _alphas(found, point.name))
            for point in found.points
            if point.name in labels  # not the control of a method that trains, which is on no grid
        },
        test={name: probes.totals(label, "test") for name, label in labels.items()},
        test_tokens=probes.tokens("test"),
        test_blocks=probes.blocks("test"),
        rtn=rtn_distances(request, subject),
    )  # fmt: skip


def rtn_distances(request: SurveyRequest, subject: Subject) -> tuple[RtnDistance, ...]:
    """Compute how far RTN moves w at the bit widths that are not probed."""
    further = SETTINGS.get(request.model, OTHERS).rtn_bits
    wanted = replace(request, bits=further, methods=("rtn",)).specs if further else ()

    def away(scheme: QuantScheme) -> float:
        return distance(subject.space, subject.center, rtn(subject.space, subject.center, scheme))

    return tuple(
        RtnDistance(each.scheme.bits, each.scheme.grid, away(each.scheme))
        for each in wanted
        if isinstance(each, PointSpec)
    )


def _alphas(found: SurveyResult, name: str) -> list[float]:
    """Return the α probed on the segment from w to a point, without w itself and what lies beyond the point."""
    way = next(s for s in found.segments if (s.a, s.b, s.split) == ("w", name, JUDGED_SPLIT))
    return [alpha for alpha in way.alphas.tolist() if 0 < alpha <= 1]


def _along(probes: Probes, subject: Subject, label: str, distance: float, alphas: list[float]) -> RadialProbes:
    """Return the segment from w to a point as a ray that ends there."""
    totals = np.array([probes.totals(on_segment(CENTER, label, alpha), JUDGED_SPLIT) for alpha in alphas])
    center, tokens, blocks = (
        probes.totals(CENTER, JUDGED_SPLIT),
        probes.tokens(JUDGED_SPLIT),
        probes.blocks(JUDGED_SPLIT),
    )
    return RadialProbes(np.array(alphas) * distance, totals[None], tokens, center, subject.chance, blocks, fixed=True)


def survey(arguments: argparse.Namespace) -> SurveyRequest:
    """Return the survey for the arguments of the command line."""
    chosen = SETTINGS.get(arguments.model, OTHERS)
    preset = find_preset(arguments.preset or chosen.preset)
    return SurveyRequest(
        model=arguments.model,
        data=arguments.data,
        store=arguments.work,
        bits=tuple(int(width) for width in (arguments.bits or chosen.bits).split(",")),
        scales=tuple((arguments.scale or chosen.scales).split(",")),
        directions=arguments.directions or chosen.directions,
        preset=replace(preset, validation_windows=arguments.windows or chosen.windows),
        pairs=arguments.pairs,
    )


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--data", help="(default: tales for opt-nano, wikitext2 for all others)")
    parser.add_argument("--work", type=Path, required=True, help="cache folder, made if there is none")
    for name in ("--bits", "--scale", "--preset"):
        parser.add_argument(name, help="(default: SETTINGS in this script)")
    for name in ("--directions", "--windows"):
        parser.add_argument(name, type=int, help="(default: SETTINGS in this script)")
    parser.add_argument("--pairs", action="store_true", help="every direction both ways")
    return parser.parse_args(words)


def main() -> None:
    """Probe, judge, and write the rows."""
    request = survey(parsed(sys.argv[1:]))
    with ConsoleProgress() as progress:
        found = probe(request, progress)
        measured = claims(gather(request, found, progress))
    write_rows(HERE / f"{Path(request.model).name}.jsonl", record.rows(found, measured))
    for claim in measured:
        print(f"{claim.number}  {claim.case:28} {claim.verdict:6} {claim.estimate}  {claim.threshold}  {claim.note}")


if __name__ == "__main__":
    main()
