"""`./dev hosts [--minutes N] [--seed S]`: the service on several hosts, cut off and back, and what came of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from devkit.paths import data_dir
from tests.faults.hosts.cutting import TARGETS, Cutter, make_schedule
from tests.faults.hosts.furnishing import HERE, HOSTS, furnish
from tests.faults.hosts.network import Network, enter, missing
from tests.faults.rig.__main__ import show
from tests.faults.rig.run import Stage, run

INSIDE = "MANA_CREDITS_HOSTS_INSIDE"
"""Set once this process has a network of its own."""


def main(arguments: list[str]) -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="./dev hosts", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long the load lasts (default 3)")
    parser.add_argument("--seed", type=int, default=None, help="the same seed cuts the same hosts")
    parser.add_argument("--json", type=Path, default=None, help="write the result here, too")
    parser.add_argument(
        "--schedule", action="store_true", help="print who would be cut off, and cut nobody off"
    )
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    seconds = options.minutes * 60
    console = Console(highlight=False)
    if options.schedule:
        for cut in make_schedule(seed, seconds):
            console.print(f"{cut.at:8.2f} s  {cut.target:18} {cut.what.value:20} {cut.seconds:.2f} s")
        return 0
    if INSIDE not in os.environ:
        if reason := missing():
            print(f"hosts: {reason}", file=sys.stderr)
            return 2
        command = enter(sys.executable, "-m", "tests.faults.hosts", *arguments)
        os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})
    network = Network(HERE, HOSTS)
    network.make()
    stage = Stage(partial(furnish, network), make_schedule, partial(Cutter, network=network))
    result = asyncio.run(
        run(seed, seconds, targets=TARGETS, stage=stage, keep_in=data_dir() / "hosts", say=console.print)
    )
    show(result, console)
    if options.json is not None:
        options.json.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
