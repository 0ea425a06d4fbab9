"""Several web processes under one: none dies for good, none is missed when it is replaced, all end together."""

import os
import signal
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devkit.waiting import wait_until
from domain.telemetry.sharing import masters_directory
from tests.servers import SharedPostgres
from tests.support.process import WebProcess, running_process

FRONTS = 2
SECONDS = 20.0
ASKING_PAUSE_SECONDS = 0.01
"""Several hundred connections a second are tried, and the machine is left to those who are to be replaced."""


@pytest.fixture(scope="module")
def house(postgres: SharedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The fronts' program on a database: it runs when a test before left it running."""
    name = postgres.create_database()
    home = tmp_path_factory.mktemp("fronts")
    metrics_home = home / "tmp"
    metrics_home.mkdir()
    environment = {
        "ENV": "development",
        "DATABASE_URL": postgres.url(name),
        "REDIS_URL": "redis://127.0.0.1:1",
        "WEB_PROCESSES": str(FRONTS),
        "TMPDIR": str(metrics_home),
    }
    process = WebProcess(environment, home / "web.log")
    yield process
    process.end()
    postgres.drop_database(name)


@pytest.fixture
def fronts(house: WebProcess) -> WebProcess:
    """All of them, running."""
    if not house.is_running:
        before = starts(house)
        house.start()
        assert wait_until(lambda: starts(house) == before + FRONTS, SECONDS)
    assert wait_until(lambda: len(children(house)) == FRONTS, SECONDS)
    return house


def starts(of: WebProcess) -> int:
    """How many processes began to serve so far."""
    return of.log.read_text().count("web_starts") if of.log.exists() else 0


def children(of: WebProcess) -> list[int]:
    """The processes that serve."""
    found = Path(f"/proc/{of.pid}/task/{of.pid}/children").read_text()
    return [int(pid) for pid in found.split()]


def answer(url: str) -> str:
    """What a new connection is told, in a word."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{url}/health", timeout=SECONDS
        ) as response:
            return str(response.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        return type(error).__name__


@contextmanager
def asked_all_the_time(url: str) -> Iterator[Counter[str]]:
    """What new connections are told meanwhile, counted."""
    told: Counter[str] = Counter()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            told[answer(url)] += 1
            time.sleep(ASKING_PAUSE_SECONDS)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    try:
        yield told
    finally:
        done.set()
        for thread in asking:
            thread.join()


def test_one_that_is_killed_is_started_again_and_no_connection_is_refused(fronts: WebProcess) -> None:
    killed = children(fronts)[0]
    started = starts(fronts)
    with asked_all_the_time(fronts.url) as told:
        time.sleep(0.3)
        os.kill(killed, signal.SIGKILL)
        assert wait_until(
            lambda: len(children(fronts)) == FRONTS and killed not in children(fronts), SECONDS
        ), fronts.log.read_text()
        assert wait_until(lambda: starts(fronts) == started + 1, SECONDS)
    # What it had accepted dies with it: at most one request of each who asked.
    assert told["URLError"] == 0, told
    assert told["200"] > sum(told.values()) - 4, told


def test_all_are_replaced_without_a_request_lost(fronts: WebProcess) -> None:
    before = set(children(fronts))
    with asked_all_the_time(fronts.url) as told:
        os.kill(fronts.pid, signal.SIGHUP)
        assert wait_until(
            lambda: len(children(fronts)) == FRONTS and not before & set(children(fronts)), 2 * SECONDS
        ), fronts.log.read_text()
    assert set(told) == {"200"}, told
    assert told["200"] > 10


def test_a_front_alone_is_not_ended_by_a_reload(database_url: str, redis_url: str, tmp_path: Path) -> None:
    environment = {"ENV": "development", "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with running_process(environment, tmp_path / "web.log") as front:
        os.kill(front.pid, signal.SIGHUP)
        assert wait_until(lambda: "nothing_is_replaced" in front.log.read_text(), SECONDS)
        assert answer(front.url) == "200"
        assert front.stop() == 0


def test_they_end_together(fronts: WebProcess) -> None:
    serving = children(fronts)
    assert fronts.stop() == 0
    assert not [pid for pid in serving if Path(f"/proc/{pid}").exists()]


def test_they_end_when_the_master_is_killed_and_the_next_removes_what_it_left_but_not_what_is_a_living_ones(
    fronts: WebProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fronts.log.parent / "tmp"
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    (of_the_fronts,) = home.iterdir()
    with masters_directory() as (directory, _lock):
        assert of_the_fronts.exists()
    assert not Path(directory).exists()
    serving = children(fronts)
    fronts.kill()
    assert wait_until(lambda: not [pid for pid in serving if Path(f"/proc/{pid}").exists()], SECONDS)
    assert of_the_fronts.exists()
    with masters_directory():
        assert not of_the_fronts.exists()
