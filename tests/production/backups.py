"""Backups of a running PostgreSQL, and servers made of them: by PostgreSQL's own programs, as docs/production.md says.

Each kind says of itself what it must hold: what was committed when it was begun, or everything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from devkit import cluster
from devkit.binaries import postgres_bin, postgres_identity
from devkit.child import Child
from devkit.errors import DevError
from devkit.postgres import Postgres
from devkit.program import Program
from devkit.waiting import wait_until

SECONDS_MAX = 120.0


class Backup(Protocol):
    """A kind of backup, of one server, below a directory of its own."""

    name: str
    holds_all: bool
    """Whether it holds what was committed until the server was lost, or until the backup was begun."""

    def prepare(self) -> None:
        """What runs from before the load on."""

    def take(self) -> None:
        """Take it, under load."""

    def close(self) -> None:
        """The server is about to be lost: nothing more is written by it."""

    def restore(self) -> Postgres:
        """A new server from it, started."""


def run(program: str, *arguments: str, more: Mapping[str, str] | None = None) -> None:
    """Run one of PostgreSQL's programs.  Raises DevError with what it said."""
    argv = [str(postgres_bin() / program), *arguments]
    ended = subprocess.run(
        argv, env={**os.environ, "LC_ALL": "C", **(more or {})}, capture_output=True, text=True
    )
    if ended.returncode != 0:
        raise DevError(f"{program} failed:\n{ended.stdout}{ended.stderr}")


class Dump:
    """pg_dump: one database, as statements; into a server of any newer version."""

    name = "pg_dump"
    holds_all = False

    def __init__(self, server: Postgres, home: Path) -> None:
        self._server, self._home = server, home
        self._file = home / "mana_credits.dump"

    def prepare(self) -> None:
        self._home.mkdir(parents=True)
        self._home.chmod(0o755)

    def take(self) -> None:
        run("pg_dump", "--format=custom", "--file", str(self._file), self._server.url())

    def close(self) -> None:
        pass

    def restore(self) -> Postgres:
        made = Postgres(self._home / "restored")
        made.start()
        run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", made.url(), str(self._file))
        return made


class Base:
    """pg_basebackup: the whole server's files, with the log of what was written meanwhile."""

    name = "pg_basebackup"
    holds_all = False

    def __init__(self, server: Postgres, home: Path) -> None:
        self._server, self._home = server, home
        self._files = home / "restored" / "data"

    def prepare(self) -> None:
        self._files.parent.mkdir(parents=True)
        for path in (self._home, self._files.parent):
            path.chmod(0o755)

    def take(self) -> None:
        run(
            "pg_basebackup",
            *("--dbname", self._server.url(), "--pgdata", str(self._files)),
            *("--checkpoint=fast", "--wal-method=stream"),
        )
        run("pg_verifybackup", str(self._files))

    def close(self) -> None:
        pass

    def restore(self) -> Postgres:
        password = self._files.parent / "password"
        shutil.copy(self._server.home / "password", password)
        with (self._files / "postgresql.auto.conf").open("a") as file:
            # It was the lost server's: with it, every commit would wait for who is not there.
            file.write("synchronous_standby_names = ''\n")
        give(self._files, password)
        made = Postgres(self._files.parent)
        made.start()
        return made


class Archive(Base):
    """The same, and the write-ahead log received ever since: restored until the moment the server was lost."""

    name = "pg_basebackup and pg_receivewal"
    holds_all = True

    def __init__(self, server: Postgres, home: Path) -> None:
        super().__init__(server, home)
        self._log = home / "wal"
        self._receiving: Child | None = None

    def prepare(self) -> None:
        super().prepare()
        self._log.mkdir()
        create = ("--slot=drill", "--create-slot", "--if-not-exists", "--dbname", self._server.url())
        run("pg_receivewal", *create)
        receive = ("--slot=drill", "--synchronous", "--directory", str(self._log))
        argv = (str(postgres_bin() / "pg_receivewal"), *receive, "--dbname", self._server.url())
        # So that what is answered stands in the archive too.
        self._server.execute("ALTER SYSTEM SET synchronous_standby_names = 'pg_receivewal'")
        program = Program("pg_receivewal", argv, {**os.environ, "LC_ALL": "C"})
        self._receiving = Child(program, self._home / "receiving.log")
        self._server.execute("SELECT pg_reload_conf()")
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        if not wait_until(lambda: self._server.execute(streaming) == "1", SECONDS_MAX):
            raise DevError(f"pg_receivewal does not stream: {(self._home / 'receiving.log').read_text()}")

    def close(self) -> None:
        if self._receiving is not None:
            self._receiving.stop()

    def restore(self) -> Postgres:
        # The segment that was being written when the server was lost is whole as far as it was received.
        for partial in self._log.glob("*.partial"):
            partial.rename(partial.with_suffix(""))
        with (self._files / "postgresql.auto.conf").open("a") as file:
            file.write(f'restore_command = \'cp "{self._log}/%f" "%p"\'\n')
        (self._files / "recovery.signal").touch()
        give(self._log)
        made = super().restore()
        if not wait_until(lambda: made.execute("SELECT pg_is_in_recovery()") == "f", SECONDS_MAX):
            raise DevError("the restored server does not end its recovery")
        return made


class Replica(Base):
    """A standby that follows the server: for reads, and to take over."""

    name = "a replica"

    def take(self) -> None:
        run(
            "pg_basebackup",
            *("--dbname", self._server.url(), "--pgdata", str(self._files)),
            *("--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"),
        )


def give(*paths: Path) -> None:
    """To the user as whom PostgreSQL runs, with all that is below."""
    if postgres_identity(postgres_bin() / "postgres") != "nobody":
        return
    for top in paths:
        for path in (top, *top.rglob("*")):
            cluster.hand_over(path)
