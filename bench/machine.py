"""On what was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from bench import wrk
from devkit.binaries import postgres_bin
from devkit.paths import ROOT

PACKAGES = ("aiohttp", "psycopg", "sqlalchemy", "uvloop", "msgspec", "dramatiq")


@cache
def facts() -> dict[str, str]:
    """Cores, memory, versions, and the commit that was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": ", ".join(sorted(models)) or platform.machine(),
        "memory": f"{pages / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": _printed(str(postgres_bin() / "postgres"), "--version").rpartition(" ")[2],
        "wrk": wrk.version() or "not installed",
        **{package: version(package) for package in PACKAGES},
        "commit": _commit(),
    }


def _commit() -> str:
    changed = _printed("git", "status", "--porcelain", "--untracked-files=no")
    return _printed("git", "rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def _printed(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
