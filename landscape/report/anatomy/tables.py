"""Set the numbers of an anatomy in tables of text, the same on the page and in the terminal."""

from __future__ import annotations

from landscape.anatomy.bit_plan import FLOAT_BITS
from landscape.anatomy.request import Grouping
from landscape.anatomy.result import AnatomyResult
from landscape.formatting import nats, number, rise_text
from landscape.positions.parts import PARTS
from landscape.report.anatomy.names import group_name, members_name
from landscape.report.anatomy.plan_wording import WHY_FUSED, joins, plan_goal
from landscape.report.anatomy.wording import (
    PART_NAMES,
    STEP_NAMES,
    SYMBOLS,
    grouping_name,
    radius_text,
    rho_text,
    spent_text,
    within_text,
)
from landscape.report.table import Table, provenance


def anatomy_tables(found: AnatomyResult) -> list[Table]:
    """Return all tables of the page, the most useful ones first."""
    tables = [*terminal_tables(found), bits_table(found), provenance_table(found)]
    return [table for table in tables if table.rows]


def terminal_tables(found: AnatomyResult) -> list[Table]:
    """Return the tables that the terminal prints too."""
    tables = [waterfall_table(found), parts_table(found)]
    tables += [group_table(found, grouping) for grouping in found.anatomy.groups]
    tables += [clipping_table(found), restoration_table(found), plan_table(found)]
    return [table for table in tables if table.rows]


def waterfall_table(found: AnatomyResult) -> Table:
    """Return R, ρ, what each step adds, and random steps of the length of Δw, one row per step."""
    rows, before = [], 0.0
    for step in found.waterfall.steps:
        added = "–" if step.rho is None else number(step.rho.value - before, 2)
        before = before if step.rho is None else step.rho.value
        matched = step.matched
        rows.append((
            f"{SYMBOLS[step.kind]}: {STEP_NAMES[step.kind]}",
            radius_text(step.radius, found), rho_text(step, found), added,
            "–" if matched is None else rise_text(matched.interval),
            "–" if matched is None else nats(matched.spread),
            "–" if matched is None else number(matched.multiple(found.waterfall.rise), 3),
        ))  # fmt: skip
    header = (
        "what is shared with Δw",
        "R",
        "‖Δw‖/R",
        "added",
        "ΔL of random steps",
        "their spread",
        "point, in spreads",
    )
    caption = (
        f"The waterfall: ‖Δw‖ = {number(found.waterfall.distance)} over R along directions more and more like Δw, and "
        "what random ones of that length cost. Last column: the ΔL of the point above theirs, in units of their spread."
    )
    return Table(caption, header, tuple(rows), frozenset({0}), wide=True)


def parts_table(found: AnatomyResult) -> Table:
    """Return the shares of shrinkage, rounding and clipping in ‖Δw‖², and what they cost."""
    anatomy, total = found.anatomy, found.anatomy.total
    rows = [("all of Δw", number(anatomy.whole.distance), "1", rise_text(anatomy.whole.rise), "–", "–")]
    for part in PARTS:
        saved = anatomy.saved[part]
        rows.append((
            PART_NAMES[part], number(total.norm(part)), number(total.share(part), 3),
            rise_text(anatomy.alone[part].rise), rise_text(anatomy.undone[part].rise),
            "overflowed" if saved is None else rise_text(saved),
        ))  # fmt: skip
    header = ("part", "norm", "share of ‖Δw‖²", "ΔL alone on w", "ΔL left when undone", "saved by undoing it")
    caption = (
        f"The parts of Δw; {total.clipped:,} of {total.weights:,} weights are clipped, the others shrink by "
        f"{number(100 * total.shrinkage, 3)} % in the mean. Losses in nats per token, over {found.split} windows."
    )
    return Table(caption, header, tuple(rows), frozenset({0}), wide=True)


def group_table(found: AnatomyResult, grouping: Grouping) -> Table:
    """Return ΔL of each group's Δw alone on w, costliest first, and ‖Δw_l‖/R_l where it was measured."""
    name = grouping_name(grouping)
    radii = {radius.slots: radius for radius in found.layers.get(grouping, ())}
    rows = []
    for effect in found.anatomy.groups[grouping]:
        row = [group_name(effect.slots), number(effect.distance), rise_text(effect.rise)]
        if radii:
            one = radii[effect.slots]
            row += [radius_text(one.radius, found), spent_text(one, found)]
        rows.append(tuple(row))
    added = found.anatomy.additivity[grouping]
    excess = "unknown, since one overflowed" if added.excess is None else rise_text(added.excess)
    header = (name, "‖Δw_l‖", "ΔL alone on w", *(("R_l", "‖Δw_l‖/R_l") if radii else ()))
    caption = (
        f"Each {name}'s Δw alone on w, costliest first. Together {rise_text(added.whole)}, the sum of all rows "
        f"{rise_text(added.sum)}; the whole costs {excess} more than the sum."
    )
    return Table(caption, header, tuple(rows), frozenset({0}), folded=grouping == "tensor", wide=bool(radii))


