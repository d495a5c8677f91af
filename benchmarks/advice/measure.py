"""Measure the evidence of advice, and what every way then gave: one row a grid, each kept as soon as it is measured.

    python -m benchmarks.advice.measure --model opt-nano --work WORK
    python -m benchmarks.advice.measure --model smollm2-135m --data path/to/wikitext-2 --work WORK
    python -m benchmarks.advice.measure --model path/to/gpt-neox --data path/to/wikitext-2 --work WORK

Everything is in the cache of ``WORK``, so that an interrupted run resumes. Rows go to
``benchmarks/advice/<model>.jsonl``; ``python -m benchmarks.advice.table`` makes the tables of `README.md` from them.

Declared before anything was measured:

- Models: opt-nano (OPT), smollm2-135m (Llama), and those of ``benchmarks.models`` (families other than these two).
- Cells: 8, 4, 3 and 2 bits × tensor, channel and groups (128, or the largest common divisor), each with the scale that
  loses less on the first four validation windows; NVFP4 and MXFP4.
- Outcomes, on 32 test windows of 512 tokens: RTN; GPTQ with 128 calibration windows, as the paper runs it on tensors
  (eight dampings) and as it is shipped on channels and groups (act-order, damping 0.01); QAFT and w_FT with the numbers
  of the preset ``standard``, on smollm2-135m with those of ``quick`` at 512 tokens.
- Limits: ppl+1%, ppl+5%, ppl+20%. Confidence: 0.9.
- The right way: the cheapest whose ΔL on test is within the limit. Where none is, any way within the limit of the best.
- Constants of the formulas are fitted to all models but the one that they are tested on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rows import Row, append_row, read_rows
from landscape.advice.adviser import Adviser
from landscape.advice.evidence import MeasuredEvidence
from landscape.advice.explain import explain
from landscape.advice.grids import SHIPPED, Candidates, candidates
from landscape.advice.request import AdviceRequest
from landscape.advice.trials import shipped_gptq
from landscape.positions.position import CENTER
from landscape.probing.losses import Probes
from landscape.probing.plan import point_plan
from landscape.session.point_maker import PointMaker, point_label
from landscape.session.point_specs import FreeSpec, PointSpec
from landscape.session.presets import PRESETS, Preset
from landscape.session.request import default_corpus
from landscape.session.session import Session
from landscape.survey.request import SurveyRequest
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.point import WeightPoint
from quant.scheme import QuantScheme, Width, width_bits

HERE = Path(__file__).resolve().parent
BITS: tuple[Width, ...] = (8, 4, 3, 2, "nvfp4", "mxfp4")
WINDOWS = 32
"""Validation windows of the evidence, and test windows of the outcomes."""
DIGITS = 7
"""Digits of a loss in the rows."""


@dataclass(frozen=True)
class Job:
    """One model, its text and its place in the cache."""

    model: str
    """Name, or folder."""
    data: str
    store: Path

    @property
    def name(self) -> str:
        """Name of the model in the rows."""
        return Path(self.model).name

    @property
    def file(self) -> Path:
        """File of the rows."""
        return HERE / f"{self.name}.jsonl"

    @property
    def preset(self) -> Preset:
        """Numbers that the methods run with."""
        of = PRESETS["quick" if self.name == "smollm2-135m" else "standard"]
        return replace(of, seq_len=512, validation_windows=16, test_windows=WINDOWS, calibration_windows=128)

    @property
    def request(self) -> AdviceRequest:
        """Request of the evidence."""
        return AdviceRequest(self.model, self.data, bits=BITS, windows=WINDOWS, preset=self.preset, store=self.store)

    @property
    def outcomes(self) -> SurveyRequest:
        """Request that draws the data for the methods."""
        methods = ("rtn", "gptq", "qaft")
        return SurveyRequest(self.model, self.data, bits=BITS, methods=methods, preset=self.preset, store=self.store)

    def missing(self, kind: str, wanted: list[Any]) -> list[Any]:
        """Return those of the wanted keys that have no row of a kind."""
        known = [row["key"] for row in read_rows(self.file) if row["kind"] == kind]
        return [key for key in wanted if key not in known]

    def keep(self, kind: str, key: Any, values: Row) -> None:
        """Add a row, and say so."""
        append_row(self.file, {"kind": kind, "key": key, **values})
        print(f"{self.name} {kind} {key}", flush=True)


def gather_evidence(job: Job) -> None:
    """Measure RTN, the small GPTQ and w_FT on all validation windows, R, and how each grid lies to it."""
    with Session.open(job.request) as session:
        session.check_center(session.windows)
        evidence = MeasuredEvidence(job.request, session)
        adviser = Adviser(job.request.question, evidence, session.subject.norm)
        grids = list(candidates(BITS, SHIPPED, (), session.subject.space))
        if job.missing("model", [""]):
            job.keep("model", "", _model_row(session, evidence))
        for key in job.missing("evidence", [key_of(tried) for tried in grids]):
            (tried,) = (each for each in grids if key_of(each) == key)
            job.keep("evidence", key, _evidence_row(tried, adviser, evidence))
        session.store.compact()


def key_of(tried: Candidates) -> list[Any]:
    """Name a cell: its bit width, and its granularity or float format."""
    return [tried.bits, tried.schemes[0].format or tried.granularity]


def _model_row(session: Session, evidence: MeasuredEvidence) -> Row:
    """Measure what all grids of a model share."""
    found, windows = evidence.found, session.windows
    probes = Probes(session.runner.known, {"": windows})
    return {
        "family": session.subject.model.config.model_type,
        "dimension": session.subject.space.dimension,
        "norm": session.subject.norm,
        "chance": session.subject.chance,
        "seq_len": session.subject.seq_len,
        "articles": [window.article for window in windows],
        "tokens": probes.tokens("").tolist(),
        "center": rounded(probes.totals(CENTER, "")),
        "w_ft": totals(session, evidence.trials.finetuned(), evidence.trials.points),
        "radius": [found.radius.value, found.radius.low, found.radius.high],
        "gptq_tokens": evidence.gptq_tokens,
    }


def _evidence_row(tried: Candidates, adviser: Adviser, evidence: MeasuredEvidence) -> Row:
    """Measure one grid."""
    session, grid = evidence.session, adviser.grid(tried)
    explained = explain(session, grid.scheme, seed=0)
    tried_gptq = evidence.trials.gptq(grid.scheme)
    return {
        "grid": grid.scheme.grid,
        "bits_per_weight": grid.bits_per_weight,
        "distance": grid.distance,
        "scales": len(tried.schemes),
        "rtn": totals(session, session.label(PointSpec("rtn", grid.scheme)), {}),
        "gptq_small": totals(session, tried_gptq, evidence.trials.points),
        "rho_prof": explained.rho_prof and explained.rho_prof.value,
        "remaining": explained.remaining and explained.remaining.value,
    }


def totals(session: Session, label: str, points: dict[str, WeightPoint]) -> list[float]:
    """Return the NLL sums of all validation windows at a point, in nats."""
    own = {label: points[label]} if label in points else {}
    session.evaluate(point_plan([label], session.windows), own)
    return rounded(Probes(session.runner.known, {"": session.windows}).totals(label, ""))


def rounded(values: np.ndarray) -> list[float]:
    """Round losses to the digits that the rows keep."""
    return [float(f"{value:.{DIGITS}g}") for value in values]


def full_gptq(scheme: QuantScheme) -> GPTQOptions:
    """Return the options of GPTQ as it would be run: the paper's on its grid, else as it is shipped."""
    return PAPER_GPTQ if scheme.granularity == "tensor" else shipped_gptq(scheme)


