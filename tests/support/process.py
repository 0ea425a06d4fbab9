"""The web application as a process of its own, to be killed."""

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devkit import ports
from devkit.waiting import wait_until
from tests.support.forking import Process, start_module

START_SECONDS = 60.0
"""A second is usual; on a machine with much else to do it takes many."""
STOP_SECONDS = 20.0
KEPT = ("PATH", "HOME", "LANG", "PYTHONPYCACHEPREFIX")

NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull}
"""Whoever tests' processes talk to has no certificate, and reading those of all authorities is a tenth of a start."""


class WebProcess:
    """`python -m web` on a port that stays the same; its output is added to `log`."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.port = ports.choose()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._environment = {**process_environment(environment), "PORT": str(self.port), "HOST": "127.0.0.1"}
        self._process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = start_module("web", self._environment, self.log)
        assert wait_until(self.answers, START_SECONDS), self.log.read_text()

    @property
    def pid(self) -> int:
        """The process that was started, which may have others under it."""
        assert self._process is not None
        return self._process.pid

    def answers(self) -> bool:
        """Whether `/health` answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/health", timeout=1) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """Kill it if it runs."""
        if self.is_running:
            self.kill()

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, as a deployment does; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(by)
        return self._process.wait(STOP_SECONDS)


def process_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment with nothing of the service's but `variables`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **NO_AUTHORITIES, "PYTHONUNBUFFERED": "1", **variables}


@contextmanager
def running_process(environment: Mapping[str, str], log: Path) -> Iterator[WebProcess]:
    """The process, started, and gone at the end whatever happened to it."""
    process = WebProcess(environment, log)
    try:
        process.start()
        yield process
    finally:
        process.kill()
