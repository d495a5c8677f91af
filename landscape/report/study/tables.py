"""Set the numbers of a study in tables of text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib.metadata import version

from landscape.claims.claim import Claim
from landscape.estimators.intervals import CONFIDENCE
from landscape.formatting import distance_text, interval, nats, number, plural, rise_text
from landscape.report.perplexity_change import change_text
from landscape.report.study.cells import (
    SizeUnit,
    grids,
    is_control,
    method_label,
    rate_text,
    size_unit,
    surveys,
    width_names,
    widths,
)
from landscape.report.study.findings import claim_number
from landscape.report.survey.verdicts import ratio_text
from landscape.report.table import Table, provenance
from landscape.session.request import TEST_SPLIT
from landscape.study.result import ModelStudy, StudyResult
from landscape.survey.result import PointResult, SurveyResult
from quant.size import ModelSize


def study_tables(study: StudyResult) -> list[Table]:
    """Return all tables of the page that have rows; the long ones are folded."""
    makers: list[Callable[[StudyResult], Table]] = [
        point_table, model_table, claim_table, misalignment_table, epoch_table, layer_table, settings_table,
    ]  # fmt: skip
    return [table for make in makers if (table := make(study)).rows]


def perplexity_tables(study: StudyResult) -> list[Table]:
    """Return methods × bit widths with the perplexity on test and its change, one table a model."""
    return [table for model in study.models if (table := _perplexities(model.survey)) is not None]


def _perplexities(survey: SurveyResult) -> Table | None:
    base = survey.center.get(TEST_SPLIT)
    if base is None:
        return None
    cells: dict[str, dict[int, str]] = {}
    aside = []
    for point in survey.points:
        several = f" {point.grid}" if point.grid and len(grids(survey)) > 1 else ""
        if point.bits is None or is_control(point):
            aside.append(f"{point.name} {_perplexity(point)}")
        else:
            cells.setdefault(method_label(point.method) + several, {})[point.bits] = _perplexity(point)
    bits = widths([survey])
    rows = tuple((name, *(line.get(width, "–") for width in bits)) for name, line in cells.items())
    caption = f"Perplexity of {survey.subject.model} on test, and its change against w, which has "
    caption += f"{number(math.exp(base), 4)}" + "".join(f"; {each}" for each in aside) + "."
    return Table(caption, ("method", *width_names(bits, [survey])), rows) if rows else None


def _perplexity(point: PointResult) -> str:
    if TEST_SPLIT not in point.nll or TEST_SPLIT not in point.rise:
        return "–"
    nll = point.nll[TEST_SPLIT]
    value = number(math.exp(nll), 4) if nll < 700 else "∞"  # nothing above is a float; NaN stays what it is
    return f"{value} ({change_text(point.rise[TEST_SPLIT])})" if math.isfinite(nll) else "overflowed"


def point_table(study: StudyResult) -> Table:
    """Return perplexity, size, KL and place of every point."""
    unit = size_unit(surveys(study))
    header = (
        "model", "point", "NLL test", "perplexity", "ΔL test", "perplexity, %", unit.name, "bits per weight", "KL",
        "same choice", "ρ", "location", "loss",
    )  # fmt: skip
    rows = tuple(row for model in study.models for row in _point_rows(model.survey, unit))
    caption = (
        "Every point on test. NLL, ΔL = L(point) − L(w) and KL(w ‖ point) in nats per token; perplexity is exp(NLL) "
        f"per token; location and loss are judged on validation. Brackets are {CONFIDENCE:.0%} intervals."
    )
    return Table(caption, header, rows, frozenset({0, 1, 11, 12}), wide=True)


def _point_rows(survey: SurveyResult, unit: SizeUnit) -> Iterator[tuple[str, ...]]:
    model, base = survey.subject.model, survey.center.get(TEST_SPLIT)
    if base is not None:
        perplexity = number(math.exp(base), 4)
        yield (model, "w", nats(base), perplexity, "–", "–", *_size(survey.center_size, unit), "–", "–", "–", "–", "–")
    for point in survey.points:
        rho = ratio_text(point, survey.basin) if point.rho else "–"
        numbers = (*_losses(point), *_size(point.size, unit), *_fidelity(point))
        yield (model, point.name, *numbers, rho, point.location, point.loss)


def _losses(point: PointResult) -> tuple[str, str, str, str]:
    nll, rise = point.nll.get(TEST_SPLIT), point.rise.get(TEST_SPLIT)
    if nll is None or rise is None:
        return ("–",) * 4
    perplexity = number(math.exp(nll), 4) if math.isfinite(nll) and nll < 700 else "∞"
    change = (
        f"{math.expm1(rise.value):+.1%}".replace("-", "−") if math.isfinite(rise.value) and rise.value < 50 else "∞"
    )
    return nats(nll), perplexity, rise_text(rise), change


def _size(size: ModelSize | None, unit: SizeUnit) -> tuple[str, str]:
    return ("–", "–") if size is None else (number(size.gigabytes * unit.per_gb, 3), number(size.space_bits, 3))


def _fidelity(point: PointResult) -> tuple[str, str]:
    found = point.fidelity.get(TEST_SPLIT)
    if found is None:
        return "–", "–"
    return interval(found.kl, nats(found.kl.value), "no interval"), f"{found.agreement.value:.1%}"


def model_table(study: StudyResult) -> Table:
    """Return subject, identity and basin, one row a model."""
    header = ("model", "D", "‖w‖", "R", "R/‖w‖", "r10", "r90", "L(w) validation", "ln|V|", "text", "fingerprint")

    def row(model: ModelStudy) -> tuple[str, ...]:
        survey, basin = model.survey, model.survey.basin
        subject = survey.subject
        return (
            subject.model, f"{subject.dimension:,}", number(subject.norm), distance_text(basin.radius, basin),
            distance_text(basin.radius, basin, subject.norm), distance_text(basin.r10, basin),
            distance_text(basin.r90, basin), nats(basin.center_nll), nats(subject.chance), subject.data,
            subject.fingerprint,
        )  # fmt: skip

    caption = f"The models and their basins. Distances are ℓ2; brackets are {CONFIDENCE:.0%} intervals."
    return Table(caption, header, tuple(map(row, study.models)), frozenset({0, 9, 10}), wide=True)


def claim_table(study: StudyResult) -> Table:
    """Return every case of the claims on the landscape."""
    rows = tuple(
        (str(c.number), model.name, _case(c), c.verdict, c.measure, claim_number(c), c.note)
        for model in study.models for c in model.claims
    )  # fmt: skip
    header = ("claim", "model", "case", "verdict", "measure", "number", "note")
    return Table("The claims of §4.3, case by case", header, rows, frozenset(range(7)), folded=True)


def misalignment_table(study: StudyResult) -> Table:
    """Return M and the raw gap of every grid on test."""
    rows = tuple(
        (model.name, m.grid, m.control, rise_text(m.net[TEST_SPLIT]), rise_text(m.raw[TEST_SPLIT]))
        for model in study.models for m in model.survey.misalignments if TEST_SPLIT in m.net
    )  # fmt: skip
    caption = "Misalignment M on test, and L(GPTQ) − L(QAFT), nats per token"
    return Table(
        caption, ("model", "grid", "control", "M", "L(GPTQ) − L(QAFT)"), rows, frozenset({0, 1, 2}), folded=True
    )


def epoch_table(study: StudyResult) -> Table:
    """Return all epochs of all trainings."""
    rows = tuple(
        (
            model.name, p.name, "–" if e.rate is None else rate_text(e.rate), str(e.epoch), _nats(e.validation_nll),
            _nats(e.test_nll), _nats(e.training_nll), "kept" if e == p.training.chosen else "",
        )
        for model in study.models for p in model.survey.points if p.training for e in p.training.epochs
    )  # fmt: skip
    header = ("model", "point", "rate", "epoch", "NLL validation", "NLL test", "NLL of the steps", "")
    return Table("All epochs of the trainings", header, rows, frozenset({0, 1, 7}), folded=True)


def layer_table(study: StudyResult) -> Table:
    """Return every matrix at every point."""
    rows = tuple(
        (
            model.name, p.name, layer.name, number(layer.distance / layer.norm, 3) if layer.norm else "–",
            *(_short(layer.error.get(split)) for split in ("train", "test")),
            *map(_short, (layer.damping, layer.zeros, layer.clipped)),
        )
        for model in study.models for p in model.survey.points for layer in p.layers
    )  # fmt: skip
    header = (
        "model",
        "point",
        "matrix",
        "‖ΔW‖/‖W‖",
        "‖ΔW x‖²/n train",
        "‖ΔW x‖²/n test",
        "damping",
        "zeros",
        "clipped",
    )
    return Table("Every matrix at every point", header, rows, frozenset({0, 1, 2}), folded=True)


def settings_table(study: StudyResult) -> Table:
    """Return settings and versions."""
    rows = [(name, _listed(value)) for name, value in study.settings.items()]
    rows.append(("drawn with", f"quant-landscape {version('quant-landscape')}"))
    for model in study.models:
        subject, run = model.survey.subject, model.survey.run
        windows = ", ".join(f"{split} {count}" for split, count in subject.windows.items())
        rows.append((f"{model.name}: dtype, windows", f"{subject.dtype}, {windows} of {subject.seq_len} tokens"))
        rows.append((f"{model.name}: fingerprint", subject.fingerprint))
        rows.append((f"{model.name}: evaluations", f"{run.probes.total:,}"))
        rows += [(f"{model.name}: {name}", _listed(value)) for name, value in run.settings.items()]
    return provenance(rows)


def failure_table(study: StudyResult) -> Table:
    """Return the cells without a result."""
    rows = tuple((f.model, f.cell, f.reason) for f in study.failures)
    return Table("Cells without a result.", ("model", "cell", "reason"), rows, frozenset({0, 1, 2}))


def subject_sentences(study: StudyResult) -> list[str]:
    """Say what was studied."""
    points = sum(len(model.survey.points) for model in study.models)
    names = ", ".join(model.name for model in study.models)
    failed = f" {plural(len(study.failures), 'cell')} without a result: see below." if study.failures else ""
    return [f"{plural(len(study.models), 'model')} ({names}), {plural(points, 'point')}.{failed}"]


def _case(claim: Claim) -> str:
    return f"{claim.case} (aside)" if claim.aside else claim.case


def _nats(value: float | None) -> str:
    return "–" if value is None else nats(value)


def _short(value: float | None) -> str:
    return "–" if value is None else number(value, 3)


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
