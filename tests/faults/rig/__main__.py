"""`./dev faults [--minutes N] [--seed S]`: break the system for some minutes, and say what came of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from devkit.paths import data_dir
from tests.faults.rig.run import Result, run
from tests.faults.rig.schedule import make_schedule

FINDINGS_SHOWN_MAX = 40

WIDTH = 120
"""Of what is printed where there is no terminal to ask."""


def main(arguments: list[str]) -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long the load lasts (default 1)")
    parser.add_argument("--seed", type=int, default=None, help="the same seed breaks the same things")
    parser.add_argument("--json", type=Path, default=None, help="write the result here, too")
    parser.add_argument("--schedule", action="store_true", help="print what would break, and break nothing")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    out = console()
    seconds = options.minutes * 60
    if options.schedule:
        for fault in make_schedule(seed, seconds):
            out.print(f"{fault.at:8.2f} s  {fault.target:22} {fault.what.value:15} {fault.seconds:.2f} s")
        return 0
    result = asyncio.run(run(seed, seconds, keep_in=data_dir() / "faults", say=out.print))
    show(result, out)
    if options.json is not None:
        options.json.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    return 1 if result.findings else 0


def console() -> Console:
    """Where a run is told of."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def show(result: Result, console: Console) -> None:
    """Print it."""
    operations = Table("operation", "tried", "ok", "accepted", "refused", "unknown")
    for kind, counts in result.operations.items():
        operations.add_row(kind, *_figures(counts))
    operations.add_row("all", *_figures(dict(result.told)))
    console.print(operations)
    console.print(f"answers: {result.statuses}")
    faults = Table(
        Column("broken", no_wrap=True),
        Column("how", no_wrap=True),
        "times",
        "longest fault",
        "to the next ok: median",
        "longest",
        "after its end",
    )
    for one in result.recoveries:
        times = (one.longest_fault, one.median, one.longest, one.longest_after_end)
        figures = ("–" if seconds is None else f"{seconds:.2f} s" for seconds in times)
        faults.add_row(one.target, one.what, str(one.times), *figures)
    console.print(faults)
    for note in result.notes:
        console.print(note, markup=False)
    console.print(f"faults injected: {sum(result.faults.values())} {result.faults}")
    if result.revived:
        console.print(f"ended by themselves and were started again: {result.revived}")
    console.print(f"checked: {result.checked}; quiet {result.quiet_after_seconds:.1f} s after the load")
    console.print(
        f"judged in {result.judged_in_seconds:.1f} s; the rig itself needed {result.memory_mib:.0f} MiB"
    )
    for finding in result.findings[:FINDINGS_SHOWN_MAX]:
        console.print(f"FOUND {finding}", markup=False)
    verdict = f"{len(result.findings)} findings" if result.findings else "nothing found"
    console.print(f"seed {result.seed}, {result.seconds:.0f} s: {verdict}")
    if result.evidence:
        console.print(f"the evidence is in {result.evidence}")


def _figures(counts: dict[str, int]) -> list[str]:
    names = ("ok", "accepted", "refused", "unknown")
    return [str(sum(counts.values())), *(str(counts.get(name, 0)) for name in names)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
