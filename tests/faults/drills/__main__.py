"""The drills' commands: `./dev drill clock`, `./dev drill upgrade`, `./dev soak`, each with its own options."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.table import RESULTS
from devkit.paths import data_dir
from tests.faults.drills import clock, upgrade
from tests.faults.drills.picture import picture
from tests.faults.drills.soak import Soak, soak
from tests.faults.rig.__main__ import console, show
from tests.faults.rig.run import Stage, run
from tests.faults.rig.schedule import Target

FULL_SOAK_MINUTES = 30.0


def main(arguments: list[str]) -> int:
    """Run one; 0 when nothing was found."""
    name, *rest = arguments
    return {"clock": _clock, "soak": _soak, "upgrade": _upgrade}[name](rest)


def _clock(arguments: list[str]) -> int:
    says = "Set the clock of the running system back an hour, forward a day, and right."
    options = _options("clock", says, minutes=1.5).parse_args(arguments)
    return _run("clock", options, clock.STAGE, clock.TARGETS)


def _upgrade(arguments: list[str]) -> int:
    says = "Migrate, replace and restart the running system under load."
    parser = _options("upgrade", says, minutes=1.5)
    begins = "begin with the code of this commit, or with `today`'s (default: the last without the newest migration)"
    parser.add_argument("--from", dest="commit", default=None, help=begins)
    options = parser.parse_args(arguments)
    commit = options.commit or upgrade.commit_before_the_newest_migration()
    with tempfile.TemporaryDirectory(prefix="mana-upgrade-") as directory:
        old = None if commit == "today" else upgrade.old_tree_of(commit, Path(directory))
        return _run("upgrade", options, upgrade.stage(old), upgrade.TARGETS)


def _options(name: str, says: str, *, minutes: float) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"./dev drill {name}", description=says)
    parser.add_argument("--minutes", type=float, default=minutes, help=f"of load (default {minutes:g})")
    parser.add_argument("--seed", type=int, default=None, help="what clients ask for follows from it")
    parser.add_argument("--json", type=Path, default=None, help="write the result here, too")
    return parser


def _run(name: str, options: argparse.Namespace, stage: Stage, targets: tuple[Target, ...]) -> int:
    seed = random.randrange(10**6) if options.seed is None else options.seed
    out = console()
    seconds = options.minutes * 60
    result = asyncio.run(
        run(seed, seconds, targets=targets, stage=stage, keep_in=data_dir() / "drills" / name, say=out.print)
    )
    show(result, out)
    if options.json is not None:
        options.json.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    return 1 if result.findings else 0


def _soak(arguments: list[str]) -> int:
    says = "Keep the system under load, and see that nothing grows but the tables, and they as expected."
    parser = argparse.ArgumentParser(prog="./dev soak", description=says)
    parser.add_argument("--minutes", type=float, default=FULL_SOAK_MINUTES, help="of load (default 30)")
    parser.add_argument("--json", type=Path, default=None, help="write the result here, too")
    options = parser.parse_args(arguments)
    out = console()
    found = asyncio.run(soak(options.minutes * 60, out.print))
    _show_soak(found, out)
    if options.minutes >= FULL_SOAK_MINUTES:
        kept = RESULTS / "soak"
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "soak.json").write_text(json.dumps(found.as_json(), indent=1) + "\n")
        (kept / "soak.svg").write_text(picture(found.samples, _in_a_line(found)))
        out.print(f"kept in {kept}")
    if options.json is not None:
        options.json.write_text(json.dumps(found.as_json(), indent=1) + "\n")
        options.json.with_suffix(".svg").write_text(picture(found.samples, _in_a_line(found)))
    return 1 if found.findings else 0


def _show_soak(found: Soak, out: Console) -> None:
    table = Table("what", "of", "early", "late", "", "")
    for line in found.lines:
        verdict = f"[red]{line.problem}" if line.problem else "as it should be"
        table.add_row(line.kind, line.name, f"{line.early:,.1f}", f"{line.late:,.1f}", line.unit, verdict)
    out.print(table)
    out.print(f"answers: {found.statuses}")
    for finding in found.findings:
        out.print(f"FOUND {finding}", markup=False)
    out.print(f"{_in_a_line(found)}: {len(found.findings) or 'nothing'} found")


def _in_a_line(found: Soak) -> str:
    last = found.samples[-1]
    busy = sorted(sample.load_average for sample in found.samples)
    return (
        f"{found.seconds / 60:g} minutes of load, {last.operations:,} operations"
        f" ({last.operations / last.at:,.0f}/s), load average {busy[0]:.1f} to {busy[-1]:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
