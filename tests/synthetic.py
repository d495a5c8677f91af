"""Landscapes that no model has: an analytic well with noise, put through the real estimators. No torch, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from landscape.estimators.basin import estimate_basin
from landscape.estimators.connectivity import connectivity
from landscape.estimators.intervals import Estimate, paired_difference
from landscape.estimators.location import location, loss_word, ratio
from landscape.estimators.other_radii import other_radii
from landscape.estimators.radial_losses import RadialProbes, saturation
from landscape.session.run_record import ProbeCount, RunRecord, SubjectInfo
from landscape.survey.plane import PlaneBasis, PlaneLattice
from landscape.survey.result import (
    FidelityResult,
    KLRadius,
    PlaneResult,
    PointResult,
    RayProfile,
    SegmentResult,
    SurveyResult,
)
from quant.coverage import Coverage, Omission
from quant.size import ModelSize

Array = NDArray[np.float64]
SPLITS = ("train", "validation")
SEQ_LEN = 512
# Where the points lie from w in the plane and a half that they share, in units of ‖Δw_RTN‖: Figure 3 of the paper.
OFFSETS = {"rtn": (1.0, 0.0, 0.0), "gptq": (0.95, 1.0, 0.0), "qaft": (0.98, 0.1, 0.3)}
SHRINK = {8: 0.03, 6: 0.12, 4: 0.55, 3: 0.9, 2: 1.6}  # ‖Δw_RTN‖/R by bit width


@dataclass(frozen=True)
class Well:
    """``L(x) = bottom + (top − bottom)(1 − exp(−x²/2s²))`` along rays, rising on beyond by ``tilt``."""

    bottom: float = 3.3
    top: float = 10.2
    chance: float = 10.82
    radius: float = 70.0
    norm: float = 280.0
    tilt: float = 0.0
    """Nats per radius that rays gain beyond the border."""
    scatter: float = 0.02
    """Relative spread of the directions' radii."""
    steep: float = 1.0
    """How much shorter the well is towards the quantized points."""

    def along(self, lam: Array | float, stretch: float = 1.0) -> Array:
        """Loss at distances λ on a random ray."""
        x = np.asarray(lam) / (self.radius * stretch)
        return self.bottom + (self.top - self.bottom) * (1 - np.exp2(-(x**2))) + self.tilt * np.maximum(0, x - 1.3)

    def at(self, x: Array, unit: float) -> Array:
        """Loss at positions (n, 3) in the points' own coordinates; GPTQ's way is shallow, QAFT's end a second well."""
        square = self.steep * x[:, 0] ** 2 + 0.1 * x[:, 1] ** 2 + x[:, 2] ** 2
        rise = (self.top - self.bottom) * (1 - np.exp2(-square / self.radius**2))
        away = ((x - unit * np.array(OFFSETS["qaft"])) ** 2).sum(1)
        return self.bottom + rise * (1 - 0.75 * np.exp(-away / (2 * (0.15 * unit) ** 2)))


COVERAGE = Coverage(84_934_656, 85_054_464, (Omission("norms and biases", (), 119_808),))


def with_formats(found: SurveyResult, formats: Mapping[str, str]) -> SurveyResult:
    """The int4 points of some scales in float formats of 4 bits in their place, and no other point of these scales."""
    points = tuple(
        replace(p, grid=formats[p.grid], name=f"{p.method}-{formats[p.grid]}") if p.grid in formats else p
        for p in found.points
        if p.grid not in formats or p.bits == 4
    )
    names = {"w", *(p.name for p in points)}
    kept = tuple(s for s in found.segments if {s.a, s.b} <= names)
    return replace(found, points=points, segments=kept)


