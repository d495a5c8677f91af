"""Say what an anatomy found, in the sentences that the terminal and the page begin with."""

from __future__ import annotations

import math

from landscape.anatomy.effects import Effect
from landscape.anatomy.layer_radii import LayerRadius
from landscape.anatomy.request import Grouping
from landscape.anatomy.result import AnatomyResult
from landscape.anatomy.waterfall import Kind, WaterfallStep
from landscape.estimators.crossing import Crossing
from landscape.estimators.intervals import CONFIDENCE, Estimate
from landscape.estimators.location import Location, WithinLimit, limit_word
from landscape.estimators.loss_limit import Limit
from landscape.formatting import crossing_text, interval, nats, number, rise_text, why_unbounded, windows_text
from landscape.positions.parts import Part
from landscape.report.anatomy.names import group_name
from landscape.report.anatomy.plan_wording import plan_sentences
from landscape.report.survey.verdicts import two_words

PART_NAMES: dict[Part, str] = {"shrink": "shrinkage", "round": "rounding", "clip": "clipping"}
STEP_NAMES: dict[Kind, str] = {
    "sphere": "its length",
    "profile": "its allocation over the tensors",
    "shrink": "its shrinkage",
    "along": "the rest: its clipping, and the single weights it moves",
}
"""The properties of Δw that spend the radius, step by step."""
SYMBOLS: dict[Kind, str] = {"sphere": "ρ", "profile": "ρ_prof", "shrink": "ρ_shrink", "along": "ρ_Δ"}
READING = (
    "The waterfall: ‖Δw‖/R with R along directions that share more and more with Δw. The first bar shares the length "
    "of Δw alone, the second also its spread over the tensors, the third also how much it shrinks each of them; the "
    "last is Δw itself. Each step shows how much of the radius its property spends; 1 is the rim, where the loss is "
    "halfway to chance.",
    "The last bar restates the loss at the point on a monotone line; it describes, and predicts nothing.",
    "The location is judged by random directions probed at the very length of Δw: inside where all of the interval of "
    "their mean u, the share of the way from L(w) to chance, is below a tenth, outside where it is above nine tenths. "
    "The page of landscape probe judges by the intervals of r10 and r90 instead, which few windows widen.",
    "Random steps of the same length: each dot is one direction of that family at the distance of the point.",
    "A part or a group alone is added to w; a part undone is taken out of the point. Where parts interact, the two "
    "differ. A part is to blame only if undoing it lowers the loss by more than the choice of windows explains.",
    "Clipping: the cost of each tensor's clipping alone, and ΔL left when the clipping of the costliest is undone. "
    "Tensors were ranked on the validation windows, so that losses there are optimistic; test windows ranked nothing.",
)
_LEVELS: dict[Location, str] = {
    "inside": "below a tenth",
    "border": "between a tenth and nine tenths",
    "outside": "above nine tenths",
    "unresolved": "the interval reaches across a tenth or nine tenths",
}
"""Place of u at ‖Δw‖ among the levels of ``landscape.estimators.location.location_at``, by location."""
_WITHIN: dict[WithinLimit, str] = {"kept": "yes", "inconclusive": "inconclusive", "degraded": "no"}
_MANY = 2  # directions: an anatomy has two at least, so that they are never why an interval is unbounded
_NAMED = 8  # tensors named in a sentence


def title(found: AnatomyResult) -> str:
    """Write the finding in one line."""
    return f"{found.subject.model}, {found.point}: {_place(found)}"


def finding(found: AnatomyResult) -> list[str]:
    """Report the finding in a few sentences, the point first."""
    said = [_where(found), _against_random(found), _blame(found)]
    said += [text for text in (_restoration(found), _layers(found)) if text]
    return said + ([] if found.plan is None else list(plan_sentences(found.plan)))


def subject_sentences(found: AnatomyResult) -> list[str]:
    """Name the model, the text and the loss at w."""
    subject = found.subject
    windows = "; ".join(
        f"{split}: {windows_text(count, found.articles[split])}" for split, count in subject.windows.items()
    )
    return [
        f"{subject.model}: D = {subject.dimension:,}, ‖w‖ = {number(subject.norm)}; {subject.coverage.sentence}.",
        f"Text: {subject.data}, windows of {subject.seq_len} tokens ({windows}). NLL at w: {nats(found.center_nll)} on "
        f"{found.split}, in nats per token; a uniform guess scores ln|V| = {nats(subject.chance)} (chance). Brackets "
        f"are {CONFIDENCE:.0%} intervals.",
    ]


def radius_text(radius: Crossing, found: AnatomyResult) -> str:
    """Write R along the directions of a step, or of some of the tensors."""
    split = found.split
    return crossing_text(radius, _MANY, found.subject.windows[split], articles=found.articles[split])


def rho_text(step: WaterfallStep, found: AnatomyResult) -> str:
    """Write ‖Δw‖/R of a step; an upper bound where R is censored."""
    if step.rho is None:
        bound = found.waterfall.distance / step.radius.low if step.radius.low > 0 else math.inf
        return f"less than {number(bound, 2)}" if math.isfinite(bound) else "not bounded"
    return interval(step.rho, number(step.rho.value, 3), _unbounded(found))


def spent_text(radius: LayerRadius, found: AnatomyResult) -> str:
    """Write ‖Δw_l‖/R_l; an upper bound where R_l is censored."""
    if radius.rho is None:
        return f"less than {number(radius.rho_bound, 2)}" if math.isfinite(radius.rho_bound) else "not bounded"
    return interval(radius.rho, number(radius.rho.value, 2), _unbounded(found))


