"""`python -m <module>` without a second of importing: a process forked from one that has imported it already.

What is forked is a process of its own, with its own environment, output and end, that runs what `python -m` runs.
Whatever else Python and its libraries read of an environment when they are loaded, a fork would not see: where
there is such a thing, and where a master starts children, the module is started in the ordinary way.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devkit.paths import ROOT
from domain.telemetry.sharing import DIRECTORY_VARIABLE

FORKED_WITH = frozenset({"PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX"})
"""The parent has them as its children do."""

MANY = ("WEB_PROCESSES", "WORKER_PROCESSES")
"""Which say that it is a master."""

LOADED_LATER = {
    "web": ("web.serving",),
    "workers": ("workers.actors", "workers.process"),
    "tests.workers.program": ("tests.support.jobs", "workers.process"),
}
"""What a module imports once it knows that it is no master; no master is forked."""

READ_WHEN_LOADED = ("PYTHON", "LD_", "MALLOC_", DIRECTORY_VARIABLE)


class Forked:
    """A forked process, with as much of `subprocess.Popen` as tests need."""

    def __init__(self, parent: Parent, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._parent = parent
        # The parent has not reaped it, so that the id is still its own.
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; raises TimeoutExpired."""
        status = self._ended_within(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._fd, select.POLLIN)
            if waiting.poll(None if seconds is None else seconds * 1000):
                self.returncode = self._parent.reap(self.pid)
                os.close(self._fd)
        return self.returncode


Process = subprocess.Popen[bytes] | Forked


def start_module(
    module: str,
    environment: Mapping[str, str],
    log: Path,
    *,
    arguments: Sequence[str] = (),
    has_own_session: bool = False,
) -> Process:
    """Start `python -m <module>` in the checkout; its output is added to `log`."""
    special = [name for name in environment if name.startswith(READ_WHEN_LOADED) and name not in FORKED_WITH]
    is_master = any(environment.get(name, "1") != "1" for name in MANY)
    if not special and not is_master:
        return _parent().fork(module, environment, log, arguments, has_own_session=has_own_session)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=has_own_session,
        )


class Parent:
    """The process that has imported what it was asked for, and forks; it ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        ours, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forking", str(its.fileno())],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # no terminal for those who look for colours when they are loaded
                pass_fds=[its.fileno()],
                start_new_session=True,
            )
        with ours:
            self._stream = ours.makefile("rwb")

    def fork(
        self,
        module: str,
        environment: Mapping[str, str],
        log: Path,
        arguments: Sequence[str],
        *,
        has_own_session: bool,
    ) -> Forked:
        """A new process."""
        order = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log),
            "has_own_session": has_own_session,
        }
        return Forked(self, self._ask(order))

    def reap(self, pid: int) -> int:
        """The exit status of a process that has ended."""
        return self._ask({"reap": pid})

    def close(self) -> None:
        """End it, and what it forked."""
        self._stream.close()
        self._process.wait()

    def _ask(self, order: Mapping[str, Any]) -> int:
        with self._lock:
            self._stream.write(json.dumps(order).encode() + b"\n")
            self._stream.flush()
            return int(self._stream.readline())


@functools.cache
def _parent() -> Parent:
    return Parent()


def close() -> None:
    """End what forks, if anybody asked for it."""
    if _parent.cache_info().currsize:
        _parent().close()
        _parent.cache_clear()


def serve(stream: io.BufferedRWPair[Any, Any]) -> dict[str, Any]:
    """Fork and reap as it is told, and exit at the end of the stream; returns in each new process, its order."""
    living: set[int] = set()
    for line in stream:
        order = json.loads(line)
        if "reap" in order:
            _, status = os.waitpid(order["reap"], 0)
            living.discard(order["reap"])
            answer = os.waitstatus_to_exitcode(status)
        else:
            for module in (main_of(order["module"]), *LOADED_LATER.get(order["module"], ())):
                importlib.import_module(module)
            assert threading.active_count() == 1, "a fork would lose the other threads"
            gc.freeze()
            pid = os.fork()
            if pid:
                living.add(pid)
                continue  # the new process answers, when it has its session and its log
            move_out(order)
            answer = os.getpid()
        stream.write(f"{answer}\n".encode())
        stream.flush()
        if "reap" not in order:
            return dict(order)
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    sys.exit()


def main_of(module: str) -> str:
    """The module that `python -m` runs."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    return f"{module}.__main__" if spec.submodule_search_locations is not None else module


def move_out(order: Mapping[str, Any]) -> None:
    """Have what an ordinary start gives to a process before it runs anything."""
    if order["has_own_session"]:
        os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def become(order: Mapping[str, Any]) -> None:
    """Be the process that was ordered."""
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None
    sys.orig_argv = [sys.executable, "-m", order["module"], *order["arguments"]]
    sys.argv = ["-m", *order["arguments"]]
    # It is run as the main module, whose code runs anew: what it read when it was imported is forgotten.
    del sys.modules[main_of(order["module"])]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as its_end, its_end.makefile("rwb") as orders:
        ordered = serve(orders)
    become(ordered)