def landscape(
    well: Well | None = None,
    *,
    model: str = "opt-125m",
    bits: Sequence[int] = (8, 4, 2),
    methods: Sequence[str] = ("rtn", "gptq", "qaft"),
    scales: Sequence[str] = ("exact",),
    external: Sequence[str] = (),
    directions: int = 8,
    windows: int = 8,
    lambdas: Sequence[float] | None = None,
    seed: int = 0,
    plane: bool = False,
    by_kl: bool = False,
) -> SurveyResult:
    """A landscape of that shape; everything in it follows from the arguments."""
    well = well or Well()
    rng = np.random.default_rng(seed)
    names: dict[str, tuple[str, int | None, str | None, float]] = {
        f"{method}-int{b}-{scale}": (method, b, scale, well.radius * SHRINK[b] * (1 + 0.6 * k))
        for k, scale in enumerate(scales) for b in bits for method in methods
    }  # fmt: skip
    names |= {name: (name, None, None, 0.7 * well.radius) for name in external}
    place = {
        name: unit * np.array(OFFSETS.get(method, (1.0, 0.2, 0.1))) for name, (method, _, _, unit) in names.items()
    }
    reach = max([float(np.linalg.norm(x)) for x in place.values()] + [2.5 * well.radius])
    grid = np.array(lambdas if lambdas is not None else np.linspace(0.1, 1.05, 13) * reach)
    tokens = np.full(windows, SEQ_LEN - 1)
    hardness = {split: 1 + 0.02 * rng.standard_normal(windows) + 0.03 * k for k, split in enumerate(SPLITS)}

    def totals(loss: Array, split: str) -> Array:
        """Sums by window, (…, n_w), with a little noise of each window's own."""
        clean = np.asarray(loss)[..., None] * hardness[split]
        return np.asarray(tokens * clean * (1 + 5e-4 * rng.standard_normal(clean.shape)))

    stretch = 1 + well.scatter * rng.standard_normal(directions)
    wobble = rng.standard_normal(directions)[:, None] * well.tilt * 0.3 * np.maximum(0, grid / well.radius - 1.3)
    ray_loss = np.array([well.along(grid, s) for s in stretch]) + wobble
    center = {split: totals(np.array(well.bottom), split) for split in SPLITS}
    radial = {split: totals(ray_loss, split) for split in SPLITS}
    losses = {split: RadialProbes(grid, radial[split], tokens, center[split], well.chance) for split in SPLITS}
    basins = {split: estimate_basin(losses[split]) for split in SPLITS}
    ends = {name: {s: totals(well.at(x[None], names[name][3])[0], s) for s in SPLITS} for name, x in place.items()}
    verdict = basins["validation"]

    def point(name: str) -> PointResult:
        method, width, scale, _ = names[name]
        rise = {split: paired_difference(ends[name][split], center[split], tokens) for split in SPLITS}
        nll = {split: float(ends[name][split].sum() / tokens.sum()) for split in SPLITS}
        away = float(np.linalg.norm(place[name]))
        u = saturation(nll["validation"], verdict.center_nll, verdict.chance)
        word = loss_word(rise["validation"], u)
        rho = ratio(away, verdict.radius)
        return PointResult(
            name, method, width, scale, away, rho, nll, rise, location(away, verdict), word,
            fidelity={s: fidelity_of(away / well.radius, k) for k, s in enumerate(SPLITS)},
            size=None if width is None else ModelSize(width + 0.01, width + 5.5, 10_000_000 * width + 123_456_789),
        )  # fmt: skip

    def segment(a: str, b: str, split: str) -> SegmentResult:
        alphas = np.array([-0.1, *np.linspace(0, 1, 11), 1.1])
        start = place[a] if a != "w" else np.zeros(3)
        x = (1 - alphas[:, None]) * start + alphas[:, None] * place[b]
        sums = totals(well.at(x, names[b][3]), split)
        sums[alphas == 0] = center[split] if a == "w" else ends[a][split]
        sums[alphas == 1] = ends[b][split]
        distances, nll = np.linalg.norm(x, axis=1), sums.sum(1) / tokens.sum()
        kl = 2.0 * (distances / well.radius) ** 2 if by_kl else None
        return SegmentResult(
            a, b, names[b][1], split, alphas, distances, nll, connectivity(alphas, sums, tokens), kl
        )  # fmt: skip

    def drawn(a: str, b: str) -> PlaneResult:
        e1 = place[a] / np.linalg.norm(place[a])
        rest = place[b] - place[b] @ e1 * e1
        e2 = rest / np.linalg.norm(rest)
        spots = {"w": (0.0, 0.0), a: (place[a] @ e1, 0.0), b: (place[b] @ e1, place[b] @ e2)}
        lattice = PlaneLattice.around(PlaneBasis(spots[a][0], spots[b]))

        def loss(x: float, y: float) -> float:
            return float(well.at((x * e1 + y * e2)[None], names[b][3])[0])

        nll = np.array([[loss(x, y) for x in lattice.x] for y in lattice.y])
        heights = {name: loss(*spot) for name, spot in spots.items()}
        return PlaneResult(a, b, names[a][1] or 0, "validation", 4, lattice.x, lattice.y, nll, spots, heights)

    pairs = [("w", name) for name in names] + [
        (a, b)
        for i, a in enumerate(names)
        for b in list(names)[i + 1 :]
        if names[a][1:3] == names[b][1:3] and names[a][1]
    ]
    return SurveyResult(
        subject=SubjectInfo(
            model, "0123abcd" * 8, "float32", 84_934_656, COVERAGE, well.norm, well.chance, "wikitext2", SEQ_LEN,
            dict.fromkeys(SPLITS, windows),
        ),
        center={split: float(center[split].sum() / tokens.sum()) for split in SPLITS},
        basins=basins,
        radii={split: other_radii(losses[split], unigram=0.7 * well.chance) for split in SPLITS},
        split="validation",
        rays=tuple(
            RayProfile(
                i, grid, {split: radial[split][i].sum(1) / tokens.sum() for split in SPLITS},
                {split: 2.0 * (grid / well.radius / stretch[i]) ** 2 for split in SPLITS if by_kl},
            )
            for i in range(directions)
        ),
        points=tuple(point(name) for name in names),
        segments=tuple(segment(a, b, split) for a, b in pairs for split in SPLITS),
        run=RunRecord(
            probes=ProbeCount(total=1234, cached=1000, evaluated=234), seconds=61.25, store="/cache/of/this/machine",
            settings={"directions": directions, "family": f"sphere/seed={seed}", "preset": "quick", "seed": seed},
            health=(),
        ),
        kl_radii={
            split: KLRadius(7.25, replace(basins[split].radius, value=0.96 * basins[split].radius.value))  # type: ignore[operator]
            for split in SPLITS
            if by_kl
        },
        center_size=ModelSize(16.0, 16.0, 250_479_360),
        planes=tuple(drawn(a, a.replace("gptq", "qaft")) for a in names if plane and names[a][0] == "gptq"),
    )  # fmt: skip


