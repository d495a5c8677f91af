"""Draw the anatomy: which property of Δw spends how much of the basin, and which parts and tensors cost the loss.

Colours are those of ``landscape.report.palette``; bars that stand for different things differ in their pattern as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from landscape.anatomy.effects import Effect
from landscape.anatomy.result import AnatomyResult
from landscape.estimators.intervals import Estimate
from landscape.formatting import nats, number, rise_text
from landscape.positions.parts import PARTS
from landscape.report import palette
from landscape.report.anatomy.names import group_name
from landscape.report.anatomy.wording import (
    PART_NAMES,
    STEP_NAMES,
    SYMBOLS,
    grouping_name,
    rho_text,
)
from landscape.report.plot import AXIS, BLANK, Cell, Figure, fitted, literal
from landscape.session.request import TEST_SPLIT

HEIGHT = 300
"""Height of a panel, in pixels; a ranking is as high as its rows."""
SHOWN = 15
"""Rows of a ranking that are drawn; the tables hold the others."""
_ROW = 26  # pixels
_STEPS = {"sphere": palette.BLUE, "profile": palette.SKY, "shrink": palette.ORANGE, "along": palette.VERMILLION}
_PATTERNS = {"sphere": "", "profile": "/", "shrink": ".", "along": "x"}
_UPRIGHT: dict[str, Any] = {"tickangle": 0, "automargin": True, "showgrid": False}
"""Options of an axis of words: Plotly would turn them where they are long."""
_SYMBOLS = {"sphere": "circle", "profile": "diamond", "shrink": "square"}
_LABELS = {
    "sphere": "its length<br><b>ρ</b>",
    "profile": "+ allocation<br>over tensors<br><b>ρ<sub>prof</sub></b>",
    "shrink": "+ shrinkage<br><b>ρ<sub>shrink</sub></b>",
    "along": "+ sparse<br>clipping,<br>the rest<br><b>ρ<sub>Δ</sub></b>",
}


def waterfall_figure(found: AnatomyResult) -> Figure:
    """Draw ρ → ρ_prof → ρ_shrink → ρ_Δ as steps with intervals, and the rim at 1. Censored steps have no bar."""
    known = [step for step in found.waterfall.steps if step.rho is not None]
    figure, before = Figure(), 0.0
    texts: list[str] = []
    tops: list[float] = []
    for step in known:
        assert step.rho is not None  # they are those that are known
        value = step.rho.value
        change = f"<br>({'+' if value >= before else '−'}{number(abs(value - before), 2)})" if texts else ""
        tops.append(max(value, before, step.rho.high if math.isfinite(step.rho.high) else value))
        texts.append(f"<b>{number(value, 2)}</b>{change}")
        figure.add_bar(
            x=[_LABELS[step.kind]], y=[value - before], base=[before], width=0.6, name=STEP_NAMES[step.kind],
            marker=_bar(_STEPS[step.kind], _PATTERNS[step.kind]), hoverinfo="text",
            hovertext=[f"{SYMBOLS[step.kind]} = {rho_text(step, found)}"], showlegend=False,
        )  # fmt: skip
        before = value
    steps = [_LABELS[step.kind] for step in known]
    figure.add_scatter(
        x=steps, y=[step.rho.value for step in known if step.rho], error_y=_errors([s.rho for s in known if s.rho]),
        mode="markers", marker={"color": palette.INK, "size": 8, "symbol": "diamond"}, hoverinfo="skip",
        name="‖Δw‖/R and its interval", showlegend=True,
    )  # fmt: skip
    figure.add_scatter(
        x=steps, y=tops, mode="markers+text", text=texts, textposition="top center", hoverinfo="skip",
        textfont={"size": 12, "color": palette.INK}, cliponaxis=False, showlegend=False,
        marker={"size": 10, "opacity": 0},  # keeps the text clear of the marker below it
    )  # fmt: skip
    _line(figure, 1, palette.INK, "dash", "1: the rim, ‖Δw‖ = R")
    top = max([1.0, *tops])
    _lay_out(figure, "‖Δw‖ / R along directions that share with Δw …", HEIGHT)
    labels = [_LABELS[step.kind] for step in found.waterfall.steps]
    return figure.update_layout(
        showlegend=True, yaxis={"range": [0, 1.25 * top], "title": {"text": "share of the radius"}},
        xaxis={**_UPRIGHT, "categoryorder": "array", "categoryarray": labels, "range": [-0.5, len(labels) - 0.5]},
    )  # fmt: skip


def matched_figure(found: AnatomyResult) -> Figure:
    """Draw ΔL of the point against that of random directions of the same length, family by family."""
    figure = Figure()
    for step in found.waterfall.steps:
        if step.matched is None:
            continue
        label = _LABELS[step.kind]
        multiple = step.matched.multiple(found.waterfall.rise)
        figure.add_scatter(
            x=[label] * step.matched.directions, y=list(step.matched.rises), mode="markers", name=STEP_NAMES[step.kind],
            marker={"color": _STEPS[step.kind], "symbol": _SYMBOLS[step.kind], "size": 10,
                    "line": {"color": "white", "width": 1}},
            hovertext=[f"direction {i}: ΔL = {nats(rise, True)}" for i, rise in enumerate(step.matched.rises)],
            hoverinfo="text", showlegend=False,
        )  # fmt: skip
        side = "above" if multiple > 0 else "below"
        figure.add_annotation(
            x=label, y=1, yref="paper", yanchor="bottom", showarrow=False, font={"size": 12},
            text=f"{number(abs(multiple), 2)} spreads<br>{side}",
        )  # fmt: skip
    _line(figure, found.waterfall.rise, palette.VERMILLION, "solid", _ends_at(found))
    _line(figure, 0, palette.INK, "dot", "w")
    _lay_out(figure, "ΔL of random directions as long as Δw that share with it …", HEIGHT, top=48)
    shown = sum(step.matched is not None for step in found.waterfall.steps)
    return figure.update_layout(
        showlegend=True, yaxis={"title": {"text": "ΔL (nats per token)"}},
        xaxis={**_UPRIGHT, "range": [-0.5, shown - 0.5]},
    )  # fmt: skip


def parts_figure(found: AnatomyResult) -> Figure:
    """Draw ΔL of each part of Δw alone on w, and of the point with it undone."""
    names, anatomy = [PART_NAMES[part] for part in PARTS], found.anatomy
    figure = Figure()
    for title, effects, color, pattern in (
        ("this part alone on w", anatomy.alone, palette.BLUE, ""),
        ("this part undone in the point", anatomy.undone, palette.ORANGE, "/"),
    ):
        rises = [effects[part].rise for part in PARTS]
        figure.add_bar(
            x=names, y=[_drawn(rise.value) for rise in rises], error_y=_errors(rises), name=title,
            marker=_bar(color, pattern), hovertext=[f"{title}: ΔL = {rise_text(rise)}" for rise in rises],
            hoverinfo="text",
        )  # fmt: skip
    if math.isfinite(found.rise.value):
        _line(figure, found.rise.value, palette.VERMILLION, "solid", f"all of Δw: {nats(found.rise.value, True)}")
    _lay_out(figure, "ΔL of the parts of Δw", HEIGHT)
    return figure.update_layout(
        showlegend=True, barmode="group", yaxis={"title": {"text": "ΔL (nats per token)"}},
        xaxis={"showgrid": False, "range": [-0.5, 2.5]},
    )  # fmt: skip


def ranking_figures(found: AnatomyResult) -> Iterator[tuple[str, Figure]]:
    """Draw a ranking for each grouping, and for the clipping of tensors; yield it with its name."""
    for grouping, effects in found.anatomy.groups.items():
        name = grouping_name(grouping)
        yield grouping, _ranking(f"ΔL of the Δw of each {name} alone on w", effects, palette.BLUE, "")
    if found.clipping:
        yield "clipping", _ranking("ΔL of the clipping of each tensor alone on w", found.clipping, palette.PURPLE, "x")


def restoration_figure(found: AnatomyResult) -> Figure:
    """Draw what is left of ΔL when the clipping of the costliest 1, 2, 4, … tensors is undone."""
    counts = ["none", *map(str, found.restored)]
    chosen = [found.rise, *(effect.rise for effect in found.restored.values())]
    figure = Figure()
    for split, rises, color, symbol, dash in (
        (f"{found.split}, which ranked the tensors", chosen, palette.PURPLE, "square", "solid"),
        ("test, which ranked nothing", list(found.held_out.values()), palette.BLUE, "circle", "dot"),
    ):
        figure.add_scatter(
            x=counts, y=[_drawn(rise.value) for rise in rises], error_y=_errors(rises), mode="lines+markers",
            line={"color": color, "width": 2, "dash": dash}, marker={"symbol": symbol, "size": 9}, name=split,
            hovertext=[f"{n} undone: ΔL = {rise_text(rise)}" for n, rise in zip(counts, rises, strict=True)],
            hoverinfo="text",
        )  # fmt: skip
    _line(figure, found.limit.nats, palette.INK, "dash", f"limit {literal(found.limit.text)}")
    _lay_out(figure, "ΔL left when the clipping of the costliest tensors is undone", HEIGHT)
    return figure.update_layout(
        showlegend=True, yaxis={"title": {"text": "ΔL (nats per token)"}, "rangemode": "tozero"},
        xaxis={"type": "category", "title": {"text": "tensors undone"}},
    )  # fmt: skip


def plan_figure(found: AnatomyResult) -> Figure | None:
    """Draw bits per weight against ΔL, mixed precision beside one width throughout, by split; None without a plan."""
    plan = found.plan
    if plan is None:
        return None
    figure = Figure()
    looks = (("circle", palette.BLUE), ("diamond", palette.ORANGE))
    for split, (symbol, color) in zip(plan.checks, looks, strict=True):
        rows = sorted(plan.uniform, key=lambda u: u.bytes)
        figure.add_scatter(
            x=[8 * u.bytes / plan.weights for u in rows], y=[_drawn(u.rise[split].value) for u in rows],
            error_y=_errors([u.rise[split] for u in rows]), mode="lines+markers+text", name=f"one width, {split}",
            text=[f"int{u.bits}" if split == TEST_SPLIT else "" for u in rows], textposition="top right",
            line={"color": color, "dash": "dot", "width": 1.2}, marker={"symbol": symbol, "size": 9},
        )  # fmt: skip
        whole = plan.checks[split].whole
        figure.add_scatter(
            x=[plan.mean_bits], y=[_drawn(whole.value)], error_y=_errors([whole]), mode="markers",
            name=f"mixed, {split}",
            marker={"symbol": f"{symbol}-open-dot", "size": 17, "color": palette.VERMILLION, "line": {"width": 3}},
        )  # fmt: skip
    _line(figure, plan.limit.nats, palette.INK, "dash", f"limit {literal(plan.limit.text)}")
    _lay_out(figure, "Mixed precision beside one bit width throughout", HEIGHT)
    return figure.update_layout(
        showlegend=True, yaxis={"title": {"text": "ΔL (nats per token)"}},
        xaxis={"title": {"text": "bits per weight, scales included"}},
    )  # fmt: skip


def _ranking(title: str, effects: Sequence[Effect], color: str, pattern: str) -> Figure:
    """Draw horizontal bars, the costliest on top."""
    shown = effects[:SHOWN]
    more = f", the first {SHOWN} of {len(effects)}" if len(effects) > SHOWN else ""
    figure = Figure()
    figure.add_bar(
        y=[literal(group_name(e.slots)) for e in shown], x=[_drawn(e.rise.value) for e in shown],
        error_x=_errors([effect.rise for effect in shown]), orientation="h", marker=_bar(color, pattern),
        hovertext=[f"{literal(group_name(e.slots))}: ΔL = {rise_text(e.rise)}" for e in shown], hoverinfo="text",
    )  # fmt: skip
    _lay_out(figure, f"{title}{more}", _ROW * len(shown))
    return figure.update_layout(
        xaxis={"title": {"text": "ΔL (nats per token)"}},
        yaxis={"autorange": "reversed", "automargin": True, "type": "category", "showgrid": False, "ticks": ""},
    )


def _drawn(value: float) -> float | None:
    """Return the value, or None, which Plotly does not draw, where the model's output overflowed."""
    return value if math.isfinite(value) else None


