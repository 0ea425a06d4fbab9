"""A server run from ordinary, synchronous code: tests and short commands."""

import os
import signal
import subprocess
from pathlib import Path

from devkit.errors import DevError
from devkit.program import Program
from devkit.waiting import wait_until

TAIL_BYTES = 4_000


def log_tail(path: Path) -> str:
    """The last lines of a log, for an error message."""
    if not path.exists():
        return "(no log)"
    return path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip() or "(empty log)"


class Child:
    """One run of a program: started once, stopped once."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                program.launch_argv(),
                env=dict(program.env),
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C at the terminal reaches who started us, and they stop it.
                start_new_session=True,
                pass_fds=program.inherited_fds,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Return when it answers.  Raises DevError, with the log's tail, when it ended or took too long."""

        def ready_or_gone() -> bool:
            is_ready = self.program.is_ready
            return not self.running or is_ready is None or is_ready(self.pid)

        in_time = wait_until(ready_or_gone, self.program.ready_timeout_seconds)
        if in_time and self.running:
            return
        what = "did not answer in time" if self.running else f"ended with code {self._process.returncode}"
        if self.running:
            self.kill()
        raise DevError(f"{self.program.name} {what}:\n{log_tail(self.log)}")

    def stop(self) -> None:
        """Ask it to stop, wait, and kill it when it does not."""
        if self.running:
            self._process.send_signal(self.program.stop_signal)
            try:
                self._process.wait(self.program.stop_timeout_seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9, for it and for what it left in its process group."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
