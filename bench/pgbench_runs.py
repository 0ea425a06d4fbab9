"""pgbench: PostgreSQL's own client, spending one by one."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.rig import Rig
from devkit.binaries import postgres_bin

SCRIPTS = Path(__file__).parent / "pgbench"
CLIENTS = 16
NAME = "pgbench"


@dataclass(frozen=True)
class PgbenchRun:
    """What pgbench says it did."""

    transactions: int
    per_second: float


def prepare(rig: Rig) -> None:
    """Tables like the service's, without what makes the service's different."""
    rig.sql((SCRIPTS / "schema.sql").read_text())


def run(rig: Rig, script: str, seconds: float) -> PgbenchRun:
    """Run a script, prepared, CLIENTS clients; whole seconds."""
    command = [
        str(postgres_bin() / "pgbench"),
        "--no-vacuum",
        "--protocol=prepared",
        f"--client={CLIENTS}",
        "--jobs=1",
        f"--time={max(1, round(seconds))}",
        f"--file={SCRIPTS / script}",
        rig.url,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        printed = output.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"pgbench ended with {process.returncode}: {printed}")
    rig.accounts.generator_seconds += usage.ru_utime + usage.ru_stime
    rig.accounts.generators.add(NAME)
    return parsed(printed)


def parsed(printed: str) -> PgbenchRun:
    """What pgbench printed.  Raises ValueError when it is not as expected, or a transaction failed."""
    count = re.search(r"number of transactions actually processed: (\d+)", printed)
    failed = re.search(r"number of failed transactions: (\d+)", printed)
    rate = re.search(r"tps = ([\d.]+)", printed)
    if count is None or rate is None or (failed is not None and failed[1] != "0"):
        raise ValueError(printed)
    return PgbenchRun(int(count[1]), float(rate[1]))
