"""A study with plausible numbers: two analytic landscapes, and made-up trainings, layers, sizes and KL. No torch."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from landscape.claims.claim import Claim
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.session.run_record import Check
from landscape.session.training_record import Epoch, TrainingRecord
from landscape.study.result import FailedCell, ModelStudy, StudyResult
from landscape.survey.layers import LayerResult
from landscape.survey.result import FidelityResult, Misalignment, PointResult, SurveyResult
from quant.size import ModelSize
from tests.synthetic import Well, landscape

BITS = (8, 6, 4, 3, 2)
KINDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
DAMPINGS = tuple(10.0**k for k in range(-3, 5))
RATES = (1e-6, 1e-5, 1e-4, 1e-3)
BEST_RATE = {8: 1e-6, 6: 1e-5, 4: 1e-5, 3: 1e-4, 2: 1e-3}
FACTOR = {"rtn": 1.0, "gptq": 0.55, "qaft": 1.35}
"""Layer error of a method relative to RTN's."""


def around(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)


def size(bits: float, weights: int) -> ModelSize:
    outside = weights // 4
    total = int((bits * weights + 16 * outside) / 8)
    return ModelSize(bits, 8 * total / (weights + outside), total)


def layers(point: PointResult, blocks: int, rng: np.random.Generator) -> tuple[LayerResult, ...]:
    found = []
    for block in range(blocks):
        for i, kind in enumerate(KINDS):
            norm = 20.0 + 3 * i + block
            moved = norm * 0.6 * 2.0 ** -(point.bits or 8) * (1 + 0.1 * i)
            error = (
                0.02 * moved**2 * (1 + block) * FACTOR.get(point.method, 1.0) * math.exp(0.2 * rng.standard_normal())
            )
            damping = float(rng.choice(DAMPINGS)) if point.method == "gptq" else None
            found.append(
                LayerResult(
                    f"model.layers.{block}.{kind}", block, kind, 4096, norm, moved * (1.3 if damping else 1.0), 0.2,
                    1e-3, damping, {"train": error * 0.97, "test": error},
                )
            )  # fmt: skip
    return tuple(found)


def training(point: PointResult, rtn: PointResult, epochs: int = 3) -> TrainingRecord:
    """Every rate ends a little above the best one; the best one ends at the point's own losses."""
    start = Epoch(None, 0, rtn.nll["validation"], None, rtn.nll["test"])
    rows = [start]
    for rate in RATES:
        off = 0.04 * abs(math.log10(rate / BEST_RATE[point.bits or 8]))
        for epoch in range(1, epochs + 1):
            left = 0.35**epoch if epoch < epochs else 0.0
            valid, test = (
                point.nll[s] + left * (rtn.nll[s] - point.nll[s]) + off * (1 + 0.1 * epoch)
                for s in ("validation", "test")
            )
            rows.append(Epoch(rate, epoch, valid, valid - 0.05, test))
    chosen = min(rows, key=lambda e: e.validation_nll or math.inf)
    return TrainingRecord(tuple(rows), chosen)


def filled(survey: SurveyResult, blocks: int, seed: int) -> SurveyResult:
    """Add the test split, sizes, layers, trainings, KL, R along Δw and M."""
    rng, weights, norm = np.random.default_rng(seed), survey.subject.dimension, survey.subject.norm
    center = {**survey.center, "test": survey.center["validation"] + 0.02}
    points: list[PointResult] = []
    for point in survey.points:
        rise = point.rise["validation"]
        test = replace(rise, value=rise.value + 0.003)
        nll = {**point.nll, "test": center["test"] + test.value}
        kl = abs(test.value) * 1.1 + 0.01
        points.append(
            replace(
                point, nll=nll, rise={**point.rise, "test": test}, size=size((point.bits or 16) + 0.01, weights),
                layers=layers(point, blocks, rng), along=along(point),
                fidelity={"test": FidelityResult(around(kl, 0.1 * kl), around(1 / (1 + kl), 0.01))},
            )
        )  # fmt: skip
    by = {(p.method, p.bits): p for p in points}
    points = [
        replace(p, training=training(p, by["rtn", p.bits])) if p.method == "qaft" and ("rtn", p.bits) in by else p
        for p in points
    ]
    both = [b for b in BITS if {("gptq", b), ("qaft", b)} <= set(by)]
    raw = {b: by["gptq", b].nll["test"] - by["qaft", b].nll["test"] for b in both}
    found = tuple(
        Misalignment(f"int{b}-exact", "w_ft", {"test": around(raw[b] - 0.02, 0.05)}, {"test": around(raw[b], 0.05)})
        for b in both
    )
    subject = replace(survey.subject, windows={**survey.subject.windows, "test": 8})
    assert norm > 0
    return replace(
        survey, subject=subject, center=center, points=tuple(points), misalignments=found, center_size=size(16, weights)
    )


