"""`run.json`: what is running on a DATA_DIR, for people, scripts and the other commands."""

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

NAME = "run.json"
START_TIME_FIELD = 22  # of /proc/PID/stat, counted from 1: clock ticks between boot and the process's start
STATE_FIELD = 3


def _stat_field(pid: int, number: int) -> str | None:
    """A field of /proc/PID/stat; None when there is no such process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The second field is the program's name in parentheses and may hold anything, spaces included.
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return after_name[number - 3]
    return None


@dataclass(frozen=True)
class ProcessId:
    """A process, and not another one that got its number later."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """The process that has the number now.  Raises ProcessLookupError when there is none."""
        ticks = _stat_field(pid, START_TIME_FIELD)
        if ticks is None:
            raise ProcessLookupError(pid)
        return cls(pid, int(ticks))

    @classmethod
    def myself(cls) -> "ProcessId":
        """The calling process."""
        return cls.of(os.getpid())

    @property
    def alive(self) -> bool:
        """Whether that very process runs; one that ended and was not waited for does not."""
        ticks = _stat_field(self.pid, START_TIME_FIELD)
        return ticks == str(self.start_ticks) and _stat_field(self.pid, STATE_FIELD) != "Z"


@dataclass
class ProcessRecord:
    """One supervised process."""

    state: str = "starting"
    """starting, ready, waiting (to be restarted) or stopped."""
    pid: int | None = None
    start_ticks: int | None = None
    started_at: str | None = None
    """UTC, ISO 8601."""
    restarts: int = 0
    url: str | None = None

    @property
    def id(self) -> ProcessId | None:
        if self.pid is None or self.start_ticks is None:
            return None
        return ProcessId(self.pid, self.start_ticks)


@dataclass
class Run:
    """What one `./dev up` runs."""

    supervisor: ProcessId
    started_at: str
    data_dir: str
    url: str
    port: int
    database_url: str
    redis_url: str
    service_key: str
    ready: bool = False
    urls: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, ProcessRecord] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether its supervisor runs.  If not, everything was killed and the file is stale."""
        return self.supervisor.alive

    def leftovers(self) -> list[ProcessId]:
        """The processes of this run that are still there."""
        ids = [record.id for record in self.processes.values()]
        return [process for process in ids if process is not None and process.alive]


def write(data_dir: Path, run: Run) -> None:
    """Replace run.json at once, readable by its owner alone: it holds passwords."""
    handle, name = tempfile.mkstemp(dir=data_dir, prefix=".run-")  # mode 0600
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(run), file, indent=2)
        file.write("\n")
    Path(name).replace(data_dir / NAME)


def read(data_dir: Path) -> Run | None:
    """The run that run.json tells of, alive or not; None without a file."""
    try:
        content = json.loads((data_dir / NAME).read_text())
    except FileNotFoundError:
        return None
    content["supervisor"] = ProcessId(**content["supervisor"])
    content["processes"] = {name: ProcessRecord(**record) for name, record in content["processes"].items()}
    return Run(**content)


def remove(data_dir: Path) -> None:
    """Forget the run."""
    (data_dir / NAME).unlink(missing_ok=True)
