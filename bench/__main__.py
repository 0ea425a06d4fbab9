"""`python -m bench`: measure, print, and keep the results."""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console
from rich.table import Table

from bench import pgbench_runs, sending
from bench.figures import FIGURES
from bench.measure import Figure, Pace
from bench.plot import plot
from bench.rig import rig
from bench.table import README, keep, kept, section, written_into

SECONDS, TURNS, MEMORY_MINUTES = 5.0, 5, 5.0
QUICK_SECONDS, QUICK_TURNS, QUICK_MEMORY_MINUTES = 2.0, 2, 0.3


def main(arguments: list[str]) -> int:
    """Measure the figures asked for; 1 when one misses what it must reach, or a check is wrong."""
    options = parser().parse_args(arguments)
    console = Console()
    if options.list:
        for name, measure in FIGURES.items():
            console.print(f"{name:20} {(measure.__doc__ or '').strip()}", highlight=False)
        return 0
    if options.table:
        README.write_text(written_into(README.read_text(), section(kept())))
        return 0
    if options.own_generator:
        os.environ[sending.OWN_ONLY] = "1"
    figures: list[Figure] = []
    failed: list[str] = []
    for name in options.only or FIGURES:
        try:
            with console.status(f"measuring {name}"):
                found = measured(name, pace_of(options))
        except Exception:  # noqa: BLE001 - told, and the others are measured all the same
            console.print_exception()
            failed.append(name)
            continue
        for figure in found:
            console.print(line(figure), highlight=False)
            if not options.quick:
                keep(figure, plot(figure))
        figures += found
    console.print(summary(figures))
    wrong = [figure.name for figure in figures if figure.is_wrong]
    missed = [figure.name for figure in figures if not figure.reaches(figure.must)]
    console.print(
        f"missed: {', '.join(missed) or 'none'}; wrong: {', '.join(wrong) or 'none'};"
        f" failed: {', '.join(failed) or 'none'}"
    )
    return 1 if failed or wrong or (missed and not options.quick) else 0


def measured(name: str, pace: Pace) -> list[Figure]:
    """Measure on a machine of its own: none pays for what another left in the tables."""
    with rig() as made:
        pgbench_runs.prepare(made)
        return FIGURES[name](made, pace)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    made.add_argument("--list", action="store_true", help="name the figures")
    made.add_argument("--only", nargs="+", choices=sorted(FIGURES), metavar="NAME", help="these alone")
    made.add_argument(
        "--quick", action="store_true", help="short turns, small worlds; keep no results, hold no goals"
    )
    made.add_argument("--seconds", type=float, help=f"of each turn (default {SECONDS:g})")
    made.add_argument("--turns", type=int, help=f"default {TURNS}")
    made.add_argument(
        "--memory-minutes", type=float, help=f"of the figure `memory` (default {MEMORY_MINUTES:g})"
    )
    made.add_argument(
        "--own-generator", action="store_true", help="leave wrk alone where it is installed too"
    )
    made.add_argument(
        "--table", action="store_true", help="write README's table from the results that are kept"
    )
    return made


def pace_of(options: argparse.Namespace) -> Pace:
    """How long and how often."""
    seconds, turns, minutes = (
        (QUICK_SECONDS, QUICK_TURNS, QUICK_MEMORY_MINUTES)
        if options.quick
        else (SECONDS, TURNS, MEMORY_MINUTES)
    )
    return Pace(
        seconds=options.seconds or seconds,
        turns=options.turns or turns,
        is_quick=options.quick,
        memory_minutes=options.memory_minutes or minutes,
    )


def line(figure: Figure) -> str:
    """One figure in a few lines: values, CPU by process, checks."""
    parts = [f"{series.name} {series.median:,.1f} {series.unit}" for series in figure.series]
    ratio = f" = {figure.value:.2f} ×" if figure.ratios else ""
    lines = [
        f"{figure.name}: {figure.says}",
        f"  {' : '.join(parts)}{ratio}   (load by {', '.join(figure.generators) or 'itself'})",
    ]
    for series in figure.series:
        if series.seconds:
            cores = ", ".join(
                f"{name} {used / series.seconds:.2f}" for name, used in series.cpu_seconds.items()
            )
            lines.append(f"  cores used, {series.name}: {cores}")
    return "\n".join([*lines, *(f"  {check}" for check in figure.checks)])


def summary(figures: list[Figure]) -> Table:
    """All of them, with their goals."""
    table = Table("figure", "value", "range", "must", "aim")
    for figure in figures:
        is_missed, is_aim = not figure.reaches(figure.must), figure.reaches(figure.aim)
        colour = "red" if is_missed else "green" if is_aim else "yellow"
        table.add_row(
            figure.name,
            f"[{colour}]{figure.value:,.2f} {figure.unit}[/]",
            f"{min(figure.values):,.2f}–{max(figure.values):,.2f}",
            "" if figure.must is None else f"{figure.must:g}",
            "" if figure.aim is None else f"{figure.aim:g}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
