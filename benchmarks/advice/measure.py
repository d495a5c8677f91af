"""Measure the advice and its outcomes: the evidence on each grid, beside the loss of RTN, GPTQ, QAFT and w_FT.

    python -m benchmarks.advice.measure --model opt-nano --work WORK
    python -m benchmarks.advice.measure --model smollm2-135m --data path/to/wikitext-2 --work WORK

One command makes the points and measures the outcomes (the rows of ``benchmarks.methods``). Then it gathers for each
grid the evidence of ``landscape advise`` on the same validation windows, ρ_shrink for the contest, and the loss of RTN
on the other grids on the test windows: one row per grid in ``benchmarks/advice/<model>.jsonl``. At the end it rewrites
the tables of `README.md`. Every row is kept as soon as it is measured, and is not measured again.

Declared before anything was measured:

- Cells: on opt-nano bits 8, 6, 4, 3, 2 × exact, histogram, histogram-torch, absmax; on SmolLM2-135M bits 8, 4, 3, 2 ×
  exact, histogram, and int6 at exact and absmax. Limits: ppl+1%, ppl+5%, ppl+20%.
- The right option, on the test split: among RTN, RTN on the other grid that lost least on the validation split, GPTQ
  and QAFT, in this order, the first within the limit of L(w); if none is, the first whose loss is within the limit of
  the least of them. QAFT counts less its control, L(QAFT) − L(w_FT), as in M.
- A hit is the advice of exactly that option. A miss is too cheap (a more expensive option was right) or too expensive.
- ``RESCUE`` and ``RIM`` are those, among powers of 2^(1/4), with the most hits on opt-nano over all cells and limits;
  among equals the nearest to 5 and 1, the guesses beforehand. SmolLM2-135M is then a test.
- The contest: within each bit width, Spearman's rank correlation over scales with the misalignment
  M = [L(GPTQ) − L(w)] − [L(QAFT) − L(w_FT)] on the test split, for ρ, ρ_prof, ρ_shrink, ρ_Δ and the baselines: the
  squared error of the weights, and ΔL of RTN; averaged over bit widths. Also over all cells, with bits as a baseline.

On SmolLM2-135M the outcomes of the exact scale were known before this was written, those of the others were not.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import torch

from benchmarks.advice.table import rewrite
from benchmarks.methods.bench import Bench, Budget
from benchmarks.methods.measure import cells as outcomes_of
from benchmarks.methods.measure import measure
from benchmarks.rows import Row, append_row, read_rows
from landscape.advice.evidence import EvidenceCollector
from landscape.advice.request import AdviceRequest
from landscape.estimators.intervals import Estimate
from landscape.positions.perturbation import Perturbation
from landscape.positions.position import CENTER
from landscape.probing.plan import point_plan
from landscape.session.point_specs import PointSpec
from landscape.session.presets import PRESETS
from landscape.session.request import default_corpus
from landscape.session.session import Session
from quant.scheme import QuantScheme

HERE = Path(__file__).resolve().parent
PRESET = replace(PRESETS["standard"], validation_windows=16, test_windows=32, seq_len=512)
"""The windows on which ``benchmarks.methods`` measures the outcomes."""
CELLS = {
    "opt-nano": [(b, s) for b in (8, 6, 4, 3, 2) for s in ("exact", "histogram", "histogram-torch", "absmax")],
    "smollm2-135m": [(b, s) for b in (8, 4, 3, 2) for s in ("exact", "histogram")] + [(6, "exact"), (6, "absmax")],
}
OUTCOMES = ("w", "rtn", "gptq", "qaft", "w_ft")


def row(collector: EvidenceCollector, spec: PointSpec) -> Row:
    """Measure the evidence of one grid, and ΔL of RTN on the test split on this grid and the others."""
    evidence, scheme, session = collector.evidence(spec), spec.scheme, collector.session
    subject, test = session.subject, session.subject.windows["test"]
    point, label = session.point(spec), session.label(spec)
    shrink = collector.ratio(Perturbation(subject.space, subject.center, point, label), "shrink")

    def rise(other: QuantScheme) -> float:
        label = session.label(PointSpec("rtn", other))
        probes = session.evaluate(point_plan([CENTER, label], test))
        return probes.nll(label, "test") - probes.nll(CENTER, "test")

    return {
        "bits": scheme.bits,
        "scale": scheme.scale,
        "distance": evidence.distance / subject.norm,
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
    """Turn an estimate into JSON."""
    return None if estimate is None else [estimate.value, estimate.low, estimate.high]


def measure_outcomes(model: str, data: str, folder: Path, threads: int) -> None:
    """Measure the loss of the methods on every grid, and of fine-tuning without one."""
    budget = Budget()
    wanted = (cell for cell in outcomes_of(CELLS[model], budget.rates) if cell.method in OUTCOMES)
    measure(Bench(model, data, folder, budget), wanted, threads)


def gather(model: str, data: str, store_folder: Path) -> None:
    """Gather the evidence on every grid."""
    file = HERE / f"{model}.jsonl"
    request = AdviceRequest(model, data, preset=PRESET, store=store_folder)
    with Session.open(request) as session:
        session.check_center(session.windows)
        collector = EvidenceCollector(request, session)
        for bits, scale in CELLS[model]:
            if (bits, scale) in {(known["bits"], known["scale"]) for known in read_rows(file)}:
                continue
            measured = row(collector, PointSpec("rtn", QuantScheme(bits, scale)))
            append_row(file, measured)
            print(f"int{bits} {scale:16} ΔL {measured['rise'][0]:+.4f}  ρ_prof {measured['rho_prof']}", flush=True)
        session.store.compact()


def main() -> None:
    """Measure the rows that are missing, and rewrite the tables."""
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
