"""Lay out the models of a result: one row a model, and one a model and split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from landscape.estimators.perplexity import perplexity
from landscape.session.request import SPLITS
from landscape.survey.result import SurveyResult
from landscape.tables.column import L2, NATS, Row, column, crossing_cells, estimate_cells, high_end, low_end
from quant.errors import UsageError
from quant.size import ModelSize


@dataclass(frozen=True, kw_only=True)
class ModelRow(Row):
    """One model: its identity, its weight space, and its basin on the split that points are judged on."""

    model: str = column("Name that the user gave.")
    fingerprint: str = column("Hash of the weights and the configuration.")
    dtype: str = column("Precision of the evaluation.")
    data: str = column("Name of the text.")
    seq_len: int = column("Length of a window.", "tokens")
    dimension: int = column("D, the number of weights in the weight space.")
    block_weights: int = column("Number of weights in the decoder blocks, those outside of the weight space included.")
    norm: float = column("‖w‖, the norm of the weights.", L2)
    chance: float = column("ln|V|, the NLL of a uniform guess.", NATS)
    split: str = column("Split that R, location and loss are judged on.")
    directions: int = column("Number of random directions.")
    radius: float | None = column("R, where the mean loss is halfway from L(w) to chance; empty if not reached.", L2)
    radius_low: float = low_end("R; a lower bound where R was not reached", L2)
    radius_high: float = high_end("R", L2)
    r10: float | None = column("Inner edge of the border, a tenth of the way to chance; empty if not reached.", L2)
    r10_low: float = low_end("r10; a lower bound where it was not reached", L2)
    r10_high: float = high_end("r10", L2)
    r90: float | None = column("Outer edge of the border, nine tenths of the way; empty if not reached.", L2)
    r90_low: float = low_end("r90; a lower bound where it was not reached", L2)
    r90_high: float = high_end("r90", L2)
    kl_radius: float | None = column("R_kl, R by KL(w ‖ position); empty if not reached or not probed by KL.", L2)
    kl_radius_low: float | None = low_end("R_kl; a lower bound where it was not reached", L2)
    kl_radius_high: float | None = high_end("R_kl", L2)
    nll_train: float | None = column("L(w) on the training split.", NATS)
    nll_validation: float | None = column("L(w) on the validation split.", NATS)
    nll_test: float | None = column("L(w) on the test split.", NATS)
    space_bits: float | None = column("Bits per weight of the weight space at w.", "bits")
    model_bits: float | None = column("Bits per parameter of the whole model at w.", "bits")
    bytes: int | None = column("Size of the whole model at w.", "bytes")


@dataclass(frozen=True, kw_only=True)
class SplitRow(Row):
    """One model on one split: L(w), and the basin if directions were probed there."""

    model: str = column("Name that the user gave.")
    split: str = column("Split of the text.")
    windows: int | None = column("Number of windows.")
    articles: int | None = column("Number of articles that the windows come from; empty if not known.")
    nll: float = column("L(w).", NATS)
    perplexity: float = column("exp L(w), per token.")
    radius: float | None = column("R on this split; empty if not reached or not probed.", L2)
    radius_low: float | None = low_end("R; a lower bound where R was not reached", L2)
    radius_high: float | None = high_end("R", L2)
    r10: float | None = column("Inner edge of the border on this split.", L2)
    r10_low: float | None = low_end("r10; a lower bound where it was not reached", L2)
    r10_high: float | None = high_end("r10", L2)
    r90: float | None = column("Outer edge of the border on this split.", L2)
    r90_low: float | None = low_end("r90; a lower bound where it was not reached", L2)
    r90_high: float | None = high_end("r90", L2)
    kept_radius: float | None = column("Where the perplexity is 5 % higher.", L2)
    kept_radius_low: float | None = low_end("kept_radius; a lower bound where it was not reached", L2)
    kept_radius_high: float | None = high_end("kept_radius", L2)
    inflection_radius: float | None = column("Where the loss rises most steeply.", L2)
    inflection_radius_low: float | None = low_end("inflection_radius", L2)
    inflection_radius_high: float | None = high_end("inflection_radius", L2)
    quadratic_radius: float | None = column("Where the parabola fitted near w is halfway to chance.", L2)
    quadratic_radius_low: float | None = low_end("quadratic_radius", L2)
    quadratic_radius_high: float | None = high_end("quadratic_radius", L2)
    unigram_radius: float | None = column("Halfway to the entropy of single tokens.", L2)
    unigram_radius_low: float | None = low_end("unigram_radius; a lower bound where it was not reached", L2)
    unigram_radius_high: float | None = high_end("unigram_radius", L2)
    unigram_entropy: float | None = column("Entropy of the single tokens of the text.", NATS)
    kl_radius: float | None = column("R_kl on this split; empty if not reached or not probed by KL.", L2)
    kl_radius_low: float | None = low_end("R_kl; a lower bound where it was not reached", L2)
    kl_radius_high: float | None = high_end("R_kl", L2)
    kl_reference: float | None = column("KL(w ‖ uniform), whose half defines R_kl.", NATS)


def model_rows(found: SurveyResult) -> Iterator[ModelRow]:
    """Yield the row of the model."""
    subject, basin = found.subject, found.basin
    kl = found.kl_radii.get(found.split)
    yield ModelRow(
        model=subject.model,
        fingerprint=subject.fingerprint,
        dtype=subject.dtype,
        data=subject.data,
        seq_len=subject.seq_len,
        dimension=subject.dimension,
        block_weights=subject.coverage.total,
        norm=subject.norm,
        chance=subject.chance,
        split=found.split,
        directions=basin.directions,
        **crossing_cells("radius", basin.radius),
        **crossing_cells("r10", basin.r10),
        **crossing_cells("r90", basin.r90),
        **crossing_cells("kl_radius", kl.radius if kl else None),
        **_center_nll(found.center),
        **size_cells(found.center_size),
    )


def split_rows(found: SurveyResult) -> Iterator[SplitRow]:
    """Yield a row for each split that w was evaluated on."""
    for split, nll in found.center.items():
        basin, radii, kl = found.basins.get(split), found.radii.get(split), found.kl_radii.get(split)
        unigram = radii.unigram if radii else None
        yield SplitRow(
            model=found.subject.model,
            split=split,
            windows=found.subject.windows.get(split),
            articles=basin.articles if basin else None,
            nll=float(nll),
            perplexity=perplexity(nll),
            **crossing_cells("radius", basin.radius if basin else None),
            **crossing_cells("r10", basin.r10 if basin else None),
            **crossing_cells("r90", basin.r90 if basin else None),
            **crossing_cells("kept_radius", radii.kept if radii else None),
            **estimate_cells("inflection_radius", radii.inflection if radii else None),
            **estimate_cells("quadratic_radius", radii.quadratic if radii else None),
            **crossing_cells("unigram_radius", unigram.radius if unigram else None),
            unigram_entropy=unigram.reference if unigram else None,
            **crossing_cells("kl_radius", kl.radius if kl else None),
            kl_reference=kl.reference if kl else None,
        )


def size_cells(size: ModelSize | None) -> dict[str, Any]:
    """Return the columns of a size; empty without one."""
    names = ("space_bits", "model_bits", "bytes")
    return {name: None if size is None else getattr(size, name) for name in names}


def _center_nll(center: Mapping[str, float]) -> dict[str, Any]:
    if unknown := set(center) - set(SPLITS):
        raise UsageError(f"expected splits from {', '.join(SPLITS)} in the result, got {', '.join(sorted(unknown))}")
    return {f"nll_{split}": float(center[split]) if split in center else None for split in SPLITS}