def fidelity_of(rho: float, split: int) -> FidelityResult:
    """KL and agreement that follow from ρ, a little worse on the second split, with intervals."""
    kl, agreement = 0.7 * rho**2 * (1 + 0.1 * split), 1 / (1 + rho + 0.05 * split)
    return FidelityResult(Estimate(kl, 0.9 * kl, 1.1 * kl), Estimate(agreement, 0.98 * agreement, 1.01 * agreement))


def smollm2_like(**options: object) -> SurveyResult:
    """Rays that rise far past chance, and steep points: SmolLM2-135M with clipping scales."""
    well = Well(bottom=3.24, top=12.6, chance=10.8, radius=430.0, norm=1992.6, tilt=2.2, scatter=0.04, steep=6.0)
    return landscape(well, model="smollm2-135m", **{"bits": (8, 6, 4, 3, 2), "directions": 4, **options})  # type: ignore[arg-type]


def overflowing() -> SurveyResult:
    """A ray that ends in NaN, a point and a segment that overflow on the validation split."""
    found = landscape()
    ray, validation = found.rays[0], found.rays[0].nll["validation"].copy()
    validation[-1] = math.nan
    rays = (replace(ray, nll={**ray.nll, "validation": validation}), *found.rays[1:])
    point = next(p for p in found.points if p.name == "rtn-int2-exact")
    lost = replace(
        point,
        nll={**point.nll, "validation": math.inf},
        rise={**point.rise, "validation": Estimate(math.inf, -math.inf, math.inf)},
        loss="lost",
    )
    points = tuple(lost if p is point else p for p in found.points)
    segment = next(s for s in found.segments if s.b == point.name and s.split == "validation")
    nll = np.where(segment.alphas >= 1, math.inf, segment.nll)
    ridge = connectivity(segment.alphas, nll[:, None] * [500.0, 500.0], np.array([500, 500]))
    segments = tuple(replace(s, nll=nll, connectivity=ridge) if s is segment else s for s in found.segments)
    return replace(found, rays=rays, points=points, segments=segments)
