"""README's table of figures, made from the newest results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.measure import Figure
from devkit.paths import ROOT

RESULTS = Path(__file__).parent / "results"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: ./dev bench --table -->", "<!-- end of figures -->"


def kept() -> list[Figure]:
    """The newest result of each figure, by name."""
    return [msgspec.json.decode(path.read_bytes(), type=Figure) for path in sorted(RESULTS.glob("*.json"))]


def keep(figure: Figure, picture: str) -> None:
    """Write a figure's result and its picture, in the place of older ones."""
    RESULTS.mkdir(exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(figure), indent=2)
    (RESULTS / f"{figure.name}.json").write_bytes(encoded + b"\n")
    (RESULTS / f"{figure.name}.svg").write_text(picture)


def table(figures: Iterable[Figure]) -> str:
    """In Markdown: each figure's middle value, its range, and what it is held against."""
    lines = ["| figure | measured | range of the turns | against | must | aim |", "|---|---|---|---|---|---|"]
    for figure in figures:
        cells = [
            f"[{figure.says}](bench/results/{figure.name}.svg)",
            f"**{number(figure.value)} {figure.unit}**",
            f"{number(min(figure.values))} – {number(max(figure.values))}",
            "; ".join(f"{one.name}: {number(one.median)} {one.unit}" for one in figure.series)
            if figure.ratios
            else "",
            goal(figure, figure.must),
            goal(figure, figure.aim),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Fit to be read: three digits that say something."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def goal(figure: Figure, value: float | None) -> str:
    """A goal with its direction; nothing where there is none."""
    if value is None:
        return ""
    return f"{'≥' if figure.higher_is_better else '≤'} {value:,g} {figure.unit}"


def machine_line(figures: list[Figure]) -> str:
    """On what they were measured, in one sentence."""
    newest = max(figures, key=lambda figure: figure.measured_at)
    facts = newest.machine
    return (
        f"Measured {newest.measured_at[:10]} on {facts['cores']} cores ({facts['processor']}), {facts['memory']},"
        f" PostgreSQL {facts['postgresql']}, Python {facts['python']}; service, database and load generator"
        " share them."
    )


def section(figures: list[Figure]) -> str:
    """What stands between the marks."""
    if not figures:
        return "No results are kept yet: `./dev bench` measures."
    return f"{table(figures)}\n\n{machine_line(figures)}"


def written_into(readme: str, text: str) -> str:
    """README with the section put between its marks.  Raises ValueError when it has no marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
