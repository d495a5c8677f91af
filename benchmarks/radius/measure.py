"""Measure what R costs against a fixed grid, and R from different seeds: rows, each kept as soon as it is measured.

    python -m benchmarks.radius.measure --model smollm2-135m --data path/to/wikitext-2 --around --seeds 0,1,2
    python -m benchmarks.radius.table

The fixed design is 20 distances, 0.05 to 2 ‖w‖ in equal ratios (R of every model measured so far lies well within), by
32 directions, by the fewest windows with which the interval of R is as narrow as the one at which `landscape radius`
stopped. Every loss goes through the cache (`--work`), so that an interrupted run resumes; the rows go to
``benchmarks/radius/<model>.jsonl``, from which the second command makes the tables of `README.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, append_row, read_rows
from landscape.estimators.crossing import Crossing, crossing
from landscape.estimators.radial_losses import RadialProbes
from landscape.estimators.radius_search import table
from landscape.positions.directions import Sphere
from landscape.probing.losses import RadialLosses
from landscape.radius import RadiusRequest, RadiusResult, measure_radius
from landscape.session.session import Session

HERE = Path(__file__).resolve().parent
GRID = tuple(float(ratio) for ratio in np.geomspace(0.05, 2.0, 20))
"""The fixed distances, in units of ‖w‖."""
DIRECTIONS = 32
FEWEST = 2  # windows: a single one gives no interval


def relative(found: Crossing) -> float:
    """Return the half width of the interval over R; infinite if R is not reached."""
    return float("inf") if found.value is None else (found.high - found.value) / found.value


def around(session: Session, losses: RadialLosses, windows: int, radius: float) -> RadialProbes:
    """Probe the fixed design at those two of its distances between which the mean loss crosses, near ``radius``."""
    lambdas = [ratio * session.subject.norm for ratio in GRID]
    upper = int(np.searchsorted(lambdas, radius))
    for shift in (0, 1, -1):  # its own R may lie in the next step
        pair = lambdas[upper - 1 + shift : upper + 1 + shift]
        probes = table(losses, pair, DIRECTIONS, windows, session.subject.chance)
        if crossing(probes).bracket == tuple(pair):
            return probes
    raise SystemExit(f"expected the fixed design to cross next to R = {radius:g}")


def between(probes: RadialProbes) -> RadialProbes:
    """Keep the probes at the two distances between which the mean loss crosses."""
    keep = np.isin(probes.lambdas, crossing(probes).bracket)
    return RadialProbes(
        probes.lambdas[keep], probes.totals[:, keep], probes.tokens, probes.center, probes.chance, probes.blocks
    )


def fixed_design(session: Session, radius: float, width: float, only_around: bool) -> Row:
    """Return the smallest fixed design whose interval has at most that relative half width."""
    losses = session.radial(Sphere(session.subject.space, session.request.seed))
    everywhere = [ratio * session.subject.norm for ratio in GRID]
    for windows in range(FEWEST, len(session.windows) + 1):
        if only_around:
            probes = near = around(session, losses, windows, radius)
        else:
            probes = table(losses, everywhere, DIRECTIONS, windows, session.subject.chance)
            near = between(probes)
        found = crossing(probes)
        print(f"  {DIRECTIONS} directions × {windows} windows: ± {relative(found):.2%}", flush=True)
        if relative(found) <= width:
            evaluations = windows * (1 + DIRECTIONS * len(GRID))
            return {
                "lambdas": len(GRID), "directions": DIRECTIONS, "windows": windows,
                "measured": 2 if only_around else len(GRID), **radius_of(found), "half_width": relative(found),
                "half_width_of_two": relative(crossing(near)), "evaluations": evaluations,
                "tokens": evaluations * session.subject.seq_len,
            }  # fmt: skip
    raise SystemExit(f"expected enough windows for ± {width:.1%}, the split has {len(session.windows)}")


def radius_of(found: Crossing) -> Row:
    """Return R as the fields of a row."""
    return {
        "radius": found.value, "low": found.low, "high": found.high,
        "error": found.error.value, "df": found.error.df,
    }  # fmt: skip


def search_row(measured: RadiusResult) -> Row:
    """Return the row of one search."""
    last, probes = measured.search.rounds[-1], measured.search.probes
    return {
        "kind": "search", "precise": measured.search.precise, "directions": last.directions, "windows": last.windows,
        **radius_of(measured.search.radius), "half_width": relative(measured.search.radius),
        "norm": measured.subject.norm, "center": probes.center_nll,
        "evaluations": measured.run.probes.total, "tokens": measured.tokens,
    }  # fmt: skip


def measure(options: argparse.Namespace, seeds: Sequence[int], file: Path) -> None:
    """Measure the rows that are missing: a search of every seed, and the fixed design of the first."""
    for seed in seeds:
        request = RadiusRequest(
            options.model, options.data, seq_len=options.seq_len, precision=options.precision, seed=seed,
            store=options.work,
        )  # fmt: skip
        key = {"model": options.model, "precision": options.precision, "seed": seed}

        def known(kind: str, key: Row = key) -> Row | None:
            wanted = {**key, "kind": kind}
            return next((row for row in read_rows(file) if wanted.items() <= row.items()), None)

        searched = known("search")
        if searched is None:
            measured = measure_radius(request)
            shared = {
                "data": Path(measured.subject.data).name,
                "split": measured.split,
                "seq_len": measured.subject.seq_len,
            }
            searched = key | shared | search_row(measured)
            append_row(file, searched)
        print(f"seed {seed}: R = {searched['radius']:.4g} ± {searched['half_width']:.1%}, {searched['tokens']} tokens")
        if seed == seeds[0] and known("fixed") is None:
            with Session.open(request) as session:
                design = fixed_design(session, searched["radius"], searched["half_width"], options.around)
            append_row(file, key | {"kind": "fixed"} | design)


def main() -> None:
    """Measure the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--data", help="corpus (default: that of `landscape radius`)")
    parser.add_argument("--seq-len", type=int, help="tokens per window (default: that of `landscape radius`)")
    parser.add_argument("--precision", type=float, default=0.05)
    parser.add_argument(
        "--seeds", default="0", help="of directions and windows; the first is compared with the grid (default: 0)"
    )
    parser.add_argument(
        "--around",
        action="store_true",
        help="evaluate only the two distances of the fixed grid around R, and count the others: all would take hours",
    )
    parser.add_argument("--work", type=Path, help="cache folder (default: the user's)")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    measure(options, seeds, HERE / f"{Path(options.model).name}.jsonl")


if __name__ == "__main__":
    main()
