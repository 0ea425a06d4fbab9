"""A real PgBouncer in front of a test's PostgreSQL, with the configuration that deploy/pgbouncer gives."""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path

from sqlalchemy import URL, make_url

from devkit import cluster, ports
from devkit.binaries import postgres_bin, postgres_identity
from devkit.child import Child
from devkit.paths import ROOT
from devkit.program import Program

THROUGH_POOLER = "TEST_THROUGH_PGBOUNCER"
"""Set for a run whose services have a PgBouncer in front of their cold paths; then its port (./dev pgbouncer)."""

CONFIGURATION = ROOT / "deploy" / "pgbouncer" / "pgbouncer.ini"


class PgBouncer:
    """The pooler that owns `home`; `server` is the URL of any database of the server behind it."""

    def __init__(self, home: Path, server: str, **settings: str) -> None:
        self._home = home
        self._server = make_url(server)
        self._settings = settings
        self.port = ports.choose()
        self._child: Child | None = None

    def url(self, database: str | None = None) -> str:
        """`postgresql://…` through the pooler; the database is that of `server` unless named."""
        through: URL = self._server.set(port=self.port)
        return (through if database is None else through.set(database=database)).render_as_string(
            hide_password=False
        )

    def start(self) -> None:
        """Write its files, start it and wait until it answers."""
        self._home.mkdir(parents=True, exist_ok=True)
        users = self._home / "userlist.txt"
        users.write_text(f'"{self._server.username}" "{self._server.password}"\n')
        ours = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_file": str(users),
            "admin_users": str(self._server.username),
            **self._settings,
        }
        text = CONFIGURATION.read_text("utf-8")
        target = f"* = host={self._server.host} port={self._server.port}"
        text = re.sub(r"(?m)^mana_credits = .*$", target, text)
        for name, value in ours.items():
            text = re.sub(rf"(?m)^;?{name} = .*\n", "", text)
            text = text.replace("[pgbouncer]\n", f"[pgbouncer]\n{name} = {value}\n")
        configuration = self._home / "pgbouncer.ini"
        configuration.write_text(text)
        for path in (self._home, users, configuration):
            cluster.hand_over(path)
        identity = postgres_identity(postgres_bin() / "postgres")
        program = Program(
            "pgbouncer",
            (_binary(), str(configuration)),
            dict(os.environ),
            lambda _pid: _accepts(self.port),
            identity=identity,
        )
        self._child = Child(program, self._home / "pgbouncer.log")
        self._child.wait_ready()

    def stop(self) -> None:
        """End it at once: sessions through it break."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """kill -9; `start` brings it back on its port."""
        if self._child is not None:
            self._child.kill()
            self._child = None


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _binary() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found is not None, "no pgbouncer on this machine: apt-get install pgbouncer"
    return found
