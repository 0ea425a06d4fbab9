"""Long-running processes under test (workers, schedulers): started, killed for real, stopped in good order."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from devkit.waiting import wait_until
from tests.support.forking import Process, start_module
from tests.support.process import process_environment

READY_SECONDS = 60.0
"""A second is usual; on a machine with much else to do it takes many."""


class Crew:
    """One `python -m <module>` and its children, in a process group of their own."""

    def __init__(
        self, module: str, ready: str, environment: Mapping[str, str], log: Path, *arguments: str
    ) -> None:
        """It is ready when the text `ready` stands in its log, once for each process."""
        self.log = log
        self._ready = ready
        self._environment = {**process_environment(environment), "ENV": "development", "LOG_FORMAT": "json"}
        self._module = module
        self._arguments = arguments
        self._process: Process | None = None

    def start(self, processes: int = 1) -> None:
        """Start it and wait until its processes are ready."""
        before = self.said(self._ready)
        self._process = start_module(
            self._module,
            {**self._environment, "WORKER_PROCESSES": str(processes)},
            self.log,
            arguments=self._arguments,
            has_own_session=True,
        )
        assert wait_until(lambda: self.said(self._ready) >= before + processes, READY_SECONDS), self.tail()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The process ids of its children."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def said(self, text: str) -> int:
        """How many times a text stands in its log."""
        return self.log.read_text().count(text) if self.log.exists() else 0

    def tail(self) -> str:
        return self.log.read_text()[-4000:]

    def kill(self) -> None:
        """kill -9 of all its processes at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self, timeout_seconds: float = 30.0) -> tuple[int, float]:
        """SIGTERM; its exit code, and the seconds that it took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout_seconds)
        return code, time.monotonic() - began


def eventually(condition: Callable[[], bool], what: str, seconds: float) -> float:
    """Wait for it; the seconds it took.  Fails when it takes longer than `seconds`."""
    began = time.monotonic()
    assert wait_until(condition, seconds), f"not {what} after {seconds} s"
    return time.monotonic() - began
