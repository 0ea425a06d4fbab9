"""An embedded Valkey (or Redis) server: one directory, one server, safe to kill."""

import os
import secrets
import socket
from pathlib import Path

from devkit import ports
from devkit.binaries import valkey_server
from devkit.child import Child, log_tail
from devkit.errors import DevError
from devkit.locks import FileLock
from devkit.program import Program

LOCK_WAIT_SECONDS = 15.0
START_TRIES = 5
# One for each process of a parallel test run, and the usual sixteen for everybody else.
DATABASES = 64

CONFIGURATION = """\
bind {host}
protected-mode yes
requirepass {password}
dir "{home}"
databases {databases}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


class Valkey:
    """The server that owns `home`: append-only file, `password`, `port`, `lock` and `server.log` in it."""

    def __init__(
        self,
        home: Path,
        *,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        host: str = ports.LOOPBACK,
        within: tuple[str, ...] = (),
    ) -> None:
        """It listens on `host`."""
        self.home = home
        self.host = host
        self.within = within
        self.lock_wait_seconds = lock_wait_seconds
        self._lock = FileLock(home / "lock")
        self._child: Child | None = None

    @property
    def port(self) -> int:
        return int((self.home / "port").read_text())

    @property
    def password(self) -> str:
        return (self.home / "password").read_text().strip()

    def url(self, database: int = 0) -> str:
        """`redis://…` of one of its numbered databases, password included."""
        return f"redis://:{self.password}@{self.host}:{self.port}/{database}"

    def prepare(self) -> None:
        """Take the directory, write the configuration, choose the port.

        Raises DevError when another server runs on the directory.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire(wait_seconds=self.lock_wait_seconds):
            raise DevError(f"A Valkey server already runs on {self.home}.")
        password = self.home / "password"
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_urlsafe(24))
        configuration = self.home / "valkey.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            CONFIGURATION.format(host=self.host, password=self.password, home=self.home, databases=DATABASES)
        )
        ports.remembered(self.home / "port")

    def program(self) -> Program:
        """The command that runs it, once prepared."""
        return Program(
            name="valkey",
            argv=(str(valkey_server()), str(self.home / "valkey.conf"), "--port", str(self.port)),
            env=dict(os.environ),
            is_ready=self.is_ready,
            inherited_fds=(self._lock.fd,),
            within=self.within,
        )

    def is_ready(self, _pid: int) -> bool:
        """Whether it answers our password and a PING: another program on the port does not."""
        return self.ask(f"AUTH {self.password}\r\nPING\r\n").endswith("+PONG\r\n")

    def ask(self, commands: str) -> str:
        """Send inline commands and return the raw answer; empty when nobody answers."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1.0) as connection:
                connection.sendall(f"{commands}QUIT\r\n".encode())
                with connection.makefile("rb") as answer:
                    return answer.read().decode(errors="replace").removesuffix("+OK\r\n")
        except OSError:
            return ""

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
                if not tries_left or "Address already in use" not in log_tail(log):
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
        """kill -9 of the server.  `start` brings it back with what its append-only file holds."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """Stop in good order and start again, on the same port."""
        self.stop()
        self.start()
