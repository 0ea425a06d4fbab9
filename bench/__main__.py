"""`python -m bench [--list] [--only NAME …] [--quick]`: measure, print, and keep the results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench import pgbench_runs
from bench.figures import FIGURES, Pace
from bench.measure import Figure
from bench.plot import plot
from bench.rig import rig

RESULTS = Path(__file__).parent / "results"
PACE = Pace(seconds=5, turns=5)
QUICK = Pace(seconds=2, turns=3)


def main(arguments: list[str]) -> int:
    """Measure the figures asked for; 1 when one misses what it must reach, or a check is wrong."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the figures")
    parser.add_argument("--only", nargs="+", choices=sorted(FIGURES), metavar="NAME", help="these alone")
    parser.add_argument("--quick", action="store_true", help="short turns, and keep no results")
    options = parser.parse_args(arguments)
    console = Console()
    if options.list:
        for name, measure in FIGURES.items():
            console.print(f"{name:16} {(measure.__doc__ or '').strip()}", highlight=False)
        return 0
    pace = QUICK if options.quick else PACE
    figures = []
    with rig() as made:
        pgbench_runs.prepare(made)
        for name in options.only or FIGURES:
            with console.status(f"measuring {name}"):
                figure = FIGURES[name](made, pace)
            figures.append(figure)
            console.print(line(figure), highlight=False)
            if not options.quick:
                keep(figure)
    console.print(summary(figures))
    wrong = [figure.name for figure in figures if "WRONG" in " ".join(figure.checks)]
    missed = [figure.name for figure in figures if not figure.reaches(figure.must)]
    console.print(f"missed: {', '.join(missed) or 'none'}; wrong: {', '.join(wrong) or 'none'}")
    return 1 if wrong or missed else 0


def keep(figure: Figure) -> None:
    """Write the figure's newest result, as JSON and as a picture."""
    RESULTS.mkdir(exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(figure), indent=2)
    (RESULTS / f"{figure.name}.json").write_bytes(encoded + b"\n")
    (RESULTS / f"{figure.name}.svg").write_text(plot(figure))


def line(figure: Figure) -> str:
    """One figure in one line."""
    parts = [f"{series.name} {series.median:,.1f} {series.unit}" for series in figure.series]
    ratio = f" = {figure.value:.2f} ×" if figure.ratios else ""
    return f"{figure.name}: {' : '.join(parts)}{ratio}   ({'; '.join(figure.checks) or 'no checks'})"


def summary(figures: list[Figure]) -> Table:
    """All of them, with their goals."""
    table = Table("figure", "value", "range", "must", "aim", "says")
    for figure in figures:
        values = figure.ratios or figure.series[0].values
        unit = "×" if figure.ratios else figure.series[0].unit
        colour = (
            "red" if not figure.reaches(figure.must) else "green" if figure.reaches(figure.aim) else "yellow"
        )
        table.add_row(
            figure.name,
            f"[{colour}]{figure.value:.2f} {unit}[/]",
            f"{min(values):.2f}–{max(values):.2f}",
            "" if figure.must is None else str(figure.must),
            "" if figure.aim is None else str(figure.aim),
            figure.says,
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
