"""Several processes of one program count together: each keeps its values in files that one of them reads out.

The files belong to a slot (the first child, the second, …) and not to a process id.  A child that dies leaves its
counters to the one that takes its slot, so that sums never fall and files never pile up; its gauges go with it.
The directory is made anew by the program's master: a program that starts counts from nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from prometheus_client import CollectorRegistry, multiprocess, values

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The name is prometheus_client's, which reads it too."""

SLOT_VARIABLE: Final = "METRICS_SLOT"


PREFIX: Final = "mana-metrics-"
LOCK: Final = "lock"


@contextlib.contextmanager
def masters_directory() -> Iterator[tuple[str, int]]:
    """A new directory for a master's children to count in, gone at the end; and the descriptor of its lock.

    Who has the descriptor keeps the directory: the master, and the children that it is handed to.  What masters
    that were killed left is removed first.
    """
    home = Path(tempfile.gettempdir())
    for left in home.glob(f"{PREFIX}*"):
        with (
            contextlib.suppress(OSError),
            (left / LOCK).open("rb") as lock,
        ):  # another user's, or being removed
            _lock(lock)
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as directory:
        making = Path(directory) / "making"
        with making.open("wb") as lock:
            _lock(lock)
            making.rename(making.with_name(LOCK))  # nobody sees it before it is locked
            yield directory, lock.fileno()


def _lock(file: IO[bytes]) -> None:
    """Raises BlockingIOError, which is an OSError, when somebody has it."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def environment_of_child(directory: str, slot: int) -> dict[str, str]:
    """What a master adds to the environment of its child number `slot`, from 0 on."""
    return {DIRECTORY_VARIABLE: directory, SLOT_VARIABLE: str(slot)}


def use_the_slots_files(environ: Mapping[str, str] = os.environ) -> None:
    """Keep the values of metrics that are made from now on in the files of this process's slot, if it has one."""
    directory, slot = environ.get(DIRECTORY_VARIABLE), environ.get(SLOT_VARIABLE)
    if directory and slot:
        forget_gauges(directory, int(slot))
        values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def forget_gauges(directory: str, slot: int) -> None:
    """Drop what the process of a slot said of itself: it has ended."""
    multiprocess.mark_process_dead(slot, directory)  # type: ignore[no-untyped-call]


def shared_registry(directory: str | None = None) -> CollectorRegistry | None:
    """The values of all processes that count in `directory`, or in this process's own; None when there is none."""
    directory = directory or os.environ.get(DIRECTORY_VARIABLE)
    if not directory:
        return None
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    return registry
