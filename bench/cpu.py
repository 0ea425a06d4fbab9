"""CPU seconds and memory of processes, from /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def tree_of(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, with those that ended and were waited for."""
    return (
        sum(sum(int(ticks) for ticks in fields[11:15]) for each in tree_of(pid) if (fields := _fields(each)))
        / TICKS_PER_SECOND
    )


def resident_mb(pid: int) -> float:
    """Resident memory of one process, in MB (of 1,000,000 bytes)."""
    pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when the process is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The name of the program stands in brackets, and may hold anything.
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []
