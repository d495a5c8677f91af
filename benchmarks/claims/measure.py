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

from benchmarks.claims import record
from benchmarks.rows import write_rows
from landscape.claims.claim import Observations, RtnDistance
from landscape.claims.observe import observe
from landscape.claims.point_claims import claims
from landscape.cli.progress import ConsoleProgress
from landscape.session.point_specs import PointSpec
from landscape.session.presets import find_preset
from landscape.session.progress import Progress
from landscape.session.session import Session
from landscape.session.subject import Subject
from landscape.survey.probe import SurveyRun
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


def measured_landscape(request: SurveyRequest, progress: Progress | None = None) -> tuple[SurveyResult, Observations]:
    """Probe a landscape, and gather what the claims are judged by."""
    with Session.open(request, progress) as session:
        run = SurveyRun(request, session)
        found = run.run()
        return found, replace(observe(run, found), rtn=rtn_distances(request, session.subject))


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
        found, observed = measured_landscape(request, progress)
    measured = claims(observed)
    write_rows(HERE / f"{Path(request.model).name}.jsonl", record.rows(found, measured))
    for claim in measured:
        print(f"{claim.number}  {claim.case:28} {claim.verdict:6} {claim.estimate}  {claim.threshold}  {claim.note}")


if __name__ == "__main__":
    main()