def gather_outcomes(job: Job) -> None:
    """Measure what every way gave on the test windows."""
    rows = {tuple(row["key"]): row for row in read_rows(job.file) if row["kind"] == "evidence"}
    schemes = {key: QuantScheme.of_grid(key[0], row["grid"]) for key, row in rows.items()}
    with Session.open(job.outcomes) as session:
        for key in job.missing("outcome", ["w", *map(list, rows)]):
            values = {"w": _test_nll(session, CENTER)} if key == "w" else _outcomes(session, job, schemes[tuple(key)])
            job.keep("outcome", key, values)
        session.store.compact()


def _outcomes(session: Session, job: Job, scheme: QuantScheme) -> dict[str, float]:
    """Make the points of all ways on a grid, and measure them."""
    return dict(_ways(session, job, scheme))


def _ways(session: Session, job: Job, scheme: QuantScheme) -> Iterator[tuple[str, float]]:
    """Yield each way with its test loss."""
    yield "rtn", _test_nll(session, session.label(PointSpec("rtn", scheme)))
    maker = PointMaker(session.subject, session.store, job.preset, 0, full_gptq(scheme))
    spec = PointSpec("gptq", scheme)
    point = maker.find(spec) or maker.make(spec)
    label = point_label(point, session.subject.space)
    yield "gptq", _test_nll(session, label, {label: point})
    yield "qaft", _test_nll(session, session.label(PointSpec("qaft", scheme)))
    own = job.preset.rates_for(scheme.bits)
    same = tuple(bits for bits in BITS if job.preset.rates_for(width_bits(bits)) == own)
    yield "w_ft", _test_nll(session, session.label(FreeSpec("w_ft", same)))
    session.points.clear()  # those of a large model fill the memory
    session.labels.clear()


def _test_nll(session: Session, label: str, points: dict[str, WeightPoint] | None = None) -> float:
    """Return the loss on the test windows, nats per token."""
    windows = session.subject.windows["test"]
    session.evaluate(point_plan([CENTER, label], windows), points or {})
    return float(f"{Probes(session.runner.known, {'': windows}).nll(label, ''):.{DIGITS}g}")


def main() -> None:
    """Measure the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="opt-nano", help="name or folder")
    parser.add_argument("--data", help="(default: that of `landscape`)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the cache and for interrupted training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    job = Job(options.model, options.data or default_corpus(options.model), options.work)
    gather_evidence(job)
    gather_outcomes(job)


if __name__ == "__main__":
    main()
