"""A landscape with every field filled, of analytic shapes and of numbers that are easily told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from landscape.claims.claim import Claim
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import Estimate
from landscape.session.expert_tokens import ExpertTokens
from landscape.session.training_record import Epoch, TrainingRecord
from landscape.study.result import FailedCell, ModelStudy, StudyResult
from landscape.survey.layers import LayerResult
from landscape.survey.result import FidelityResult, KLRadius, Misalignment, PointResult, SurveyResult
from quant.size import ModelSize
from tests import synthetic

START = Epoch(None, 0, 4.0)
CURVE = TrainingRecord(
    (
        START,
        Epoch(1e-4, 1, 3.8, 3.9, 3.85),
        Epoch(1e-4, 2, 3.7, 3.6, 3.75),
        Epoch(1e-3, 1, None, 9.0, None),
        Epoch(1e-3, 2, 3.9, 8.0, None),
    ),
    Epoch(1e-4, 2, 3.7),
)
ALONG = Crossing(0.5, None, 41.5, float("inf"), (41.5, float("inf")), reentry=False)


def layer(index: int, damping: float | None) -> LayerResult:
    name = f"model.layers.{index}.self_attn.q_proj.weight"
    return LayerResult(
        name, index, "self_attn.q_proj", 64, 8.0 + index, 0.5 + index, 0.25, 0.125, damping,
        {"train": 1.5 + index, "test": 2.5 + index},
    )  # fmt: skip


def filled(model: str = "opt-125m") -> SurveyResult:
    """The landscape; its second point has everything that a point can have."""
    found = synthetic.landscape(model=model, bits=(4, 2), windows=4, directions=3, plane=True, external=("q4_k_m",))
    first, second, *others = found.points
    split = {name: FidelityResult(Estimate(0.1, 0.05, 0.15), Estimate(0.9, 0.8, 0.95)) for name in second.nll}
    rich = replace(
        second,
        fidelity=split,
        size=ModelSize(4.125, 6.5, 81_000_000),
        along=ALONG,
        training=CURVE,
        layers=(layer(0, 0.01), layer(1, None)),
        experts=ExpertTokens(24, 3, 1),
    )
    plain = replace(first, grid="absmax-per-group128-asymmetric", along=replace(ALONG, value=50.0, low=40.0, high=80.0))
    rays = tuple(
        replace(
            ray,
            kl={name: nll - 3.0 for name, nll in ray.nll.items()},
            agreement={name: 3.0 / nll for name, nll in ray.nll.items()},
        )
        for ray in found.rays
    )
    segment = found.segments[0]
    segments = (replace(segment, kl=segment.nll - 3.0, agreement=3.0 / segment.nll), *found.segments[1:])
    m = Estimate(0.4, 0.3, 0.5)
    return replace(
        found,
        center={**found.center, "test": 3.35},
        points=(plain, rich, *others),
        rays=rays,
        segments=segments,
        misalignments=(Misalignment("int2-exact", "w_ft-int4-int2", {"test": m}, {"test": replace(m, value=0.45)}),),
        kl_radii={"validation": KLRadius(6.5, replace(ALONG, value=66.0, low=60.0, high=72.0))},
        center_size=ModelSize(16.0, 16.0, 250_000_000),
    )


CLAIM = Claim(2, "int4-exact", "Points, of “one” grid\nare close", "§4.3", "r, a ratio", None, "≤ 1", "open", "no data")


def study() -> StudyResult:
    """Two models, one claim, one failed cell."""
    one, two = filled("one"), filled("two")
    claims = (CLAIM, replace(CLAIM, number=3, estimate=Estimate(1.5, 1.0, float("inf")), verdict="fails"))
    return StudyResult(
        "both", (ModelStudy(one, claims, "landscape probe"), ModelStudy(two, (), "landscape probe")),
        (FailedCell("two", "gptq-int3-exact", "expected a matrix, got none"),), "landscape study", 60.0, {},
    )  # fmt: skip


def only(found: SurveyResult, point: PointResult) -> SurveyResult:
    """The landscape with one point alone."""
    return replace(found, points=(point,), segments=(), planes=())


def overflowing() -> SurveyResult:
    """A ray that ends in NaN, and a point that overflows."""
    found = synthetic.overflowing()
    rays = tuple(replace(ray, nll={s: np.asarray(v) for s, v in ray.nll.items()}) for ray in found.rays)
    return replace(found, rays=rays)