def clipping_table(found: AnatomyResult) -> Table:
    """Return ΔL of the clipping of each tensor alone on w."""
    statistics = found.anatomy.statistics
    rows = tuple(
        (
            group_name(effect.slots), f"{statistics[effect.slots].clipped:,}", f"{statistics[effect.slots].weights:,}",
            number(effect.distance, 4), rise_text(effect.rise),
        )
        for effect in found.clipping
    )  # fmt: skip
    header = ("tensor", "clipped", "of weights", "norm of the clipping", "ΔL alone on w")
    return Table("The clipping of each tensor alone on w, costliest first.", header, rows, frozenset({0}), folded=True)


def restoration_table(found: AnatomyResult) -> Table:
    """Return what is left of ΔL when the clipping of the costliest tensors is undone."""
    rows = tuple(
        (
            str(count), rise_text(effect.rise), within_text(effect.rise, found.limit),
            rise_text(found.held_out[count]),
        )
        for count, effect in found.restored.items()
    )  # fmt: skip
    header = ("tensors undone", "ΔL left", f"within {found.limit.text}", "ΔL left, test")
    caption = (
        f"The point with the clipping of the costliest tensors undone. Undisturbed, its ΔL is {rise_text(found.rise)}, "
        f"{rise_text(found.held_out[0])} on test; the limit is {nats(found.limit.nats)}. The {found.split} windows "
        "ranked the tensors, so that losses there are optimistic; the test windows ranked nothing."
    )
    return Table(caption, header, rows, frozenset({2}))


def plan_table(found: AnatomyResult) -> Table:
    """Return the plan beside one bit width throughout."""
    plan = found.plan
    if plan is None:
        return Table("", (), ())
    splits = list(plan.checks)
    mixed = ("mixed precision", f"{plan.bytes:,}", number(plan.mean_bits, 3), nats(plan.predicted, True))
    rows = [(*mixed, *(rise_text(plan.checks[split].whole) for split in splits))]
    rows += [
        (
            u.name, f"{u.bytes:,}", number(8 * u.bytes / plan.weights, 3), "–",
            *(rise_text(u.rise[split]) for split in splits),
        )
        for u in plan.uniform
    ]  # fmt: skip
    header = ("point", "bytes", "bits per weight", "ΔL predicted", *(f"ΔL measured, {split}" for split in splits))
    caption = (
        f"{plan_goal(plan)}, beside one bit width throughout. It is chosen on {splits[0]} windows, where each tensor's "
        f"ΔL counts with one standard error added; 16 bits take {plan.float_bytes:,} bytes."
    )
    return Table(caption, header, tuple(rows), frozenset({0}), wide=True)


def bits_table(found: AnatomyResult) -> Table:
    """Return the bits of each tensor, or of each group of tensors that were given one bit width."""
    plan = found.plan
    if plan is None:
        return Table("", (), ())
    rows = tuple((members_name(group), _width(plan.bits[group[0]])) for group in plan.groups)
    caption = "The bits of each tensor in the plan" + (f". {WHY_FUSED}" if joins(plan) else "")
    return Table(caption, ("tensors" if joins(plan) else "tensor", "bits"), rows, frozenset({0}), folded=True)


def provenance_table(found: AnatomyResult) -> Table:
    """Return what was measured, and how."""
    subject = found.subject
    rows = [
        ("model", subject.model),
        ("fingerprint of its weights and configuration", subject.fingerprint),
        ("dtype", subject.dtype),
        ("point", found.point),
        ("text", subject.data),
        ("tokens per window", str(subject.seq_len)),
        ("windows", ", ".join(f"{split} {count}" for split, count in subject.windows.items())),
        (
            "articles of the windows",
            ", ".join(f"{split} {'not known' if n is None else n}" for split, n in found.articles.items()),
        ),
        ("evaluations (position × window)", f"{found.run.probes.total:,}"),
        *((str(name), str(value)) for name, value in found.run.settings.items()),
    ]
    return provenance(rows)


def _width(bits: int) -> str:
    return "16 (left as it is)" if bits == FLOAT_BITS else str(bits)
