"""A wall clock that can be set: Python imports this at its start where this directory is on its path.

The file that `CLOCK_FILE` names says how many seconds the clock is away from the true time; when that changes,
the clock of the running process does, as when somebody sets a machine's.  Clocks that only pass (monotonic)
go on.  Which calls are moved: every one of Python's that tells the time of day, in whatever library.
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

LOOK_EVERY_SECONDS = 0.02


def _follow(file: Path) -> None:
    offset = timedelta(seconds=float(file.read_text()))
    clock = time_machine.travel(datetime.now(UTC) + offset, tick=True).start()

    def look() -> None:
        nonlocal offset
        while True:
            time.sleep(LOOK_EVERY_SECONDS)
            wanted = timedelta(seconds=float(file.read_text()))
            if wanted != offset:
                clock.shift(wanted - offset)
                offset = wanted

    threading.Thread(target=look, name="clock", daemon=True).start()


if file_name := os.environ.get("CLOCK_FILE"):
    _follow(Path(file_name))
