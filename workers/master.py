"""Several worker processes under one: started, started again when they die, ended together."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from domain.telemetry.sharing import environment_of_child, forget_gauges
from workers.process import DRAIN_SECONDS

CHECK_EVERY_SECONDS: Final = 0.2

RESTART_AFTER_SECONDS: Final = 1.0
"""The least time between two starts of the same child: one that cannot start shall not burn the machine."""

KILL_AFTER_SECONDS: Final = DRAIN_SECONDS + 5
"""A child that drained longer is killed: its jobs wait, and are done elsewhere."""

log = structlog.get_logger(__name__)


def run_children(
    command: Sequence[str],
    count: int,
    stop: threading.Event,
    serve_metrics: Callable[[str], Callable[[], None]],
) -> int:
    """Keep `count` processes of `command` running until `stop` is set, then end them; the exit code.

    `serve_metrics` is given the directory in which they count, and returns what ends it.
    """
    with tempfile.TemporaryDirectory(prefix="mana-metrics-") as directory:
        close = serve_metrics(directory)
        try:
            return _run(command, count, stop, directory)
        finally:
            close()


def _run(command: Sequence[str], count: int, stop: threading.Event, directory: str) -> int:
    children = [_Child(command, slot, directory) for slot in range(count)]
    while not stop.wait(CHECK_EVERY_SECONDS):
        for child in children:
            child.keep_running()
    for child in children:
        child.terminate()
    deadline = time.monotonic() + KILL_AFTER_SECONDS
    return max([child.end(deadline) for child in children])


class _Child:
    def __init__(self, command: Sequence[str], slot: int, directory: str) -> None:
        self._command = command
        self._slot = slot
        self._directory = directory
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._command, env={**os.environ, **environment_of_child(self._directory, self._slot)}
        )

    def keep_running(self) -> None:
        code = self._process.poll()
        if code is not None:
            forget_gauges(self._directory, self._slot)
        if code is not None and time.monotonic() >= self._started + RESTART_AFTER_SECONDS:
            log.error("worker_process_died", pid=self._process.pid, code=code)
            self._start()

    def terminate(self) -> None:
        self._process.terminate()

    def end(self, deadline: float) -> int:
        """0 when it ended in good order, 1 when not."""
        try:
            return int(self._process.wait(max(0.0, deadline - time.monotonic())) != 0)
        except subprocess.TimeoutExpired:
            log.warning("worker_process_killed", pid=self._process.pid)
            self._process.kill()
            self._process.wait()
            return 1
