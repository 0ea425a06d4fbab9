"""A figure as a picture: each turn as a bar, the two things measured side by side."""

from __future__ import annotations

from html import escape

from bench.measure import Figure

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 280, 70, 40, 50
COLOURS = ("#2563eb", "#94a3b8")


def plot(figure: Figure) -> str:
    """SVG text."""
    highest = max(value for series in figure.series for value in series.values) or 1.0
    turns = max(len(series.values) for series in figure.series)
    slot = (WIDTH - LEFT - 20) / turns
    bar = slot * 0.8 / len(figure.series)
    area = HEIGHT - TOP - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(figure.says)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="10" y="18" font-size="14">{escape(figure.name)}: {figure.value:.2f}'
        f"{' ×' if figure.ratios else ' ' + escape(figure.series[0].unit)}</text>",
    ]
    for at, series in enumerate(figure.series):
        colour = COLOURS[at % len(COLOURS)]
        parts.append(f'<rect x="{LEFT + at * 250}" y="28" width="10" height="10" fill="{colour}"/>')
        label = f"{series.name}, median {series.median:,.1f} {series.unit}"
        parts.append(f'<text x="{LEFT + at * 250 + 15}" y="38">{escape(label)}</text>')
        for turn, value in enumerate(series.values):
            height = area * value / highest
            x = LEFT + turn * slot + slot * 0.1 + at * bar
            parts.append(
                f'<rect x="{x:.1f}" y="{TOP + area - height:.1f}" width="{bar * 0.95:.1f}"'
                f' height="{height:.1f}" fill="{colour}"/>'
            )
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{TOP + area}" y2="{TOP + area}" stroke="#334155"/>',
        f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">{highest:,.0f}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + area}" text-anchor="end">0</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 14}">turns 1 to {turns}, measured in turns</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
