"""`./dev up` and its companions, as a person and a script use them."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devkit import ports, runfile
from devkit.paths import ROOT
from devkit.runfile import ProcessId, Run
from tests import servers
from tests.devkit.conftest import eventually, unconfigured
from tests.support.process import NO_AUTHORITIES


class Dev:
    """A person in front of the checkout, with a DATA_DIR and a PORT of their own."""

    def __init__(self, data: Path, environ: dict[str, str]) -> None:
        self.data = data
        self.port = ports.choose()
        self.environ = {**environ, **NO_AUTHORITIES, "DATA_DIR": str(data), "PORT": str(self.port)}
        self.running: subprocess.Popen[str] | None = None
        self.said = ""

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "dev", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    @property
    def is_running(self) -> bool:
        """Whether what was started in the foreground is there."""
        return self.running is not None and self.running.poll() is None

    def leave(self) -> None:
        """Stop what runs, if anything does."""
        if runfile.read(self.data) is not None:
            self.command("down")
        if self.running is not None:
            self.end(signal.SIGTERM)

    def up(self) -> None:
        """Start it in the foreground; what it printed up to the ready line is in `said`."""
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
                self.said = "".join(lines)
                return
        raise AssertionError("it ended instead:\n" + "".join(lines))

    def end(self, number: signal.Signals) -> str:
        """Send a signal to the supervisor; what it printed until its end."""
        assert self.running is not None
        self.running.send_signal(number)  # nothing happens where it has ended
        return self.rest()

    def rest(self) -> str:
        """What the supervisor that is ending prints until its end."""
        assert self.running is not None
        said, _ = self.running.communicate(timeout=60)
        self.running = None
        return said

    def run_file(self) -> Run:
        run = runfile.read(self.data)
        assert run is not None
        return run

    def processes(self) -> list[ProcessId]:
        return [record.id for record in self.run_file().processes.values() if record.id is not None]


def fresh_home() -> Path:
    """A directory that any identity may enter."""
    return servers.shared_home() / "own" / os.urandom(6).hex()


@pytest.fixture(scope="module")
def owner() -> Iterator[Dev]:
    """The person whose service most tests look at."""
    person = Dev(fresh_home(), unconfigured())
    yield person
    person.leave()


@pytest.fixture
def house(owner: Dev) -> Dev:
    """A service that runs in the foreground: it stays from test to test, and who stops it comes last."""
    if not owner.is_running:
        owner.up()
    return owner


@pytest.fixture
def dev() -> Iterator[Dev]:
    """A person who has started nothing yet."""
    person = Dev(fresh_home(), unconfigured())
    yield person
    person.leave()


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as response:
        return int(response.status)


def test_up_ends_its_start_with_one_line_that_says_where_it_answers(house: Dev) -> None:
    url = f"http://127.0.0.1:{house.port}"
    assert house.said.endswith(f"ready {url}\n")
    assert house.said.count(f"ready {url}\n") == 1
    assert get(f"{url}/health") == 200


def test_the_requests_on_the_screen_work_as_they_are_pasted(house: Dev) -> None:
    requests = [line for line in house.said.splitlines() if line.startswith("curl ")]
    assert len(requests) == 3
    for request in requests:
        result = subprocess.run(
            ["bash", "-c", request + " --fail"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{request}\n{result.stdout}{result.stderr}"
        json.loads(result.stdout)


def test_the_link_on_the_screen_is_a_page_where_credits_are_bought(house: Dev) -> None:
    [line] = [line for line in house.said.splitlines() if "Buy credits as 'demo'" in line]
    link = line.split()[-1]
    assert link.startswith(house.run_file().urls["stripe"])
    with urllib.request.urlopen(link, timeout=5) as response:
        page = response.read().decode()
    assert "Pay" in page
    assert "Decline" in page


def test_run_json_tells_what_runs_to_its_owner_alone(house: Dev) -> None:
    run = house.run_file()
    assert (run.url, run.port) == (f"http://127.0.0.1:{house.port}", house.port)
    assert run.ready
    assert run.alive
    assert (house.data / "run.json").stat().st_mode & 0o777 == 0o600
    assert {"postgres", "valkey", "auth", "web"} <= run.processes.keys()
    assert all(record.id is not None and record.id.alive for record in run.processes.values())
    assert get(run.urls["auth"] + "/api/auth/jwks") == 200


def test_a_second_up_says_that_it_runs_and_does_not_hurt_it(house: Dev) -> None:
    before = house.processes()
    for options in ([], ["--detach"]):
        second = house.command("up", *options)
        assert second.returncode == 1
        assert f"already runs on {house.data} at http://127.0.0.1:{house.port}" in second.stderr
    assert house.processes() == before


def test_status_psql_and_logs_speak_of_what_runs(house: Dev) -> None:
    eventually(lambda: house.command("status").returncode == 0, "well")
    assert "is well" in house.command("status").stdout
    assert house.command("psql", "-Atc", "SELECT 6 * 7").stdout.strip() == "42"
    assert "ready to accept connections" in house.command("logs", "postgres").stdout
    assert "No log of 'nobody'" in house.command("logs", "nobody").stderr


def test_a_token_for_anybody_can_be_had(house: Dev) -> None:
    claims = claims_of(house.command("token", "--sub", "someone", "--role", "admin").stdout.strip())
    assert (claims["sub"], claims["role"]) == ("someone", "admin")
    assert claims["iss"] == house.run_file().urls["auth"]


def test_a_child_that_is_killed_comes_back_and_the_others_stay(house: Dev) -> None:
    before = house.run_file().processes
    victim = before["postgres"].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)

    def is_back() -> bool:
        record = house.run_file().processes["postgres"]
        return record.restarts == before["postgres"].restarts + 1 and record.state == "ready"

    eventually(is_back, "back")
    after = house.run_file().processes
    assert after["postgres"].pid != victim
    assert after["auth"].pid == before["auth"].pid


def test_after_kill_9_nothing_stays_and_the_next_start_finds_its_data(house: Dev) -> None:
    house.command("psql", "-c", "CREATE TABLE kept (word text)")
    processes = house.processes()
    house.end(signal.SIGKILL)
    eventually(lambda: not any(process.alive for process in processes), "gone", seconds=20.0)
    status = house.command("status")
    assert status.returncode == 1
    assert "a run was killed" in status.stdout
    house.up()
    assert house.running is not None
    for pid in [house.running.pid, *(process.pid for process in house.processes())]:
        os.kill(pid, signal.SIGKILL)
    house.rest()
    house.up()
    assert house.command("psql", "-Atc", "SELECT count(*) FROM kept").stdout.strip() == "0"


def test_scripts_drive_another_data_dir_beside_it_in_the_background(house: Dev, dev: Dev) -> None:
    started = dev.command("up", "--detach")
    assert started.returncode == 0, started.stdout
    assert started.stdout.endswith(f"ready http://127.0.0.1:{dev.port}\n")
    assert not set(dev.run_file().ports.values()) & set(house.run_file().ports.values())
    assert dev.command("status").returncode == 0
    processes = [*dev.processes(), dev.run_file().supervisor]
    assert dev.command("down").returncode == 0
    assert not any(process.alive for process in processes)
    assert all(process.alive for process in house.processes())
    again = dev.command("down")
    assert (again.returncode, again.stdout) == (0, f"Nothing runs on {dev.data}.\n")


def test_ctrl_c_stops_all_in_order_and_leaves_nothing(house: Dev) -> None:
    processes = house.processes()
    order = re.findall(r"  (\w+) stopped", house.end(signal.SIGINT))
    services = [name for name in ("scheduler", "workers", "web") if name in order]
    assert order[: len(services)] == services
    assert order[-2:] == ["valkey", "postgres"]
    assert not any(process.alive for process in processes)
    assert not (house.data / "run.json").exists()
    assert house.command("status").returncode == 1


@pytest.mark.parametrize("detached", [[], ["--detach"]])
def test_a_taken_port_is_named_with_the_variable_that_changes_it(dev: Dev, detached: list[str]) -> None:
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


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def test_an_unknown_command_says_where_the_known_ones_are(dev: Dev) -> None:
    result = dev.command("fly")
    assert result.returncode == 2
    assert "no command 'fly'" in result.stderr
    assert "./dev up" in dev.command().stdout
