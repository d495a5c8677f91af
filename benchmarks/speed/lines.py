"""List the lines of the table of speed: the key of each row, its text and its goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.rows import Row
from benchmarks.speed.memory import LENGTH as LONG
from benchmarks.speed.models import WIDE_VOCABULARY


@dataclass(frozen=True)
class Goal:
    """A limit on a row."""

    text: str
    """The limit as the page shows it."""
    number: Callable[[Row, Row | None], float | None]
    """Return what is judged, from the row and that of the commit before; None if it cannot be judged."""
    limit: float
    least: bool = False
    """True where larger values are better, False where smaller ones are."""

    def verdict(self, row: Row, before: Row | None) -> str:
        """Format the limit, and whether the row keeps it."""
        number = self.number(row, before)
        if number is None:
            return f"{self.text}: not measured"
        kept = number >= self.limit if self.least else number <= self.limit
        return f"{self.text}: {'met' if kept else '**missed**'}"


def _share_of_before(row: Row, before: Row | None) -> float | None:
    return None if before is None else row["value"] / before["value"]


def most(limit: float) -> Goal:
    """Limit a ratio from above."""
    return Goal(f"≤ {limit:g}", lambda row, before: row["ratio"][1], limit)


def least(limit: float) -> Goal:
    """Limit a ratio from below."""
    return Goal(f"≥ {limit:g}", lambda row, before: row["ratio"][1], limit, least=True)


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    key: str
    text: str
    goal: Goal | None = None


_SHAPES = ("q, o", "k, v", "gate, up", "down")
LINES = (
    Line("window/floor", "floor / `window_nll`, 512 tokens", least(0.85)),
    Line("window/logits", "`window_nll` / transformers' forward with logits"),
    Line("window/trunk", "… the trunk of `window_nll` alone / floor"),
    Line("window/head", "… the head alone, all rows at once / floor"),
    Line("window/chunks", "… head and loss by plain torch, 256 rows at a time / floor"),
    Line("probe/bare", "probes of a direction at ten λ, 4 windows / bare forward", most(1.05)),
    Line("qaft/512", "QAFT step, 512 tokens / bare forward–backward", most(1.05)),
    Line("qaft/128", "QAFT step, 128 tokens / bare forward–backward", most(1.05)),
    Line("gradient/transformers", "forward–backward of `token_nll`, 512 tokens / transformers' own loss"),
    Line(
        "memory/evaluation",
        f"memory of `window_nll`, {LONG:,} tokens, {WIDE_VOCABULARY:,} words",
        Goal("≤ ⅕ of before", _share_of_before, 0.2),
    ),
    Line("memory/training", "memory of forward and backward of `token_nll`, the same"),
    Line("drawing/numpy", "drawing 106 M normals / numpy's ziggurat"),
    Line("drawing/torch", "drawing 106 M normals / `torch.randn`"),
    Line("drawing/direction", "a direction drawn, scaled and read / its normals"),
    Line("store/read", "100,000 probes read / the same rows parsed as JSON"),
    Line(
        "store/plan",
        "100,000 probes planned, half of them known / the same",
        Goal("≤ 1 s", lambda row, before: row["seconds"][0], 1.0),
    ),
    Line("help/python", "`landscape --help` / `python -c pass`"),
    Line("page/size", "size of a survey's page"),
    Line("ray/workers", "Ray: speed-up of two workers over one, halved (1 is perfect), 1,280 losses", least(0.9)),
    Line("ray/short", "… 320 losses"),
    Line("ray/processes", "… the same for two processes that share nothing: the limit of this machine"),
    *(Line(f"dampings/{shape}", f"GPTQ solver, 8 dampings / 1, {shape}") for shape in _SHAPES),
    Line("dampings/gptq", "GPTQ, 8 dampings / 1, 2 blocks, 128 × 128 tokens", most(1.5)),
    *(Line(f"solver/{shape}", f"GPTQ solver / the plain loop, {shape}", most(0.7)) for shape in _SHAPES),
    *(
        Line(
            f"scales/{rows}/{bits}",
            f"exact scales of 10⁶ weights in {rows:,} row{'s' * (rows > 1)}, int{bits} / sorting them",
        )
        for rows in (1, 1000)
        for bits in (8, 4, 2)
    ),
)
