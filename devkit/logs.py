"""Where the output of supervised processes goes: a file each, and the terminal with their names before it."""

from pathlib import Path

from devkit.screen import COLOURS, paint, say

FILE_BYTES_MAX = 10_000_000
FILES_KEPT = 3
# A longer line is cut: somebody writes without line ends.
LINE_BYTES_MAX = 1_000_000


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
    """The terminal, shared by all processes."""

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
        say(f"{paint(f'{name:<10}|', colour)} {text}")


class Sink:
    """Takes the output of one process."""

    def __init__(self, name: str, data_dir: Path, console: Console, *, file_only: bool = False) -> None:
        """With `file_only` the terminal does not show it: the embedded servers' chatter."""
        self.name = name
        self.file = RotatingFile(log_file(data_dir, name))
        self._console = console
        self._file_only = file_only
        self._unfinished = b""

    def feed(self, chunk: bytes) -> None:
        """Take output as it comes, and pass on whole lines."""
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        for line in lines:
            self.line(line)
        if len(self._unfinished) > LINE_BYTES_MAX:
            self.end_of_output()

    def end_of_output(self) -> None:
        """Pass on a last line that was not finished."""
        if self._unfinished:
            self.line(self._unfinished)
            self._unfinished = b""

    def close(self) -> None:
        """Nothing more will come."""
        self.file.close()

    def line(self, line: bytes) -> None:
        """Pass on one line, given without its end."""
        self.file.write(line + b"\n")
        if not self._file_only:
            self._console.line(self.name, line.decode(errors="replace"))