def _errors(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Return error bars from intervals; none where the data bound nothing."""

    def arm(value: float, end: float) -> float:
        return abs(end - value) if math.isfinite(end) and math.isfinite(value) else 0.0

    return {
        "type": "data", "symmetric": False, "array": [arm(e.value, e.high) for e in estimates],
        "arrayminus": [arm(e.value, e.low) for e in estimates], "color": palette.INK, "thickness": 1.2, "width": 5,
    }  # fmt: skip


def _bar(color: str, pattern: str) -> dict[str, Any]:
    """Return the fill of a bar: a colour, with a pattern in white over it."""
    shape = {
        "shape": pattern,
        "fgcolor": "white",
        "fgopacity": 0.45,
        "size": 7,
        "solidity": 0.25,
        "fillmode": "overlay",
    }
    return {"color": color, "pattern": shape, "line": {"color": palette.INK, "width": 0.6}}


def _line(figure: Figure, y: float, color: str, dash: str, name: str) -> None:
    """Draw a line across the panel; the legend names it, for a name beside it would lie on what is drawn there."""
    line = {"color": color, "dash": dash, "width": 1.6}
    figure.add_hline(y=y, line=line, name=name, showlegend=True)


def _ends_at(found: AnatomyResult) -> str:
    return f"{literal(found.point)}: {nats(found.waterfall.rise, True)}"


def _lay_out(figure: Figure, title: str, height: int, top: int = 16) -> None:
    """Set looks, and the title, which the page prints above the figure."""
    figure.update_layout(
        margin={"l": 64}, **BLANK, showlegend=False, hoverlabel={"align": "left"}, xaxis=AXIS, yaxis=AXIS,
        legend={"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "top", "font": {"size": 12}},
    )  # fmt: skip
    narrow = min(height, HEIGHT - 40) if height == HEIGHT else height
    fitted(figure, cells=[Cell(0, 0, height, narrow)], top=top)
    figure.layout.meta["name"] = title
