"""`./dev up` and its companions, as a person and a script use them."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devkit import ports, runfile
from devkit.paths import ROOT
from devkit.runfile import ProcessId, Run
from tests.devkit.conftest import eventually

START_SECONDS = 60.0


class Dev:
    """A person in front of the checkout, with a DATA_DIR and a PORT of their own."""

    def __init__(self, data: Path, environ: dict[str, str]) -> None:
        self.data = data
        self.port = ports.choose()
        self.environ = {**environ, "DATA_DIR": str(data), "PORT": str(self.port)}
        self.running: subprocess.Popen[str] | None = None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "dev", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def up(self) -> str:
        """Start it in the foreground; what it printed up to the ready line."""
        self.running = subprocess.Popen(
            [ROOT / "dev", "up"],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.running.stdout is not None
        lines = []
        for line in self.running.stdout:
            lines.append(line)
            if line.startswith("ready "):
                return "".join(lines)
        raise AssertionError("it ended instead:\n" + "".join(lines))

    def end(self, number: signal.Signals) -> str:
        """Send a signal to the supervisor; what it printed until its end."""
        assert self.running is not None
        self.running.send_signal(number)
        said, _ = self.running.communicate(timeout=60)
        return said

    def run_file(self) -> Run:
        run = runfile.read(self.data)
        assert run is not None
        return run

    def processes(self) -> list[ProcessId]:
        return [record.id for record in self.run_file().processes.values() if record.id is not None]


@pytest.fixture
def dev(server_home: Callable[[str], Path], environ: dict[str, str]) -> Iterator[Dev]:
    person = Dev(server_home("data"), environ)
    yield person
    person.command("down")
    if person.running is not None:
        person.running.communicate(timeout=60)


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as response:
        return int(response.status)


def test_a_day_with_the_service_in_the_foreground(dev: Dev) -> None:
    said = dev.up()
    url = f"http://127.0.0.1:{dev.port}"
    assert said.endswith(f"ready {url}\n")
    run = dev.run_file()
    assert (run.url, run.port, run.ready, run.alive) == (url, dev.port, True, True)
    assert (dev.data / "run.json").stat().st_mode & 0o777 == 0o600
    assert {"postgres", "valkey", "auth"} <= run.processes.keys()
    assert all(record.state == "ready" for record in run.processes.values())
    assert get(run.urls["auth"] + "/api/auth/jwks") == 200

    second = dev.command("up")
    assert second.returncode == 1
    assert f"already runs on {dev.data} at {url}" in second.stderr
    status = dev.command("status")
    assert status.returncode == 0, status.stdout
    assert "is well" in status.stdout
    assert dev.command("psql", "-Atc", "SELECT 6 * 7").stdout.strip() == "42"
    assert "ready to accept connections" in dev.command("logs", "postgres").stdout

    processes = dev.processes()
    said = dev.end(signal.SIGINT)
    order = re.findall(r"  (\w+) stopped", said)
    assert order[-2:] == ["valkey", "postgres"]
    services = [name for name in ("scheduler", "workers", "web") if name in order]
    assert order[: len(services)] == services
    assert not any(process.alive for process in processes)
    assert not (dev.data / "run.json").exists()
    assert dev.command("status").returncode == 1


def test_a_child_that_is_killed_comes_back_and_the_others_stay(dev: Dev) -> None:
    dev.up()
    before = dev.run_file().processes
    victim = before["postgres"].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: dev.run_file().processes["postgres"].restarts == 1, "restarted")
    eventually(lambda: dev.run_file().processes["postgres"].state == "ready", "ready")
    after = dev.run_file().processes
    assert after["postgres"].pid != victim
    assert after["auth"].pid == before["auth"].pid


def test_after_kill_9_of_the_supervisor_nothing_stays_and_the_next_start_finds_its_data(dev: Dev) -> None:
    dev.up()
    dev.command("psql", "-c", "CREATE TABLE kept (word text)")
    processes = dev.processes()
    dev.end(signal.SIGKILL)
    eventually(lambda: not any(process.alive for process in processes), "gone", seconds=20.0)
    status = dev.command("status")
    assert status.returncode == 1
    assert "a run was killed" in status.stdout
    dev.up()
    assert dev.command("psql", "-Atc", "SELECT count(*) FROM kept").stdout.strip() == "0"


def test_it_starts_again_after_kill_9_of_every_process(dev: Dev) -> None:
    dev.up()
    processes = dev.processes()
    assert dev.running is not None
    for pid in [dev.running.pid, *(process.pid for process in processes)]:
        os.kill(pid, signal.SIGKILL)
    dev.running.communicate(timeout=60)
    dev.up()


def test_a_script_drives_it_in_the_background(dev: Dev) -> None:
    started = dev.command("up", "--detach")
    assert started.returncode == 0, started.stdout
    assert started.stdout.endswith(f"ready http://127.0.0.1:{dev.port}\n")
    processes = [*dev.processes(), dev.run_file().supervisor]
    assert all(process.alive for process in processes)
    assert dev.command("down").returncode == 0
    assert not any(process.alive for process in processes)
    again = dev.command("down")
    assert again.returncode == 0
    assert "Nothing runs" in again.stdout


def test_two_data_dirs_run_side_by_side(
    dev: Dev, server_home: Callable[[str], Path], environ: dict[str, str]
) -> None:
    other = Dev(server_home("other"), environ)
    assert dev.command("up", "--detach").returncode == 0
    try:
        assert other.command("up", "--detach").returncode == 0
        assert dev.command("status").returncode == 0
        assert not set(dev.run_file().ports.values()) & set(other.run_file().ports.values())
    finally:
        assert other.command("down").returncode == 0
    assert dev.command("status").returncode == 0


@pytest.mark.parametrize("detached", [[], ["--detach"]])
def test_a_taken_port_is_named_with_the_variable_that_changes_it(dev: Dev, detached: list[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", dev.port)):
        result = dev.command("up", *detached)
    assert result.returncode == 1
    assert f"Port {dev.port} is taken" in result.stdout + result.stderr
    assert "PORT=" in result.stdout + result.stderr
    assert not (dev.data / "run.json").exists()


def test_a_migration_that_fails_stops_the_start_and_shows_why(dev: Dev) -> None:
    # A database that nobody serves: the migration is the first to notice.
    dev.environ["DATABASE_URL"] = f"postgresql://nobody@127.0.0.1:{ports.choose()}/nowhere"
    result = dev.command("up", "--detach")
    assert result.returncode == 1
    assert "migrate ended with code" in result.stdout
    assert "refused" in result.stdout
    assert not (dev.data / "run.json").exists()


def test_what_is_configured_is_not_started_here(dev: Dev, redis_url: str, database_url: str) -> None:
    dev.environ |= {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MANA_NOTIFY_URL": "http://127.0.0.1:9",
    }
    dev.up()
    run = dev.run_file()
    assert not {"postgres", "valkey", "notify"} & run.processes.keys()
    assert (run.database_url, run.redis_url) == (database_url, redis_url)


def test_a_token_for_anybody_can_be_had(dev: Dev) -> None:
    dev.up()
    token = dev.command("token", "--sub", "someone", "--role", "admin").stdout.strip()
    assert claims_of(token)["sub"] == "someone"
    assert claims_of(token)["role"] == "admin"
    assert claims_of(token)["iss"] == dev.run_file().urls["auth"]


def claims_of(token: str) -> dict[str, Any]:
    import base64

    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def test_an_unknown_command_says_where_the_known_ones_are(dev: Dev) -> None:
    result = dev.command("fly")
    assert result.returncode == 2
    assert "no command 'fly'" in result.stderr
    assert "./dev up" in dev.command().stdout
