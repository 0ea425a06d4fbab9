"""The embedded PostgreSQL, started for real and treated badly."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from devkit import cluster, ports, postgres
from devkit.binaries import DISGUISES, identity_works, postgres_bin
from devkit.errors import DevError
from devkit.paths import ROOT
from devkit.postgres import Postgres
from devkit.runfile import ProcessId
from tests import servers
from tests.devkit.conftest import eventually

PROGRAM = postgres_bin() / "postgres"
IDENTITIES = [name for name in DISGUISES if identity_works(PROGRAM, name)] if os.geteuid() == 0 else ["same"]

KEEP_A_SERVER_RUNNING = """
import signal, sys
from pathlib import Path
from devkit.postgres import Postgres
server = Postgres(Path(sys.argv[1]), durable=False)
server.start()
print(server.pid, flush=True)
signal.pause()
"""


def remember(server: Postgres, word: str) -> None:
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS remembered (word text)")
        connection.execute("INSERT INTO remembered VALUES (%s)", (word,))


def remembered(server: Postgres) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        return [row[0] for row in connection.execute("SELECT word FROM remembered")]


@pytest.fixture
def new_server(server_home: Callable[[str], Path]) -> Callable[..., Postgres]:
    """Makes handles on a directory that begins empty."""

    def make(name: str = "pg", lock_wait_seconds: float = 5.0) -> Postgres:
        return Postgres(server_home(name), durable=False, lock_wait_seconds=lock_wait_seconds)

    return make


@pytest.fixture
def initialised_server(new_server: Callable[..., Postgres]) -> Callable[..., Postgres]:
    """The same on a directory that has a database already, for what is not about making one."""

    def make(name: str = "pg", lock_wait_seconds: float = 5.0) -> Postgres:
        server = new_server(name, lock_wait_seconds)
        if not server.home.exists():
            servers.copy_of_golden(server.home)
        return server

    return make


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a_server_starts_whoever_we_are_and_keeps_its_data_through_kill_9(
    identity: str, new_server: Callable[..., Postgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (cluster, postgres):
        monkeypatch.setattr(module, "postgres_identity", lambda _program: identity)
    server = new_server()
    server.start()
    try:
        remember(server, "before")
        port = server.port
        server.kill()
        # Its own processes hold the port until they notice: who starts at once would get another.
        eventually(lambda: ports.is_free(port), "free")
        server.start()
        assert remembered(server) == ["before"]
        assert server.port == port
    finally:
        server.stop()


def test_no_orphan_stays_when_the_parent_is_killed_and_the_data_are_there_afterwards(
    initialised_server: Callable[..., Postgres],
) -> None:
    server = initialised_server(lock_wait_seconds=10.0)
    command = [sys.executable, "-c", KEEP_A_SERVER_RUNNING, str(server.home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        postmaster = ProcessId.of(int(parent.stdout.readline()))
        remember(server, "kept")
        parent.kill()
    eventually(lambda: not postmaster.alive, "gone")
    server.start()
    try:
        assert remembered(server) == ["kept"]
    finally:
        server.stop()


def test_a_new_server_waits_for_an_orphan_that_is_still_shutting_down(
    initialised_server: Callable[..., Postgres],
) -> None:
    server = initialised_server(lock_wait_seconds=10.0)
    command = [sys.executable, "-c", KEEP_A_SERVER_RUNNING, str(server.home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        postmaster = int(parent.stdout.readline())
        # Stopped, it cannot follow its parent yet.
        os.kill(postmaster, signal.SIGSTOP)
        parent.kill()
    with pytest.raises(DevError, match=f"process {postmaster}.* already runs"):
        Postgres(server.home, lock_wait_seconds=0.2).start()
    os.kill(postmaster, signal.SIGCONT)
    server.start()
    server.stop()


def test_a_second_server_on_a_directory_is_refused_and_does_not_hurt_the_first(
    initialised_server: Callable[..., Postgres],
) -> None:
    first = initialised_server()
    first.start()
    try:
        with pytest.raises(DevError, match=rf"process {first.pid}\) already runs on {first.data}"):
            initialised_server(lock_wait_seconds=0.1).start()
        remember(first, "unhurt")
    finally:
        first.stop()


def test_an_interrupted_initialisation_leaves_nothing_that_looks_complete(
    new_server: Callable[..., Postgres],
) -> None:
    server = new_server()
    half_made = server.home / "making-before" / "data"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    server.start()
    try:
        assert not half_made.parent.exists()
        assert server.execute("SELECT 1", cluster.DATABASE) == "1"
    finally:
        server.stop()


def test_a_pid_file_whose_number_was_given_to_another_program_does_not_stop_the_start(
    initialised_server: Callable[..., Postgres],
) -> None:
    server = initialised_server()
    server.start()
    server.stop()
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n0\n{server.port}\n\n\n")
    server.start()
    server.stop()


def test_a_directory_deeper_than_a_socket_path_may_be_works(server_home: Callable[[str], Path]) -> None:
    server = Postgres(server_home("/".join(["deeper"] * 20)[1:]) / "pg", durable=False)
    assert len(str(server.home)) > 107
    server.start()
    server.stop()


def test_data_of_another_version_are_left_alone(initialised_server: Callable[..., Postgres]) -> None:
    server = initialised_server()
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(DevError, match="written by PostgreSQL 12"):
        server.start()


def test_a_taken_port_is_exchanged_for_a_free_one(initialised_server: Callable[..., Postgres]) -> None:
    first, second = initialised_server("first"), initialised_server("second")
    first.start()
    (second.home / "port").write_text(str(first.port))
    second.start()
    try:
        assert second.port != first.port
        assert not ports.is_free(first.port)
    finally:
        first.stop()
        second.stop()


def test_the_password_is_for_its_owner_alone_and_needed(initialised_server: Callable[..., Postgres]) -> None:
    server = initialised_server()
    server.start()
    try:
        assert (server.home / "password").stat().st_mode & 0o077 == 0
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url(), password="wrong")
    finally:
        server.stop()
