"""A child process in an event loop, whose end and whose output's end are two things.

asyncio's own subprocesses end only when the last holder of their output has: a killed master's orphaned
workers would keep it "alive" for ever.
"""

import asyncio
import contextlib
import os
import signal
import subprocess

from devkit.logs import Sink
from devkit.program import Program

CHUNK_BYTES = 65_536
# What was written just before the end is still in the pipe; a stranger holding the pipe open is not waited for.
OUTPUT_END_SECONDS = 1.0


class Process:
    """One life of a program, its output going to a sink."""

    def __init__(self, program: Program, sink: Sink) -> None:
        """Start it.  Call from the main thread, in a running loop: the child dies with that thread."""
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._output, write_end = os.pipe()
        self._output_ended = asyncio.Event()
        try:
            self._popen = subprocess.Popen(
                program.launch_argv(),
                env=dict(program.env),
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal reaches the supervisor alone, which stops all in order.
                start_new_session=True,
                pass_fds=program.inherited_fds,
            )
        finally:
            os.close(write_end)
        self._loop.add_reader(self._output, self._read)

    @property
    def pid(self) -> int:
        return self._popen.pid

    async def wait(self) -> int:
        """The exit code, once it has ended and what it wrote is in the sink.

        What is left of its process group is killed: a master that died leaves its workers.
        """
        ended = asyncio.Event()
        pid_fd = os.pidfd_open(self.pid)
        self._loop.add_reader(pid_fd, ended.set)
        try:
            await ended.wait()
        finally:
            self._loop.remove_reader(pid_fd)
            os.close(pid_fd)
        code = self._popen.wait()
        kill_group(self.pid)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._output_ended.wait(), OUTPUT_END_SECONDS)
        self._end_output()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, for it and what it started in its process group."""
        kill_group(self.pid)

    def _read(self) -> None:
        chunk = os.read(self._output, CHUNK_BYTES)
        if chunk:
            self._sink.feed(chunk)
        else:
            self._end_output()

    def _end_output(self) -> None:
        if not self._output_ended.is_set():
            self._output_ended.set()
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._sink.end_of_output()


def kill_group(pid: int) -> None:
    """kill -9 for what is left of the process group that `pid` leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
