"""An embedded PostgreSQL server: one directory, one server, safe to kill."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from signal import SIGINT

from devkit import cluster, ports
from devkit.binaries import postgres_bin, postgres_identity
from devkit.child import Child, log_tail
from devkit.errors import DevError
from devkit.locks import FileLock
from devkit.program import Program

# An earlier server whose parent was killed is shutting down meanwhile: it writes a checkpoint and goes.
LOCK_WAIT_SECONDS = 15.0
# A start can meet a port taken a moment ago, or backends of a killed server that have not noticed yet.
RECOVERY_SECONDS_MAX = 180.0
"""Until it answers after a crash: it writes every file of its directory to the disk first, and repeats what its log
has.  On a busy disk that was seen to take more than half a minute."""

START_TRIES = 5
TRANSIENT_FAILURES = re.compile(r"pre-existing shared memory block|could not bind IPv4 address")


class Postgres:
    """The server that owns `home`: `data/`, `password`, `port`, `lock` and `server.log` in it.

    The lock is inherited by the server's processes: it is free only when all of them are gone.
    """

    def __init__(
        self,
        home: Path,
        *,
        durable: bool = True,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        host: str = ports.LOOPBACK,
        within: tuple[str, ...] = (),
    ) -> None:
        """With `durable=False` commits do not wait for the disk: for tests.  It listens on `host`."""
        self.home = home
        self.host = host
        self.within = within
        self.durable = durable
        self.lock_wait_seconds = lock_wait_seconds
        self._lock = FileLock(home / "lock")
        self._child: Child | None = None

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def port(self) -> int:
        return int((self.home / "port").read_text())

    @property
    def pid(self) -> int | None:
        """The process id in postmaster.pid, whether or not that process lives."""
        lines = self._pid_file_lines()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def url(self, database: str = cluster.DATABASE) -> str:
        """`postgresql://…` of one of its databases, password included."""
        password = (self.home / "password").read_text().strip()
        return f"postgresql://{cluster.SUPERUSER}:{password}@{self.host}:{self.port}/{database}"

    def prepare(self) -> None:
        """Take the directory, make the cluster when there is none, choose the port.

        Raises DevError when another server runs on the directory.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire(wait_seconds=self.lock_wait_seconds):
            raise DevError(f"A PostgreSQL server (process {self.pid}) already runs on {self.data}.")
        cluster.hand_over(self.home)
        cluster.create(self.home)
        self._forget_stranger()
        ports.remembered(self.home / "port")

    def program(self) -> Program:
        """The command that runs it, once prepared."""
        binary = postgres_bin() / "postgres"
        settings = {**cluster.SETTINGS, "listen_addresses": self.host, "port": str(self.port)}
        if not self.durable:
            settings |= cluster.UNSAFE_SETTINGS
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=(str(binary), "-D", str(self.data), *options),
            env={**os.environ, "LC_ALL": "C"},
            is_ready=self.is_ready,
            ready_timeout_seconds=RECOVERY_SECONDS_MAX,
            stop_signal=SIGINT,  # "fast": ends sessions, writes a checkpoint
            identity=postgres_identity(binary),
            inherited_fds=(self._lock.fd,),
            within=self.within,
        )

    def is_ready(self, pid: int) -> bool:
        """Whether the server with process id `pid` accepts connections, by its own postmaster.pid."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def start(self) -> None:
        """Prepare, start and wait until it answers.  Raises DevError, with the log's tail, when it cannot."""
        log = self.home / "server.log"
        for tries_left in reversed(range(START_TRIES)):
            self.prepare()
            log.unlink(missing_ok=True)
            self._child = Child(self.program(), log)
            try:
                self._child.wait_ready()
            except DevError:
                if not tries_left or not TRANSIENT_FAILURES.search(log_tail(log)):
                    self.stop()
                    raise
            else:
                return

    def stop(self) -> None:
        """Stop it in good order and give the directory up."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        self._lock.release()

    def kill(self) -> None:
        """kill -9 of the server, as the kernel would when memory runs out.  `start` brings it back."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """Stop in good order and start again, on the same port."""
        self.stop()
        self.start()

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run SQL through psql and return its bare output.  Raises DevError with psql's message."""
        result = subprocess.run(
            [*psql_command(self.url(database)), "--quiet", "--tuples-only", "--no-align", "--command", sql],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise DevError(f"psql failed: {result.stderr.strip()}")
        return result.stdout.strip()

    def _pid_file_lines(self) -> list[str]:
        # Absent while no server runs; PostgreSQL removes it at any moment.
        with contextlib.suppress(FileNotFoundError):
            return (self.data / "postmaster.pid").read_text().splitlines()
        return []

    def _forget_stranger(self) -> None:
        """Remove a postmaster.pid whose number now belongs to another program.

        PostgreSQL itself recognises a dead process, but refuses to start when the number was given to a
        new one, as after a reboot.  We hold the lock, so no server of ours is alive.
        """
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"postgres" not in command:
                (self.data / "postmaster.pid").unlink()


def psql_command(url: str) -> list[str]:
    """The psql that came with the server, ignoring the user's own settings file."""
    psql = postgres_bin() / "psql"
    found = str(psql) if psql.exists() else shutil.which("psql")
    if found is None:
        raise DevError("No psql found.")
    return [found, "--no-psqlrc", url]
