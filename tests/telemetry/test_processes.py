"""Real processes that count together: two fronts, workers, a scheduler, killed and started anew."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from devkit import ports
from domain.telemetry.sharing import environment_of_child, forget_gauges
from tests.support.client import SERVICE_KEY
from tests.support.crew import Crew, eventually
from tests.support.process import WebProcess, running_process
from tests.support.scraped import Sample, fetched, total
from tests.support.service import environment

GRANT = {"route": "/api/v1/internal/credits/grant"}


def post(url: str, path: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(
        f"{url}/api/v1/internal/credits/{path}", json.dumps(body).encode(), {"X-Service-Key": SERVICE_KEY}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as response:
        assert response.status == 200


def grant(web: WebProcess, number: int) -> None:
    body = {"userId": "anna", "amount": 10, "reason": "test", "referenceId": f"{web.port}-{number}"}
    post(web.url, "grant", body)


def grants(web: WebProcess) -> float:
    return total(fetched(f"{web.url}/metrics"), "mana_http_request_seconds_count", GRANT)


@pytest.fixture
def fronts(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[list[WebProcess]]:
    """Two processes of one front, as a master starts them."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:9")
    started = []
    for slot in range(2):
        shared = environment_of_child(str(directory), slot)
        started.append(WebProcess({**variables, **shared}, tmp_path / f"web-{slot}.log"))
        started[-1].start()
    yield started
    for front in started:
        front.kill()


def test_either_of_two_fronts_tells_the_sum_and_it_never_falls_when_one_is_started_anew(
    fronts: list[WebProcess], tmp_path: Path
) -> None:
    one, other = fronts
    for number in range(3):
        grant(one, number)
    for number in range(4):
        grant(other, number)
    assert [grants(one), grants(other)] == [7, 7]
    other.kill()
    assert grants(one) == 7
    directory = tmp_path / "metrics"
    files = len(list(directory.glob("*.db")))
    other.start()
    assert grants(other) == 7
    grant(other, 5)
    assert [grants(one), grants(other)] == [8, 8]
    assert len(list(directory.glob("*.db"))) == files


def test_gauges_are_those_of_living_processes(fronts: list[WebProcess], tmp_path: Path) -> None:
    one, other = fronts

    def connections() -> float:
        return total(fetched(f"{one.url}/metrics"), "mana_connections_max", {"pool": "hot"})

    eventually(lambda: connections() > 0, "sampled", 30)
    both = eventually(lambda: total(fetched(f"{other.url}/metrics"), "mana_connections_max") > 0, "told", 5)
    assert both < 5
    before = connections()
    other.kill()
    forget_gauges(str(tmp_path / "metrics"), 1)
    assert connections() == before / 2
    other.start()
    eventually(lambda: connections() == before, "sampled", 30)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_front_with_a_port_for_metrics_shows_them_there_alone_and_all_of_its_processes(
    database_url: str, redis_url: str, tmp_path: Path, processes: int
) -> None:
    port = ports.choose()
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:9")
    several = {"WEB_METRICS_PORT": str(port), "WEB_PROCESSES": str(processes)}
    page = f"http://127.0.0.1:{port}/metrics"
    with running_process({**variables, **several}, tmp_path / "web.log") as front:
        grant(front, 1)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetched(f"{front.url}/metrics")
        assert total(fetched(page), "mana_http_request_seconds_count", GRANT) == 1
        assert total(fetched(page), "mana_database_up") == 1
        eventually(
            lambda: total(fetched(page), "mana_connections_max", {"pool": "hot"}) == 6 * processes,
            "sampled",
            15,
        )
        if processes == 2:
            os.kill(front.pid, signal.SIGHUP)
            eventually(lambda: front.log.read_text().count("web_starts") == 4, "replaced", 30)
            assert total(fetched(page), "mana_http_request_seconds_count", GRANT) == 1
        assert front.stop() == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_workers_tell_of_jobs_on_a_port_of_their_own(
    database_url: str, redis_url: str, tmp_path: Path, processes: int
) -> None:
    port = ports.choose()
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:9")
    front = WebProcess(variables, tmp_path / "web.log")
    workers = Crew(
        "workers", "worker_ready", {**variables, "WORKER_METRICS_PORT": str(port)}, tmp_path / "workers.log"
    )
    page = f"http://127.0.0.1:{port}/metrics"

    def done(samples: list[Sample]) -> float:
        return total(samples, "mana_job_seconds_count", {"kind": "refund_credits", "ending": "done"})

    try:
        front.start()
        workers.start(processes)
        grant(front, 1)
        for number in range(6):
            post(front.url, "refund", {"userId": "anna", "amount": 1, "description": f"{number}"})
        eventually(lambda: done(fetched(page)) == 6, "counted", 30)
        told = fetched(page)
        assert total(told, "mana_job_end_to_end_seconds_count", {"kind": "refund_credits"}) == 6
        assert total(told, "mana_jobs_running") == 0
        eventually(lambda: total(fetched(page), "mana_connections_max") >= 11 * processes, "sampled", 30)
        # Each says that it is alive when it gets to it.
        seen = partial(total, name="mana_processes", labels={"role": "worker"})
        eventually(lambda: seen(fetched(f"{front.url}/metrics")) == processes, "all alive", 30)
        if processes == 2:
            os.kill(workers.children()[0], signal.SIGKILL)
            eventually(lambda: workers.said("worker_ready") == 3, "started anew", 60)
            assert done(fetched(page)) == 6
            post(front.url, "refund", {"userId": "anna", "amount": 1, "description": "after"})
            eventually(lambda: done(fetched(page)) == 7, "counted", 30)
    finally:
        workers.kill()
        front.kill()


def test_the_scheduler_tells_whether_it_leads_and_what_it_fired(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    port = ports.choose()
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:9")
    scheduler = Crew(
        "scheduler", "scheduler_ready", {**variables, "SCHEDULER_METRICS_PORT": str(port)}, tmp_path / "log"
    )
    page = f"http://127.0.0.1:{port}/metrics"
    try:
        scheduler.start()
        eventually(lambda: total(fetched(page), "mana_scheduler_leads") == 1, "leading", 5)
        eventually(lambda: total(fetched(page), "mana_timetable_slots_fired_total") > 3, "fired", 5)
        assert scheduler.stop()[0] == 0
    finally:
        scheduler.kill()