def along(point: PointResult) -> Crossing:
    """Half of the way to chance is reached on the way to a lost point; else R along Δw is beyond it."""
    if point.loss == "lost":
        r = 0.7 * point.distance
        return Crossing(0.5, r, 0.95 * r, 1.06 * r, (0.9 * r, 1.1 * r), False)
    return Crossing(0.5, None, 1.1 * point.distance, math.inf, (1.1 * point.distance, math.inf), False)


def claim(number: int, verdict: str, case: str, value: float | None) -> Claim:
    text = f"claim {number} of the paper"
    found = None if value is None else around(value, 0.1)
    note = "R is censored" if value is None else ""
    return Claim(number, case, text, "Xu et al. 2024, §4.3", "a ratio", found, "> 0", verdict, note)  # type: ignore[arg-type]


CLAIMS = (
    claim(1, "holds", "at R", 0.03), claim(2, "holds", "up to r10", 1.9), claim(2, "open", "2 R to 3 R", None),
    claim(3, "fails", "int4-exact", 0.5), claim(5, "holds", "int2-exact, loss", 2.5),
)  # fmt: skip


def model(survey: SurveyResult, blocks: int = 4, seed: int = 0) -> ModelStudy:
    name = survey.subject.model
    checks = (Check("repeats", True, "a probe gave the same bits twice"), Check("bf16", None, "the dtype is float32"))
    settings = {**survey.run.settings, "seed": 0, "corpus fingerprint": "ab" * 32}
    survey = replace(filled(survey, blocks, seed), run=replace(survey.run, health=checks, settings=settings))
    return ModelStudy(survey, CLAIMS, f"landscape probe --model {name} --bits 8,6,4,3,2")


@cache
def models() -> tuple[ModelStudy, ...]:
    """Two models on one text with one vocabulary; the smaller has planes at its two lowest bit widths."""
    narrow = Well(bottom=3.6, top=10.0, chance=10.82, radius=55.0, norm=200.0)
    first = landscape(bits=BITS, plane=True)
    second = landscape(narrow, model="opt-350m", bits=BITS, seed=1, directions=4)
    larger = replace(second.subject, dimension=3 * second.subject.dimension)
    return model(replace(first, planes=first.planes[-2:])), model(replace(second, subject=larger), seed=1)


def study(**changes: Any) -> StudyResult:
    """Two models, five bit widths, three methods, and one cell that failed."""
    found = StudyResult(
        "two opts", models(), (FailedCell("opt-350m", "awq-int4-exact", "expected finite scales, got NaN"),),
        "landscape study --models opt-125m,opt-350m --bits 8,6,4,3,2 --methods rtn,gptq,qaft", 754.0,
        {"preset": "standard", "bits": BITS, "methods": ("rtn", "gptq", "qaft"), "scales": ("exact",)},
    )  # fmt: skip
    return replace(found, **changes)


def with_points(found: StudyResult, change: Any) -> StudyResult:
    """Replace every point by ``change(point)``; None drops it, with all that hangs on it."""
    return replace(found, models=tuple(replace(each, survey=_changed(each.survey, change)) for each in found.models))


def _changed(survey: SurveyResult, change: Any) -> SurveyResult:
    points = tuple(new for p in survey.points if (new := change(p)) is not None)
    left = {"w", *(p.name for p in points)}
    both = {
        f"int{p.bits}-{p.grid}" for p in points if f"{p.name.replace('gptq', 'qaft')}" in left and p.method == "gptq"
    }
    return replace(
        survey, points=points, segments=tuple(s for s in survey.segments if {s.a, s.b} <= left),
        planes=tuple(plane for plane in survey.planes if {plane.a, plane.b} <= left),
        misalignments=tuple(m for m in survey.misalignments if m.grid in both),
    )  # fmt: skip
