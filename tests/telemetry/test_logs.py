"""Secrets, tokens, addresses and gift codes pushed through every way to a log: none is in the output."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devkit.paths import ROOT
from domain.gifts.codes import new_code
from simulators.auth import AuthSimulator
from tests.support.client import Client
from tests.support.crew import Crew, eventually
from tests.support.forking import start_module
from tests.support.jobs import add, engine_on, row_of
from tests.support.process import process_environment, running_process
from tests.support.service import new_session
from tests.telemetry.leaking import Leak

ADDRESS = "anna.personal@mail.example"
TOKEN = "eyJhbGciOiJFZERTQSIsImtpZCI6IjEifQ.eyJzdWIiOiJhbm5hIiwiZXhwIjoxfQ.c2lnbmF0dXJl"
SECRETS = {
    "MANA_SERVICE_KEY": "internal-key-of-the-logs,second-key-of-the-logs",
    "STRIPE_SECRET_KEY": "sk_test_ofTheLogs123",
    "STRIPE_WEBHOOK_SECRET": "whsec_ofTheLogs123",
    "LOG_USER_IDS": "hashed",
    "LOG_USER_IDS_KEY": "pseudonyms-of-the-logs",
}


@pytest.fixture
def variables(database_url: str, redis_url: str) -> dict[str, str]:
    """A production environment, and in LEAKED all that no log may hold."""
    leaked = [ADDRESS, TOKEN, new_code(), database_url, redis_url, *_words()]
    return {
        **SECRETS,
        "ENV": "production",
        "HOST": "127.0.0.1",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MANA_AUTH_URL": "http://127.0.0.1:9",
        "LOG_LEVEL": "DEBUG",
        "LEAKED": " and ".join(leaked),
    }


def _words() -> Iterator[str]:
    for name, value in SECRETS.items():
        if name != "LOG_USER_IDS":
            yield from value.split(",")


def forbidden(variables: dict[str, str]) -> list[str]:
    """The leaked words; of an address of a server its password."""
    words = variables["LEAKED"].split(" and ")
    words = [word.partition("@")[0].rpartition(":")[2] if "://" in word else word for word in words]
    return [*words, TOKEN.split(".")[1], "anna.personal"]


def assert_clean(written: str, variables: dict[str, str]) -> None:
    for word in forbidden(variables):
        assert len(word) > 5
        assert word not in written, word


def run(part: str, variables: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.telemetry.leaking", part],
        cwd=ROOT,
        env={**process_environment(variables), **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


def forked(part: str, variables: dict[str, str], log: Path) -> tuple[int, str]:
    """The same in a fork: its exit status, and what it wrote to either output."""
    process = start_module("tests.telemetry.leaking", process_environment(variables), log, arguments=[part])
    return process.wait(60), log.read_text()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_way_to_the_log_lets_it_through(
    variables: dict[str, str], log_format: str, tmp_path: Path
) -> None:
    status, written = forked("main", {**variables, "LOG_FORMAT": log_format}, tmp_path / "log")
    assert "all said" in written
    assert status == 1
    # that much was said: members, arguments, tracebacks, a warning, a thread, a task, the end
    for told in ("members", "with arguments", "with_traceback", "KeyError", "UserWarning", "never retrieved"):
        assert told in written, told
    assert written.count("uncaught") >= 2
    assert "a log line was lost: TypeError" in written
    assert_clean(written, variables)


def test_every_line_is_json_and_errors_keep_their_traceback(variables: dict[str, str]) -> None:
    ran = run("main", variables, LOG_FORMAT="json")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) > 8
    assert all({"event", "level", "timestamp", "process", "logger"} <= line.keys() for line in lines)
    [told] = [line for line in lines if line["event"] == "with_traceback"]
    assert "_raise_with_a_cause" in told["exception"]
    assert "RuntimeError: because of [address]" in told["exception"]


def test_workers_tell_of_a_job_that_failed_without_its_words(
    variables: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    command = Crew("tests.telemetry.leaking", "worker_ready", variables, tmp_path / "workers.log", "workers")
    with engine_on(database_url, pool_size=1) as engine:
        job_id = add(engine, Leak(), now=datetime.now(UTC), user_id="anna-of-the-logs")
        try:
            command.start()
            eventually(lambda: row_of(engine, job_id).attempts >= 2, "tried", 15)
            eventually(lambda: command.said("job_attempt_failed") >= 1, "told", 5)
        finally:
            command.kill()
    written = command.log.read_text()
    told = next(json.loads(line) for line in written.splitlines() if "job_attempt_failed" in line)
    assert told["job_id"] == str(job_id)
    assert told["user_id"].startswith("u_")
    assert "anna-of-the-logs" not in written
    assert "inside_of_a_job" in written
    assert_clean(written, variables)


def test_a_scheduler_tells_of_a_chore_that_failed_without_its_words(
    variables: dict[str, str], tmp_path: Path
) -> None:
    _, written = forked("scheduler", variables, tmp_path / "log")
    assert "all said" in written, written
    assert "timetable_line_failed" in written
    assert_clean(written, variables)


async def test_requests_are_told_with_their_ids_and_a_name_that_is_none(
    variables: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "web.log"
    async with AuthSimulator().running() as auth, new_session() as session:
        with running_process({**variables, "MANA_AUTH_URL": auth.url}, log) as process:
            client = Client(process.url, session, auth)
            client.tokens["anna-of-the-logs"] = auth.mint("anna-of-the-logs", ADDRESS)
            (await client.user("anna-of-the-logs", "GET", "/balance")).ok()
            key = SECRETS["MANA_SERVICE_KEY"].split(",")[0]
            for request_id in ("request-4711", ADDRESS, TOKEN, key):
                headers = {"X-Service-Key": key, "X-App-Id": TOKEN[:60], "X-Request-Id": request_id}
                await client.call("GET", f"/api/v1/internal/credits/balance/{ADDRESS}", headers=headers)
            await client.call("GET", f"/api/v1/gifts/{new_code()}")
    written = log.read_text()
    requests = [json.loads(line) for line in written.splitlines() if '"event": "request"' in line]
    assert any(one["request_id"] == "request-4711" for one in requests)
    by_route = {one["route"]: one for one in requests}
    assert by_route["/api/v1/credits/balance"]["user_id"].startswith("u_")
    assert by_route["/api/v1/credits/balance"]["status"] == 200
    assert "anna-of-the-logs" not in written
    assert "mail.example" not in written
    assert client.tokens["anna-of-the-logs"].split(".")[1] not in written
    assert_clean(written, variables)
