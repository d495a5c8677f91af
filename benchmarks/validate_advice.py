"""Does the advice come true? The evidence of every grid beside what RTN, GPTQ, QAFT and w_FT then gave.

    python benchmarks/validate_advice.py --model opt-nano --work WORK
    python benchmarks/validate_advice.py --model smollm2-135m --data path/to/wikitext-2 --work WORK

One command makes the points and measures the outcomes (the rows of ``comparison.py``); gathers for each grid the
evidence of ``landscape advise`` on the same validation windows, ρ_shrink for the contest, and what RTN gives on the
other grids on the test windows: one row a grid in ``benchmarks/advice-<model>.jsonl``; and rewrites the tables of
``landscape/VALIDATION.md``. Every row is kept as soon as it is measured, and what is there is not measured again.

Declared before anything was measured:

- Cells: on opt-nano bits 8, 6, 4, 3, 2 × exact, histogram, histogram-torch, absmax; on SmolLM2-135M bits 8, 4, 3, 2 ×
  exact, histogram, and int6 at exact and absmax. Limits: ppl+1%, ppl+5%, ppl+20%.
- What turned out right, on the test split: of RTN, RTN on the other grid that lost least on the validation split, GPTQ,
  and QAFT, in this order, the first within the limit of L(w); if none is, the first whose loss is within the limit of
  the least of them. QAFT counts with what is left after its control, L(QAFT) − L(w_FT), which is how M counts it.
- A hit is an advice that is just that. A miss is cheap (a dearer way was right) or dear (a cheaper one was).
- ``RESCUE`` and ``RIM`` are those, of powers of 2^(1/4), with the most hits on opt-nano over all cells and limits;
  among equals the nearest to 5 and 1, the guesses they had before. SmolLM2-135M is then a test.
- The contest: within each bit width, Spearman's rank correlation over scales with the misalignment
  M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)] on the test split, of ρ, ρ_prof, ρ_shrink, ρ_Δ and of the baselines: the
  squared error of the weights, ΔL of RTN; the mean over bit widths. And over all cells, where bits are a baseline too.

On SmolLM2-135M the outcomes of the exact scale were known before this was written, those of the others were not.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from comparison import Bench, Budget, measure, rows_of
from comparison import cells as outcomes_of
from validation_table import rewrite

from landscape.advice.evidence import EvidenceCollector
from landscape.estimators.intervals import Estimate
from landscape.positions.position import CENTER
from landscape.probing.losses import Probes
from landscape.session.point_specs import PointSpec
from landscape.session.presets import PRESETS
from landscape.session.progress import Silent
from landscape.session.request import Request
from landscape.session.session import opened
from landscape.session.subject import default_corpus, prepare
from quant.scheme import QuantScheme

HERE = Path(__file__).resolve().parent
PRESET = replace(PRESETS["standard"], validation_windows=16, test_windows=32, seq_len=512)
"""The windows that ``comparison.py`` measures the outcomes on."""
CELLS = {
    "opt-nano": [(b, s) for b in (8, 6, 4, 3, 2) for s in ("exact", "histogram", "histogram-torch", "absmax")],
    "smollm2-135m": [(b, s) for b in (8, 4, 3, 2) for s in ("exact", "histogram")] + [(6, "exact"), (6, "absmax")],
}
OUTCOMES = ("w", "rtn", "gptq", "qaft", "w_ft")


def row(gatherer: EvidenceCollector, made: PointSpec) -> dict[str, Any]:
    """The evidence of one grid, and what RTN gives on the test split here and on the other grids."""
    evidence, scheme = gatherer.evidence(made), made.scheme
    point = gatherer.point(made)
    shrink = gatherer.ratio(point, gatherer.label(point), "shrink")
    test = gatherer.subject.windows["test"]

    def rise(other: QuantScheme) -> float:
        gatherer.run(gatherer.point(PointSpec("rtn", other)), test)
        probes = Probes(gatherer.runner.known, {"test": test})
        label = gatherer.label(gatherer.point(PointSpec("rtn", other)))
        return probes.nll(label, "test") - probes.nll(CENTER, "test")

    return {
        "bits": scheme.bits,
        "scale": scheme.scale,
        "distance": evidence.distance / gatherer.subject.norm,
        "clipped": evidence.clipped,
        **{
            name: numbers(getattr(evidence, name))
            for name in ("rise", "unclipped", "remaining", "over_here", "rho", "rho_prof", "rho_along")
        },
        "rho_shrink": numbers(shrink),
        "others": [{"scheme": asdict(other), "rise": numbers(value)} for other, value in evidence.others.items()],
        "test": {"rtn": rise(scheme), "others": [rise(other) for other in evidence.others]},
    }


def numbers(estimate: Estimate | None) -> list[float] | None:
    """An estimate as JSON."""
    return None if estimate is None else [estimate.value, estimate.low, estimate.high]


def measure_outcomes(model: str, data: str, folder: Path, threads: int) -> None:
    """What the methods give on every grid, and fine-tuning without one."""
    budget = Budget()
    wanted = (cell for cell in outcomes_of(CELLS[model], budget.rates) if cell.method in OUTCOMES)
    measure(Bench(model, data, folder, budget), wanted, threads)


def gather(model: str, data: str, store_folder: Path) -> None:
    """The evidence on every grid."""
    file = HERE / f"advice-{model}.jsonl"
    request = Request(model, data, store=store_folder)
    with opened(request, Silent()) as (checkpoint, store):
        subject = prepare(checkpoint, request.corpus, PRESET, ("rtn",), request.seed, request.root)
        gatherer = EvidenceCollector(subject, store, PRESET, request.seed, request.device, Silent())
        gatherer.check(request.corpus)
        for bits, scale in CELLS[model]:
            if (bits, scale) in {(known["bits"], known["scale"]) for known in rows_of(file)}:
                continue
            measured = row(gatherer, PointSpec("rtn", QuantScheme(bits, scale)))
            with file.open("a") as stream:
                stream.write(json.dumps(measured) + "\n")
            print(f"int{bits} {scale:16} ΔL {measured['rise'][0]:+.4f}  ρ_prof {measured['rho_prof']}", flush=True)
        store.compact()


def main() -> None:
    """Measure what is missing, and make the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=CELLS, default="opt-nano")
    parser.add_argument("--data", help="(default: that of `landscape`)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the cache and for interrupted training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = options.data or default_corpus(options.model)
    measure_outcomes(options.model, data, options.work / "training", options.threads)
    gather(options.model, data, options.work / "store")
    rewrite()


if __name__ == "__main__":
    main()
