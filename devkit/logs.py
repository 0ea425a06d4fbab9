"""Where the output of supervised processes goes: a file each, and the terminal with their names before it."""

import asyncio
import sys
from pathlib import Path

from devkit.screen import COLOURS, paint

FILE_BYTES_MAX = 10_000_000
FILES_KEPT = 3
CHUNK_BYTES = 65_536


def log_file(data_dir: Path, name: str) -> Path:
    """The log of the process called `name`."""
    return data_dir / "logs" / f"{name}.log"


class RotatingFile:
    """A log file that never grows without limit: NAME.log, then NAME.log.1 … NAME.log.3."""

    def __init__(self, path: Path, *, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT) -> None:
        self.path = path
        self.bytes_max = bytes_max
        self.kept = kept
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Append one line; begin a new file when this one is full."""
        if self._file.tell() + len(line) > self.bytes_max:
            self._rotate()
        self._file.write(line)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self.kept, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()


class Console:
    """The terminal, shared by all processes; falls silent when nobody reads it any more."""

    def __init__(self, *, shows_logs: bool) -> None:
        self.shows_logs = shows_logs
        self._names: list[str] = []

    def line(self, name: str, text: str) -> None:
        """Show one line of a process's output."""
        if not self.shows_logs:
            return
        if name not in self._names:
            self._names.append(name)
        colour = COLOURS[self._names.index(name) % len(COLOURS)]
        try:
            print(f"{paint(f'{name:<10}|', colour)} {text}", flush=True)
        except BrokenPipeError:
            # `./dev up | head`: the services matter more than their audience.
            self.shows_logs = False
            sys.stdout = Path("/dev/null").open("w")  # noqa: SIM115  # stays open to the end


class Sink:
    """Takes the output of one process."""

    def __init__(self, name: str, data_dir: Path, console: Console, *, file_only: bool = False) -> None:
        """With `file_only` the terminal does not show it: the embedded servers' chatter."""
        self.name = name
        self.file = RotatingFile(log_file(data_dir, name))
        self._console = console
        self._file_only = file_only

    async def copy(self, stream: asyncio.StreamReader) -> None:
        """Pass on whole lines until the stream ends."""
        unfinished = b""
        while chunk := await stream.read(CHUNK_BYTES):
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            for line in lines:
                self.line(line)
            if len(unfinished) > CHUNK_BYTES:
                self.line(unfinished)
                unfinished = b""
        if unfinished:
            self.line(unfinished)

    def line(self, line: bytes) -> None:
        """Pass on one line, given without its end."""
        self.file.write(line + b"\n")
        if not self._file_only:
            self._console.line(self.name, line.decode(errors="replace"))