def within_text(rise: Estimate, limit: Limit) -> str:
    """Say whether a ΔL is within a limit: yes, no or inconclusive."""
    return _WITHIN[limit_word(rise, limit.nats)]


def grouping_name(grouping: Grouping) -> str:
    """Name one group of a grouping."""
    return {"block": "block", "type": "matrix type", "tensor": "tensor"}[grouping]


def _unbounded(found: AnatomyResult) -> str:
    """Say why a ratio has no interval."""
    return why_unbounded(_MANY, found.subject.windows[found.split], found.articles[found.split])


def _place(found: AnatomyResult) -> str:
    """Write ``inside, degraded: near but steep``."""
    return two_words(found.location, found.loss, found.point.startswith("rtn-"), found.steep)


def _where(found: AnatomyResult) -> str:
    sphere = found.waterfall.steps[0]
    away = f"at {rho_text(sphere, found)} R, {number(found.waterfall.distance / found.subject.norm, 3)} ‖w‖"
    return f"{found.point} lies {away} from w: {_place(found)}. {_judged_by(found)}"


def _judged_by(found: AnatomyResult) -> str:
    """Say what the location was judged by, which is neither ‖Δw‖/R nor the band."""
    u = found.typical_u
    rise = interval(u, f"u = {number(u.value, 2)}", _unbounded(found))
    return (
        f"Its location is judged by random steps of that length, which rise by {rise} of the way to chance: "
        f"{_LEVELS[found.location]}."
    )


def _against_random(found: AnatomyResult) -> str:
    said = f"ΔL = {rise_text(found.rise)} nats per token; random directions of that length: {rise_text(found.typical)}"
    matched = found.waterfall.steps[0].matched
    assert matched is not None  # of the sphere, which is random
    multiple = matched.multiple(found.waterfall.rise)
    side = "above" if multiple > 0 else "below"
    return f"{said}, so the point lies {number(abs(multiple), 2)} times their spread {side} them."


def _blame(found: AnatomyResult) -> str:
    culprit, windows = found.anatomy.culprit, found.subject.windows[found.split]
    if culprit is None:
        if any(saved is None for saved in found.anatomy.saved.values()):
            return "No part of Δw can be blamed: the model's output overflowed at one of them."
        if windows < 2 or found.articles[found.split] == 1:
            if windows < 2:
                return "No part of Δw can be blamed: one window gives no interval; use more --windows."
            return (
                f"No part of Δw can be blamed: {windows} windows of one article give no interval; use a text of "
                "several articles, or so many --windows that they reach into another."
            )
        return (
            "No part of Δw is to blame: undoing none of its shrinkage, rounding and clipping lowers the loss by more "
            "than the choice of windows explains."
        )
    saved = found.anatomy.saved[culprit]
    assert saved is not None  # an overflow is no culprit
    what = PART_NAMES[culprit].capitalize()
    if culprit == "clip":
        what += f" of {number(found.clipped_per_million, 2)} weights in a million"
    return (
        f"{what} costs {rise_text(saved)} of these {nats(found.rise.value, True)} nats: so much is saved by undoing it."
    )


def _restoration(found: AnatomyResult) -> str:
    """Say in how many tensors clipping must be undone, where clipping is to blame."""
    if found.anatomy.culprit != "clip" or not found.restored:
        return ""
    limit = f"the limit {found.limit.text} ({nats(found.limit.nats)})"
    if found.enough == 0:
        return f"ΔL is within {limit} as it is."
    undone = _undone(found)
    if undone is None:
        last, left = max(found.restored.items())
        return f"Undoing it in all {last} tensors that clip leaves ΔL = {rise_text(left.rise)}, still beyond {limit}."
    left_over = rise_text(found.restored[undone].rise)
    said = (
        f"leaves ΔL = {left_over}: inconclusive, its interval reaches across {limit}; more --windows may settle it"
        if found.enough is None
        else f"restores the loss: ΔL = {left_over} is left, within {limit}"
    )
    return (
        f"Undoing it in {undone} of {len(found.clipping)} tensors that clip ({_listed(found.clipping[:undone])}) "
        f"{said}. On test windows, which ranked nothing: {rise_text(found.held_out[undone])} of "
        f"{rise_text(found.held_out[0])}."
    )


def _undone(found: AnatomyResult) -> int | None:
    """Choose the count of tensors to report: enough, or where none is, the least costly that may be; else None."""
    if found.enough is not None:
        return found.enough
    rises = {count: left.rise for count, left in found.restored.items()}
    unclear = [count for count, rise in rises.items() if limit_word(rise, found.limit.nats) == "inconclusive"]
    within = (count for count in unclear if rises[count].value <= found.limit.nats)
    return next(within, min(unclear, key=lambda count: rises[count].value, default=None))


def _layers(found: AnatomyResult) -> str:
    """Say which block and which type spend most of their own radius."""
    most = [(by, rows[0]) for by, rows in found.layers.items() if rows and rows[0].rho is not None]
    said = [f"{group_name(row.slots)} ({spent_text(row, found)} of its R_l)" for _, row in most]
    return f"Δw spends most of the radius of {' and of '.join(said)}." if said else ""


def _listed(effects: tuple[Effect, ...]) -> str:
    names = [group_name(effect.slots) for effect in effects[:_NAMED]]
    return ", ".join(names) + (f" and {len(effects) - _NAMED} more" if len(effects) > _NAMED else "")
