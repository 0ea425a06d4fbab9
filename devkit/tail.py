"""`./dev logs`: what the processes have said."""

import os
import time
from pathlib import Path

from devkit.errors import DevError
from devkit.screen import COLOURS, paint, say

POLL_SECONDS = 0.2


class Follower:
    """Reads one log from some lines before its end on, through rotations."""

    def __init__(self, path: Path, colour: str, *, lines: int) -> None:
        self.path = path
        self._prefix = paint(f"{path.stem:<10}|", colour)
        self._file = path.open("rb")
        self._unfinished = b""
        kept = self._file.read().splitlines(keepends=True)[-lines:] if lines else []
        self._file.seek(-sum(len(line) for line in kept), os.SEEK_END)

    def show_new(self) -> None:
        """Print the lines written since the last call."""
        self._show()
        if self.path.exists() and os.fstat(self._file.fileno()).st_ino != self.path.stat().st_ino:
            self._file.close()
            self._file = self.path.open("rb")
            self._show()

    def _show(self) -> None:
        *lines, self._unfinished = (self._unfinished + self._file.read()).split(b"\n")
        for line in lines:
            say(f"{self._prefix} {line.decode(errors='replace')}")


def show_logs(data_dir: Path, name: str | None, *, lines: int, follow: bool) -> None:
    """Print the last `lines` of one process's log, or of all; with `follow` go on until Ctrl-C.

    Raises DevError when there is no such log.
    """
    logs = sorted(path for path in (data_dir / "logs").glob("*.log") if name in (None, path.stem))
    if not logs:
        known = ", ".join(sorted(path.stem for path in (data_dir / "logs").glob("*.log")))
        raise DevError(
            f"No log{f' of {name!r}' if name else ''} in {data_dir / 'logs'}. There: {known or 'none'}."
        )
    followers = [
        Follower(path, COLOURS[number % len(COLOURS)], lines=lines) for number, path in enumerate(logs)
    ]
    while True:
        for follower in followers:
            follower.show_new()
        if not follow:
            return
        time.sleep(POLL_SECONDS)
