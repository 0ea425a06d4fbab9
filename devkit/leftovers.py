"""What is still there after the supervisor was killed."""

import contextlib
import os
import signal

from devkit.process import kill_group
from devkit.runfile import Run
from devkit.screen import progress
from devkit.waiting import wait_until

# They were told to stop when their parent died: PostgreSQL still writes a checkpoint.
GOING_SECONDS = 15.0
KILLED_SECONDS = 5.0


def end_leftovers(run: Run) -> None:
    """Wait for the processes of a run whose supervisor is gone, and kill those that do not go."""
    if not run.leftovers():
        return
    with progress("Waiting for the processes of a run that was killed"):
        if wait_until(lambda: not run.leftovers(), GOING_SECONDS):
            return
        for process in run.leftovers():
            kill_group(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not run.leftovers(), KILLED_SECONDS)
