"""Charts as SVG: bars with axes and numbers, each with its value to hover over.  Attributes alone, no inline style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from markupsafe import Markup

from domain.operators.figures import DayFigures
from domain.operators.subscriptions import RevenueDay
from web.operators.words import amount

WIDTH: Final = 360
HEIGHT: Final = 144
LEFT: Final = 40
BOTTOM: Final = 18
TOP: Final = 22
UNIT_Y: Final = 10
"""The unit stands above the axis."""

TICKS: Final = 4
LABEL_EVERY_DAYS: Final = 7
STACK_WIDTH: Final = 1000

Number = Decimal | int | float


def bars_by_day(
    days: Sequence[tuple[date, Number]],
    *,
    unit: str,
    label: str,
    look: str = "",
    behind: Sequence[Number] | None = None,
) -> Markup:
    """A bar for each day; `behind` are paler bars that stand behind them (what was expected)."""
    values = [float(value) for _, value in days]
    top = _nice_top(max([*values, *(float(value) for value in behind or ()), 0]))
    slot = (WIDTH - LEFT) / max(len(days), 1)
    parts = [_axis(top, f"{unit} a day")]
    for place, (day, value) in enumerate(days):
        left = LEFT + place * slot
        pale = "" if behind is None else _bar(left, slot, float(behind[place]), top, "soft")
        said = f"{day:%a %d %b}: {amount(_exact(value))} {unit}"
        if behind is not None:
            said += f" of {amount(_exact(behind[place]))}"
        parts.append(
            Markup(
                '<g><title>{}</title><rect class="slot" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>{}{}</g>'
            ).format(
                said,
                left,
                TOP,
                slot,
                HEIGHT - BOTTOM - TOP,
                pale,
                _bar(left, slot, float(value), top, f"bar {look}"),
            )
        )
    parts += [_day_label(place, day, slot, len(days)) for place, (day, _) in enumerate(days)]
    return _svg(parts, f"{label}, in {unit} by day")


def line(values: Sequence[float], *, unit: str, label: str, ago: str) -> Markup:
    """A line from the oldest value to now."""
    top = _nice_top(max([*values, 0]))
    step = (WIDTH - LEFT - 4) / max(len(values) - 1, 1)
    points = [(LEFT + place * step, _y(value, top)) for place, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    base = HEIGHT - BOTTOM
    parts = [_axis(top, unit)]
    if len(points) > 1:
        area = f"{LEFT},{base} {path} {points[-1][0]:.1f},{base}"
        parts.append(Markup('<polygon class="area" points="{}"/>').format(area))
        parts.append(Markup('<polyline class="line" points="{}"/>').format(path))
    parts.append(Markup('<text x="{}" y="{}">{}</text>').format(LEFT, HEIGHT - 4, ago))
    parts.append(Markup('<text x="{}" y="{}" text-anchor="end">now</text>').format(WIDTH, HEIGHT - 4))
    return _svg(parts, f"{label}, in {unit}")


def stack(parts: Sequence[tuple[str, Number, str]]) -> Markup:
    """One bar that is divided as the amounts are: (name, amount, look)."""
    whole = sum(float(value) for _, value, _ in parts) or 1.0
    left, drawn = 0.0, []
    for name, value, look in parts:
        width = float(value) / whole * STACK_WIDTH
        share = float(value) / whole
        drawn.append(
            Markup(
                "<g><title>{}: {} credits ({:.1%})</title>"
                '<rect class="bar {}" x="{:.1f}" y="0" width="{:.1f}" height="22"/></g>'
            ).format(name, amount(_exact(value)), share, look, left, max(width, 0.0))
        )
        left += width
    return Markup(
        '<svg class="chart stack" viewBox="0 0 {} 22" preserveAspectRatio="none" role="img" aria-label="{}">'
        "{}</svg>"
    ).format(STACK_WIDTH, "Where all credits are", Markup("").join(drawn))


def _exact(value: Number) -> Decimal:
    return Decimal(str(value)) if isinstance(value, float) else Decimal(value)


def _svg(parts: Sequence[Markup], label: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, Markup("").join(parts)
    )


def _axis(top: float, unit: str) -> Markup:
    lines = [Markup('<text x="0" y="{}">{}</text>').format(UNIT_Y, unit)]
    for number in range(TICKS + 1):
        value = top * number / TICKS
        y = _y(value, top)
        lines.append(
            Markup('<line class="axis" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(LEFT, y, WIDTH, y)
        )
        if number % 2 == 0:
            lines.append(
                Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                    LEFT - 5, y + 4, brief(value)
                )
            )
    return Markup("").join(lines)


def _bar(left: float, slot: float, value: float, top: float, look: str) -> Markup:
    if value <= 0:
        return Markup("")
    gap = min(2.0, slot * 0.2)
    y = _y(value, top)
    height = max(HEIGHT - BOTTOM - y, 1.0)
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1"/>').format(
        look.strip(), left + gap / 2, HEIGHT - BOTTOM - height, slot - gap, height
    )


def _day_label(place: int, day: date, slot: float, days: int) -> Markup:
    if (days - 1 - place) % LABEL_EVERY_DAYS:
        return Markup("")
    is_last = place == days - 1
    x = WIDTH if is_last else LEFT + place * slot + slot / 2
    return Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
        x, HEIGHT - 4, "end" if is_last else "middle", f"{day.day} {day:%b}"
    )


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)


def _nice_top(most: float) -> float:
    """A round number above the largest value, which four steps divide."""
    if most <= 0:
        return float(TICKS)
    size = 10.0 ** math.floor(math.log10(most))
    return next(size * step for step in (1, 2, 4, 8, 10, 20) if size * step >= most)


def brief(value: float) -> str:
    """A number for an axis: `12k`, `1.5M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def bars(days: Sequence[DayFigures], field: str, label: str, look: str) -> Markup:
    """One figure of each day."""
    return bars_by_day(
        [(day.day, getattr(day, field)) for day in days], unit="credits", label=label, look=look
    )


def revenue(days: Sequence[RevenueDay]) -> Markup:
    """What renewals will bring, and before it what balances cover now."""
    return bars_by_day(
        [(day.day, day.covered) for day in days],
        unit="credits",
        label="Coming revenue",
        behind=[day.expected for day in days],
    )
