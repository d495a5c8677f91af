"""Measure the paper's claims on a model: probe its landscape and judge each of them. Rows for `landscape/CLAIMS.md`.

    python benchmarks/claims.py --model opt-nano --store claims-store
    python benchmarks/claims.py --model smollm2-135m --data path/to/wikitext-2 --store claims-store

An interrupted run goes on where it was: points and probes are in the store, which `landscape probe` shares. The rows go
to ``benchmarks/claims-<model>.json``; ``benchmarks/claims_table.py`` makes the tables of them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.claims.claim import Rounded
from landscape.claims.point_claims import Claim, Observed, claims
from landscape.cli.console import ConsoleProgress
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.estimators.radial_losses import RadialProbes
from landscape.positions.position import CENTER, on_segment
from landscape.probing.losses import Probes, radial_probes
from landscape.session.point_maker import PointMaker, point_label
from landscape.session.point_specs import PointSpec
from landscape.session.presets import find_preset
from landscape.session.progress import Progress
from landscape.session.session import opened
from landscape.session.subject import Subject, prepare
from landscape.survey.analysis import VERDICT_SPLIT
from landscape.survey.probe import probe
from landscape.survey.request import SurveyRequest
from landscape.survey.result import SurveyResult
from quant import QuantScheme, distance, rtn

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Settings:
    """What is measured of a model, unless the command line says otherwise."""

    bits: str
    scales: str
    directions: int
    preset: str
    windows: int
    """Of the validation split, in place of the preset's."""
    rounded: tuple[int, ...] = ()
    """Further bit widths, of which only ‖Δw‖ of RTN is taken: it is all that claim 3 asks for."""


SETTINGS = {
    "opt-nano": Settings("8,4,3,2", "exact,absmax", 8, "quick", 8, rounded=(6,)),
    "smollm2-135m": Settings("8,4,2", "exact", 8, "quick", 8, rounded=(6, 3)),  # about two hours on one core
}
OTHERS = Settings("8,4,2", "exact", 8, "quick", 8)


def gather(request: SurveyRequest, found: SurveyResult, progress: Progress) -> Observed:
    """The losses by window behind a landscape, read from the store that it was left in."""
    with opened(request, progress) as (checkpoint, store):
        subject = prepare(checkpoint, request.corpus, request.preset, request.methods, request.seed, request.root)
        maker = PointMaker(subject, store, request.preset, request.seed, request.gptq)
        labels = {
            wanted.name: point_label(point, subject.space)
            for wanted in request.wanted
            if isinstance(wanted, PointSpec) and (point := maker.find(wanted)) is not None
        }
        probes = Probes(store.probes(), subject.windows)
    lambdas = [float(lam) for lam in found.rays[0].lambdas]
    family = str(found.settings["family"])
    return Observed(
        landscape=found,
        radial=radial_probes(
            probes, VERDICT_SPLIT, family, request.directions, lambdas, subject.chance, request.pairs
        ),
        along={
            point.name: _along(probes, subject, labels[point.name], point.distance, _alphas(found, point.name))
            for point in found.points
        },
        test={name: probes.totals(label, "test") for name, label in labels.items()},
        test_tokens=probes.tokens("test"),
        test_blocks=probes.blocks("test"),
        rounded=rounded(request, subject),
    )  # fmt: skip


def rounded(request: SurveyRequest, subject: Subject) -> tuple[Rounded, ...]:
    """How far RTN moves w at the bit widths that are not probed."""
    further = SETTINGS.get(request.model, OTHERS).rounded
    wanted = replace(request, bits=further, methods=("rtn",)).wanted if further else ()

    def away(scheme: QuantScheme) -> float:
        return distance(subject.space, subject.center, rtn(subject.space, subject.center, scheme))

    return tuple(
        Rounded(each.scheme.bits, each.scheme.grid, away(each.scheme)) for each in wanted if isinstance(each, PointSpec)
    )


def _alphas(found: SurveyResult, name: str) -> list[float]:
    """Where the way from w to a point was probed, w itself and what lies beyond left out."""
    way = next(s for s in found.segments if (s.a, s.b, s.split) == ("w", name, VERDICT_SPLIT))
    return [alpha for alpha in way.alphas.tolist() if 0 < alpha <= 1]


def _along(probes: Probes, subject: Subject, label: str, distance: float, alphas: list[float]) -> RadialProbes:
    """The way from w to a point as a ray that ends there."""
    totals = np.array([probes.totals(on_segment(CENTER, label, alpha), VERDICT_SPLIT) for alpha in alphas])
    center, tokens, blocks = (
        probes.totals(CENTER, VERDICT_SPLIT),
        probes.tokens(VERDICT_SPLIT),
        probes.blocks(VERDICT_SPLIT),
    )
    return RadialProbes(np.array(alphas) * distance, totals[None], tokens, center, subject.chance, blocks, fixed=True)


def document(found: SurveyResult, measured: Sequence[Claim]) -> dict[str, Any]:
    """All numbers of a model, JSON-able: a bound that the data cannot give is null."""
    basin = found.basin
    return {
        "model": found.subject.model,
        "subject": asdict(found.subject) | {"data": Path(found.subject.data).name},  # not where a folder lay
        "settings": dict(found.settings),
        "basin": {"R": _edge(basin.radius), "r10": _edge(basin.r10), "r90": _edge(basin.r90),
                  "directions": basin.directions, "windows": basin.windows, "monotone": basin.monotone,
                  "non_finite": basin.non_finite},
        "center": dict(found.center),
        "points": [
            {"name": p.name, "distance": p.distance, "rho": _estimate(p.rho), "location": p.location, "loss": p.loss,
             "nll": {split: _number(nll) for split, nll in p.nll.items()}}
            for p in found.points
        ],
        "claims": [{**asdict(claim), "estimate": _estimate(claim.estimate)} for claim in measured],
    }  # fmt: skip


def _edge(crossing: Crossing) -> dict[str, float | None]:
    """A censored radius has a lower bound only."""
    return {"value": crossing.value, "low": _number(crossing.low), "high": _number(crossing.high)}


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else {key: _number(value) for key, value in asdict(estimate).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def survey(arguments: argparse.Namespace) -> SurveyRequest:
    """What the command line asks for."""
    chosen = SETTINGS.get(arguments.model, OTHERS)
    preset = find_preset(arguments.preset or chosen.preset)
    return SurveyRequest(
        model=arguments.model,
        data=arguments.data,
        store=arguments.store,
        bits=tuple(int(width) for width in (arguments.bits or chosen.bits).split(",")),
        scales=tuple((arguments.scale or chosen.scales).split(",")),
        directions=arguments.directions or chosen.directions,
        preset=replace(preset, validation_windows=arguments.windows or chosen.windows),
        pairs=arguments.pairs,
    )


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--data", help="(default: tales for opt-nano, wikitext2 for all others)")
    parser.add_argument("--store", type=Path, required=True, help="cache folder, made if there is none")
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
    file = HERE / f"claims-{request.model}.json"
    file.write_text(json.dumps(document(found, measured), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    for claim in measured:
        print(f"{claim.number}  {claim.case:28} {claim.verdict:6} {claim.estimate}  {claim.threshold}  {claim.note}")


if __name__ == "__main__":
    main()
