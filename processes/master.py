"""Several processes of one program under one: started, started again when they die, replaced, ended together."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import structlog

from domain.telemetry.sharing import environment_of_child, forget_gauges, masters_directory
from processes.child import MASTER_VARIABLE, READY_VARIABLE, SOCKET_VARIABLE

CHECK_EVERY_SECONDS: Final = 0.2

RESTART_AFTER_SECONDS: Final = 1.0
"""The least time between two starts of the same child: one that cannot start shall not burn the machine."""

READY_SECONDS_MAX: Final = 30.0
"""How long a child that is to replace another may take until it is ready."""

BACKLOG: Final = 1024
"""Connections that may wait on a socket to be accepted."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Program:
    """What is to run `count` times: `name` for logs, and how long a child may take to end in good order."""

    name: str
    command: Sequence[str]
    count: int
    end_seconds: float


@dataclass
class Wishes:
    """What signals asked of the master."""

    stop: threading.Event = field(default_factory=threading.Event)
    replace: threading.Event = field(default_factory=threading.Event)


def listening_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """One listening socket a child, all on one address: the kernel shares connections out (SO_REUSEPORT).

    They are the master's: what waits on one outlives the child that was to accept it.  Raises OSError when the
    address is taken.
    """
    sockets = []
    for _ in range(count):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        sockets.append(listening)
    return sockets


def run_children(
    program: Program,
    wishes: Wishes,
    *,
    sockets: Sequence[socket.socket] = (),
    serve_metrics: Callable[[str], Callable[[], None]] | None = None,
) -> int:
    """Keep the program's processes running until `wishes.stop`, then end them; the exit code.

    With `sockets`, one for each, a child accepts on its own.  At `wishes.replace` each child is replaced by a new
    one, one after the other, the old one ending when the new one is ready; one that does not become ready is ended
    and the old ones stay.  `serve_metrics` is given the directory in which they count, and returns what ends it.
    """
    with ExitStack() as stack:
        directory, lock = stack.enter_context(masters_directory())
        if serve_metrics is not None:
            stack.callback(serve_metrics(directory))
        crew = _Crew(program, directory, lock, sockets)
        while not wishes.stop.wait(CHECK_EVERY_SECONDS):
            crew.keep_running()
            if wishes.replace.is_set():
                wishes.replace.clear()
                crew.replace(wishes.stop)
        for listening in sockets:
            listening.close()
        return crew.end()


class _Crew:
    def __init__(self, program: Program, directory: str, lock: int, sockets: Sequence[socket.socket]) -> None:
        self._program = program
        self._directory = directory
        self._lock = lock
        self._sockets = sockets
        self._children = [self._child(place, place) for place in range(program.count)]
        self._leaving: list[_Child] = []

    def _child(self, place: int, slot: int) -> _Child:
        listening = self._sockets[place] if self._sockets else None
        return _Child(self._program, slot, self._directory, self._lock, listening)

    def keep_running(self) -> None:
        for child in self._children:
            child.keep_running()
        self._leaving = [child for child in self._leaving if not child.has_left()]

    def replace(self, stop: threading.Event) -> None:
        log.info("processes_are_replaced", program=self._program.name)
        for place, old in enumerate(self._children):
            # Old and new count beside each other, each in files of its own.
            new = self._child(place, (old.slot + self._program.count) % (2 * self._program.count))
            if not new.becomes_ready(stop):
                log.error("process_not_replaced", program=self._program.name, pid=old.pid)
                new.terminate()
                self._leaving.append(new)
                return
            self._children[place] = new
            old.terminate()
            self._leaving.append(old)

    def end(self) -> int:
        ending = [*self._children, *self._leaving]
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + self._program.end_seconds
        return max(child.end(deadline) for child in ending)


class _Child:
    def __init__(
        self, program: Program, slot: int, directory: str, lock: int, listening: socket.socket | None
    ) -> None:
        self.slot = slot
        self._program = program
        self._directory = directory
        self._lock = lock
        self._listening = listening
        self._ready_pipe = -1
        self._alive_pipe = -1
        self._end_by = float("inf")
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _start(self) -> None:
        self._started = time.monotonic()
        self._close_pipes()
        self._ready_pipe, told = os.pipe()
        heard, self._alive_pipe = os.pipe()
        environment = {
            **os.environ,
            **environment_of_child(self._directory, self.slot),
            READY_VARIABLE: str(told),
            MASTER_VARIABLE: str(heard),
        }
        handed = [told, heard, self._lock]
        if self._listening is not None:
            environment[SOCKET_VARIABLE] = str(self._listening.fileno())
            handed.append(self._listening.fileno())
        self._process = subprocess.Popen(  # noqa: S603 - our own command  # nosec B603
            self._program.command, env=environment, pass_fds=handed
        )
        os.close(told)
        os.close(heard)

    def _close_pipes(self) -> None:
        for pipe in (self._ready_pipe, self._alive_pipe):
            if pipe >= 0:
                os.close(pipe)
        self._ready_pipe = self._alive_pipe = -1

    def becomes_ready(self, stop: threading.Event) -> bool:
        """Wait until it says so; False when it dies, takes too long, or all is to stop."""
        os.set_blocking(self._ready_pipe, False)
        deadline = self._started + READY_SECONDS_MAX
        while time.monotonic() < deadline and not stop.wait(CHECK_EVERY_SECONDS):
            try:
                return os.read(self._ready_pipe, 16) != b""
            except BlockingIOError:
                continue
        return False

    def keep_running(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        forget_gauges(self._directory, self.slot)
        if time.monotonic() >= self._started + RESTART_AFTER_SECONDS:
            log.error("process_died", program=self._program.name, pid=self.pid, code=code)
            self._start()

    def terminate(self) -> None:
        self._end_by = time.monotonic() + self._program.end_seconds
        self._process.terminate()

    def has_left(self) -> bool:
        """Whether it ended; one that took too long is killed."""
        if self._process.poll() is None and time.monotonic() > self._end_by:
            self._process.kill()
        if self._process.poll() is None:
            return False
        self._close_pipes()
        forget_gauges(self._directory, self.slot)
        return True

    def end(self, deadline: float) -> int:
        """0 when it ended in good order, 1 when not."""
        try:
            return int(self._process.wait(max(0.0, deadline - time.monotonic())) != 0)
        except subprocess.TimeoutExpired:
            log.warning("process_killed", program=self._program.name, pid=self.pid)
            self._process.kill()
            self._process.wait()
            return 1
        finally:
            self._close_pipes()
