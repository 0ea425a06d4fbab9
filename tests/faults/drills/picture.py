"""A soak as a picture: a panel for each kind of thing, a line for each thing, over minutes of load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from bench.plot import BOTTOM, LEFT, PANEL, RIGHT, TITLE, WIDTH, axis, steps, text
from tests.faults.drills.sampling import Sample

COLOURS = (
    "#2563eb", "#dc2626", "#16a34a", "#9333ea", "#ea580c", "#0891b2",
    "#ca8a04", "#db2777", "#4d7c0f", "#475569", "#7c3aed",
)  # fmt: skip
LEGEND_PER_LINE, LEGEND_LINE = 4, 15

Of = Callable[[Sample], Mapping[str, float]]
PANELS: tuple[tuple[str, str, Of], ...] = (
    ("memory, without what is shared", "MB", lambda sample: sample.memory),
    ("connections to PostgreSQL", "", lambda sample: sample.connections),
    ("waiting", "", lambda sample: sample.waiting),
    ("rows", "", lambda sample: sample.rows),
    ("answers", "ms", lambda sample: {"median": sample.p50_ms, "p99": sample.p99_ms}),
    ("how busy the machine was", "load", lambda sample: {"load average": sample.load_average}),
)


def picture(samples: Sequence[Sample], says: str) -> str:
    """SVG text."""
    height = TITLE + len(PANELS) * PANEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(says)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(12, 20, says, size=13),
    ]
    for place, (name, unit, of) in enumerate(PANELS):
        parts += _panel(name, unit, samples, of, TITLE + place * PANEL)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(name: str, unit: str, samples: Sequence[Sample], of: Of, offset: float) -> list[str]:
    names = sorted({one for sample in samples for one in of(sample)})
    legend_lines = -(-len(names) // LEGEND_PER_LINE)
    top, bottom = offset + 24 + legend_lines * LEGEND_LINE, offset + PANEL - BOTTOM
    ticks = steps(max(max(of(sample).values(), default=0.0) for sample in samples))
    minutes = samples[-1].at / 60
    parts = [text(LEFT, offset + 8, name), *axis(ticks, unit, top, bottom)]
    for place, one in enumerate(names):
        colour = COLOURS[place % len(COLOURS)]
        x = LEFT + place % LEGEND_PER_LINE * 155
        y = offset + 22 + place // LEGEND_PER_LINE * LEGEND_LINE
        parts.append(f'<rect x="{x}" y="{y - 8:.1f}" width="8" height="8" fill="{colour}"/>')
        parts.append(text(x + 12, y, one, size=10))
        points = " ".join(
            f"{_x(sample.at / 60, minutes):.1f},{bottom - (bottom - top) * of(sample).get(one, 0) / ticks[-1]:.1f}"
            for sample in samples
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    parts += [
        text(_x(tick, minutes), bottom + 16, f"{tick:,.4g}", anchor="middle", size=11)
        for tick in steps(minutes)
        if tick <= minutes
    ]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 32, "minutes of load", anchor="middle"))
    return parts


def _x(minute: float, minutes: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * minute / minutes
