"""Draw the training curve as a small SVG on a white ground, legible on light and dark pages."""

from __future__ import annotations

import math
from pathlib import Path

Row = tuple[int, float, float, float]  # step, train loss, validation loss, learning rate

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 44, 52
TRAIN, VALIDATION, GREY = "#D55E00", "#0072B2", "#595959"  # Okabe-Ito; the dash tells the two apart as well


def tick_step(span: float, count: int) -> float:
    """Return the round number (1, 2 or 5 times a power of ten) that cuts `span` into at most `count` parts."""
    power = 10 ** math.floor(math.log10(span / count))
    return next(power * m for m in (1, 2, 5, 10) if power * m * count >= span)


def text(x: float, y: float, words: str, anchor: str = "middle", extra: str = "") -> str:
    """Return one SVG text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{words}</text>'


class Axes:
    """Maps steps and losses to pixels.

    Args:
        rows: The training curve.
        top: Highest loss drawn; the first points, far above, are cut off.
    """

    def __init__(self, rows: list[Row], top: float) -> None:
        self.steps = rows[-1][0]
        self.low = math.floor(min(min(row[1], row[2]) for row in rows) * 10) / 10
        self.top = top

    def x(self, step: float) -> float:
        """Return the horizontal place of a step."""
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self.steps

    def y(self, loss: float) -> float:
        """Return the vertical place of a loss."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.top - loss) / (self.top - self.low)

    def grid(self) -> list[str]:
        """Return grid lines, tick labels and axis labels."""
        parts = []
        size = tick_step(self.top - self.low, 6)
        for k in range(math.ceil(self.low / size - 1e-9), math.floor(self.top / size + 1e-9) + 1):
            y = self.y(k * size)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#DDDDDD"/>')
            parts.append(text(LEFT - 8, y + 4, f"{k * size:.1f}", "end"))
        size = tick_step(self.steps, 8)
        for k in range(int(self.steps / size + 1e-9) + 1):
            parts.append(text(self.x(k * size), HEIGHT - BOTTOM + 20, f"{k * size:.0f}"))
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "training step"))
        parts.append(text(18, middle, "loss (nats per token)", extra=f'transform="rotate(-90 18 {middle})"'))
        return parts

    def line(self, points: list[tuple[int, float]], colour: str, dash: str) -> str:
        """Return a curve; points above the drawing are left out."""
        path = "L".join(f"{self.x(step):.1f} {self.y(loss):.1f}" for step, loss in points if loss <= self.top)
        return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'


def legend(x: float, y: float, words: str, colour: str, dash: str) -> str:
    """Return one entry of the legend."""
    sample = f'<path d="M{x} {y}h32" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
    return sample + text(x + 40, y + 4, words, "start")


def draw_curve(rows: list[Row], file: Path) -> None:
    """Draw train and validation loss against the step into `file`, with the kept weights marked.

    Args:
        rows: The training curve.
        file: Where to write the SVG.
    """
    step, _, best, _ = min(rows, key=lambda row: row[2])
    axes = Axes(rows, top=min(rows[0][2], best + 1.5))
    x, y = axes.x(step), axes.y(best)
    label = f"kept: step {step}, validation {best:.3f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="13" fill="{GREY}">',
        f"<title>Training curve of opt-nano: {label}</title>",
        '<rect width="100%" height="100%" fill="#FFFFFF"/>',
        text(LEFT, 26, "opt-nano on tales", "start", 'font-size="15" font-weight="bold" fill="#222222"'),
        *axes.grid(),
        axes.line([(row[0], row[1]) for row in rows], TRAIN, "5 4"),
        axes.line([(row[0], row[2]) for row in rows], VALIDATION, "none"),
        legend(WIDTH - 300, 22, "train", TRAIN, "5 4"),
        legend(WIDTH - 120, 22, "validation", VALIDATION, "none"),
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="#FFFFFF" stroke="{VALIDATION}" stroke-width="2"/>',
        text(min(x, WIDTH - RIGHT), y - 44, label, "end", 'fill="#222222"'),
        "</svg>",
    ]
    file.write_text("\n".join(parts) + "\n", "utf-8")
