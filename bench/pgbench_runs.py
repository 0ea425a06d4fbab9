"""pgbench: PostgreSQL's own client, spending one by one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from bench.rig import Rig
from devkit.binaries import postgres_bin

SCRIPTS = Path(__file__).parent / "pgbench"
CLIENTS = 16


def prepare(rig: Rig) -> None:
    """Tables like the service's, without what makes the service's different."""
    rig.sql((SCRIPTS / "schema.sql").read_text())


def per_second(rig: Rig, script: str, seconds: float) -> float:
    """Transactions a second of a script, prepared, CLIENTS clients."""
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
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"tps = ([\d.]+)", printed)
    if found is None:
        raise RuntimeError(printed)
    return float(found[1])
