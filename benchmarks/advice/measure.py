"""Measure the evidence of advice, and what every way then gave: one row a grid, each kept as soon as it is measured.

    python -m benchmarks.advice.measure --model opt-nano --work WORK
    python -m benchmarks.advice.measure --model smollm2-135m --data path/to/wikitext-2 --work WORK
    python -m benchmarks.advice.measure --model WORK/gpt-neox --data path/to/wikitext-2 --work WORK
    python -m benchmarks.advice.measure --model WORK/gpt2 --data tales --work WORK

Everything is in the cache of ``WORK``, so that an interrupted run resumes. Rows go to
``benchmarks/advice/<model>.jsonl``; ``python -m benchmarks.advice.table`` makes the tables of `README.md` from them.

Declared before anything was measured:

- Models: opt-nano (OPT), smollm2-135m (Llama), and those of ``benchmarks.models`` (families other than these two).
- Cells: 8, 4, 3 and 2 bits × tensor, channel and groups (128, or the largest common divisor; on smollm2-135m groups of
  32 too), each with the scale that loses less on the first four validation windows; NVFP4 and MXFP4.
- Outcomes, on 32 test windows of 512 tokens: RTN; GPTQ with 128 calibration windows, as the paper runs it on tensors
  (eight dampings) and as it is shipped on channels and groups (act-order, damping 0.01); QAFT and w_FT with the numbers
  of the preset ``standard``.
- On smollm2-135m, of which 512 tokens take four seconds of a core: windows of 256 tokens, 16 of the validation and of
  the test split; GPTQ, QAFT and w_FT with the numbers of ``quick`` (decided when none of its cells was measured).
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

from benchmarks.advice.cells import LARGE
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
    def large(self) -> bool:
        """True for the model that is measured with smaller numbers."""
        return self.name == LARGE

    @property
    def windows(self) -> int:
        """Validation windows of the evidence, and test windows of the outcomes."""
        return 16 if self.large else 32

    @property
    def granularities(self) -> tuple[str, ...]:
        """Granularities of the integer grids."""
        return (*SHIPPED, "group:32") if self.large else SHIPPED

    @property
    def preset(self) -> Preset:
        """Numbers that the methods run with."""
        if self.large:
            return replace(PRESETS["quick"], seq_len=256, test_windows=self.windows)
        return replace(PRESETS["standard"], seq_len=512, test_windows=self.windows, calibration_windows=128)

    @property
    def request(self) -> AdviceRequest:
        """Request of the evidence."""
        return AdviceRequest(
            self.model, self.data, bits=BITS, windows=self.windows, preset=self.preset, store=self.store
        )

    @property
    def outcomes(self) -> SurveyRequest:
        """Request that draws the data for the methods."""
        methods = ("rtn", "gptq", "qaft")
        return SurveyRequest(self.model, self.data, bits=BITS, methods=methods, preset=self.preset, store=self.store)

    def has(self, kind: str, key: Any) -> bool:
        """Return whether a row was kept; another process may have kept it."""
        return any(row["kind"] == kind and row["key"] == key for row in read_rows(self.file))

    def keep(self, kind: str, key: Any, values: Row) -> None:
        """Add a row, and say so, unless another process has kept it meanwhile."""
        if self.has(kind, key):
            return
        append_row(self.file, {"kind": kind, "key": key, **values})
        print(f"{self.name} {kind} {key}", flush=True)


def gather(job: Job, from_end: bool) -> None:
    """Measure a model: what its grids share, then grid by grid what was known beforehand and what every way gave."""
    with Session.open(job.request) as session:
        session.check_center(session.windows)
        if not job.has("model", ""):
            job.keep("model", "", _model_row(session, job))
        grids = list(candidates(BITS, job.granularities, (), session.subject.space))
    # The paper's grid comes last for both: what is shipped is what a run that is cut off should have measured.
    for tried in sorted(reversed(grids) if from_end else grids, key=lambda tried: tried.granularity == "tensor"):
        if not job.has("outcome", key_of(tried)):
            gather_evidence(job, tried)
            gather_outcomes(job, key_of(tried))
    for tried in grids:
        if not job.has("geometry", key_of(tried)):
            gather_geometry(job, tried)


def gather_evidence(job: Job, tried: Candidates) -> None:
    """Measure RTN and the small GPTQ of a grid on all validation windows."""
    if job.has("evidence", key_of(tried)):
        return
    with Session.open(job.request) as session:
        evidence = MeasuredEvidence(job.request, session)
        adviser = Adviser(job.request.question, evidence)
        job.keep("evidence", key_of(tried), _evidence_row(tried, adviser, evidence))


def gather_geometry(job: Job, tried: Candidates) -> None:
    """Measure how a grid lies to the basin."""
    row = next(row for row in read_rows(job.file) if row["kind"] == "evidence" and row["key"] == key_of(tried))
    with Session.open(job.request) as session:
        explained = explain(session, QuantScheme.of_grid(tried.bits, row["grid"]), seed=0)
        job.keep("geometry", key_of(tried), {
            "rho_prof": explained.rho_prof and explained.rho_prof.value,
            "remaining": explained.remaining and explained.remaining.value,
        })  # fmt: skip
        session.store.compact()


def key_of(tried: Candidates) -> list[Any]:
    """Name a cell: its bit width, and its granularity or float format."""
    return [tried.bits, tried.schemes[0].format or tried.granularity]


def _model_row(session: Session, job: Job) -> Row:
    """Measure what all grids of a model share."""
    evidence = MeasuredEvidence(job.request, session)
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
        "calibration_tokens": (job.preset.calibration_windows or 0) * session.subject.seq_len,
        "training_tokens": job.preset.qaft_examples * session.subject.seq_len * len(job.preset.rates_for(4)),
    }


def _evidence_row(tried: Candidates, adviser: Adviser, evidence: MeasuredEvidence) -> Row:
    """Measure one grid."""
    session, grid = evidence.session, adviser.grid(tried)
    tried_gptq = evidence.trials.gptq(grid.scheme)
    return {
        "grid": grid.scheme.grid,
        "bits_per_weight": grid.bits_per_weight,
        "distance": grid.distance,
        "scales": len(tried.schemes),
        "rtn": totals(session, session.label(PointSpec("rtn", grid.scheme)), {}),
        "gptq_small": totals(session, tried_gptq, evidence.trials.points),
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


def gather_outcomes(job: Job, key: list[Any]) -> None:
    """Measure what every way gave on the test windows, and w itself."""
    row = next(row for row in read_rows(job.file) if row["kind"] == "evidence" and row["key"] == key)
    with Session.open(job.outcomes) as session:
        if not job.has("outcome", "w"):
            job.keep("outcome", "w", {"w": _test_nll(session, CENTER)})
        job.keep("outcome", key, dict(_ways(session, job, QuantScheme.of_grid(row["key"][0], row["grid"]))))
        session.store.compact()


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
    parser.add_argument("--from-end", action="store_true", help="take the last grid first, for a second process")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    job = Job(options.model, options.data or default_corpus(options.model), options.work)
    gather(job, options.from_end)


if __name__ == "__main__":
    main()
