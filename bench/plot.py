"""A figure as a picture: the turns as bars, what is compared side by side; growth as curves with their ranges."""

from __future__ import annotations

import math
from html import escape

from bench.measure import Curve, Figure, Point

WIDTH, PANEL, LEFT, RIGHT, TITLE, BOTTOM = 720, 280, 76, 24, 48, 46
COLOURS = ("#2563eb", "#94a3b8")
TICKS = 5


def plot(figure: Figure) -> str:
    """SVG text."""
    panels = len(figure.curves) or 1
    height = TITLE + panels * PANEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(figure.says)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(12, 20, f"{figure.name}: {figure.value:,.2f} {figure.unit}", size=15),
        text(12, 38, figure.says, size=11, fill="#475569"),
    ]
    if figure.curves:
        for at, curve in enumerate(figure.curves):
            parts += curve_panel(curve, TITLE + at * PANEL)
    else:
        parts += bars(figure, TITLE)
    return "\n".join([*parts, "</svg>"]) + "\n"


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, fill: str = "#0f172a"
) -> str:
    """Words."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">'
        f"{escape(words)}</text>"
    )


def steps(highest: float) -> list[float]:
    """Round numbers from 0 until `highest` is reached: the ticks of an axis."""
    rough = (highest or 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    count = math.ceil(highest / step - 1e-9) if highest else 1
    return [step * at for at in range(count + 1)]


def axis(ticks: list[float], unit: str, top: float, bottom: float) -> list[str]:
    """The vertical axis, with lines across."""
    parts = [text(LEFT - 8, top - 8, unit, anchor="end", size=11)]
    for tick in ticks:
        y = bottom - (bottom - top) * tick / ticks[-1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e8f0"/>')
        parts.append(text(LEFT - 8, y + 4, f"{tick:,.10g}", anchor="end", size=11))
    return parts


def bars(figure: Figure, offset: float) -> list[str]:
    """Each turn's bar, the two things measured side by side."""
    top, bottom = offset + 44, offset + PANEL - BOTTOM
    ticks = steps(max(value for series in figure.series for value in series.values))
    parts = axis(ticks, figure.series[0].unit, top, bottom)
    turns = max(len(series.values) for series in figure.series)
    slot = (WIDTH - LEFT - RIGHT) / turns
    width = slot * 0.8 / len(figure.series)
    for at, series in enumerate(figure.series):
        x = LEFT + at * 310
        parts.append(f'<rect x="{x}" y="{offset + 8}" width="10" height="10" fill="{COLOURS[at]}"/>')
        parts.append(
            text(x + 15, offset + 17, f"{series.name}, median {series.median:,.2f} {series.unit}", size=11)
        )
        for turn, value in enumerate(series.values):
            height = (bottom - top) * value / ticks[-1]
            left = LEFT + turn * slot + slot * 0.1 + at * width
            parts.append(
                f'<rect x="{left:.1f}" y="{bottom - height:.1f}" width="{width * 0.95:.1f}"'
                f' height="{height:.1f}" fill="{COLOURS[at]}"/>'
            )
    middles = [LEFT + (turn + 0.5) * slot for turn in range(turns)]
    parts += [text(x, bottom + 16, str(turn + 1), anchor="middle") for turn, x in enumerate(middles)]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 34, "turn", anchor="middle"))
    return parts


def curve_panel(curve: Curve, offset: float) -> list[str]:
    """The medians as a line, the range of the turns as a bar at each."""
    top, bottom = offset + 36, offset + PANEL - BOTTOM
    ticks = steps(max(value for point in curve.points for value in point.values))
    parts = [text(LEFT, offset + 12, curve.name), *axis(ticks, curve.unit, top, bottom)]

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / ticks[-1]

    xs = places(curve)
    line = " ".join(f"{x:.1f},{y(point.median):.1f}" for x, point in zip(xs, curve.points, strict=True))
    parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>')
    for x, point in zip(xs, curve.points, strict=True):
        low, high = y(min(point.values)), y(max(point.values))
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="#64748b" stroke-width="3"/>'
        )
        parts.append(f'<circle cx="{x:.1f}" cy="{y(point.median):.1f}" r="3" fill="{COLOURS[0]}"/>')
    parts += [text(x, bottom + 16, f"{at:,.4g}", anchor="middle", size=11) for x, at in labels(curve, xs)]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 34, curve.x_name, anchor="middle"))
    return parts


def places(curve: Curve) -> list[float]:
    """Where each point is from left to right."""

    def scaled(point: Point) -> float:
        return math.log10(point.x) if curve.x_is_log else point.x

    values = [scaled(point) for point in curve.points]
    low, high = min(values), max(values)
    width = WIDTH - LEFT - RIGHT - 20
    return [LEFT + 10 + width * (value - low) / ((high - low) or 1.0) for value in values]


def labels(curve: Curve, xs: list[float]) -> list[tuple[float, float]]:
    """The points that are named at the axis: no two closer than a number is wide."""
    chosen: list[tuple[float, float]] = []
    for x, point in zip(xs, curve.points, strict=True):
        if not chosen or x - chosen[-1][0] >= 60:
            chosen.append((x, point.x))
    return chosen
