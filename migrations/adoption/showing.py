"""The report, the progress and the proof, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from migrations.adoption.reading import Report
from migrations.adoption.running import Progress, Told, Verdict

VIOLATIONS_SHOWN_MAX: Final = 20


def show_report(console: Console, report: Report) -> None:
    """Print what was read."""
    rows = Table("table", "rows", title="What is there", title_justify="left")
    for table, count in report.rows.items():
        rows.add_row(table, f"{count:,}")
    console.print(rows)
    wounds = Table("found", "how many", "how much", "becomes", title="What is wrong", title_justify="left")
    for wound in report.wounds:
        much = f"{wound.size:+,} {wound.sized_in}" if wound.size else ""
        wounds.add_row(wound.says, f"{wound.count:,}" if wound.count else "none", much, wound.becomes)
    console.print(wounds)
    for wound in report.wounds:
        if wound.count:
            console.print(f"[bold]{wound.kind}[/], the worst:", highlight=False)
            for case in wound.worst:
                console.print(
                    f"  {escape(case.subject)}: {escape(case.what)}", highlight=False, soft_wrap=True
                )
    for view in report.in_the_way:
        console.print(f"[red]in the way:[/] the view {escape(view)} has to be dropped before")
    console.print(
        f"\nWhat will change: revision {report.revision or '0001, unmarked'} becomes {report.brought_to},"
        f" amounts become exact to the thousandth, and {report.opening_entries:,} opening entries are written.\n"
        f"What will not: {report.balances:,} credits of {report.rows['credits.balances']:,} people, and"
        f" {report.set_aside:,} set aside, stay theirs; no entry is changed, and none is lost.",
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def shown_progress(console: Console) -> Iterator[Told]:
    """Show steps as they are told: a bar on a terminal, a line for each step elsewhere."""
    began = time.monotonic()
    last = ""
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        steps = bars.add_task("steps", total=None)
        entries = bars.add_task("entries", total=None, visible=False)

        def told(progress: Progress) -> None:
            nonlocal last
            bars.update(
                steps,
                description=progress.step,
                completed=min(progress.place, progress.of),
                total=progress.of,
            )
            is_slices = progress.entries > 0
            bars.update(
                entries, visible=is_slices, completed=progress.entries_done, total=progress.entries or None
            )
            if progress.step != last:
                bars.console.print(
                    f"{time.monotonic() - began:7.1f} s  {progress.place:>2}/{progress.of} {progress.step}",
                    highlight=False,
                )
                last = progress.step

        yield told


def show_verdict(console: Console, verdict: Verdict) -> None:
    """Print the proof."""
    broken = [finding for finding in verdict.findings if finding.violation_count]
    for finding in broken:
        console.print(f"[red]{finding.name}[/]: {finding.violation_count} violations: {finding.says}")
        for violation in finding.violations[:VIOLATIONS_SHOWN_MAX]:
            console.print(f"  {escape(violation)}", highlight=False)
    for line in verdict.differ:
        console.print(f"  [red]differs[/] {escape(line)}", highlight=False)
    console.print(
        f"{len(verdict.findings) - len(broken)} of {len(verdict.findings)} facts hold;"
        f" {verdict.people - verdict.differ_count:,} of {verdict.people:,} people have what they had.",
        highlight=False,
    )
    if not verdict.holds:
        console.print("What everybody had is kept in adoption.balances_before.")
