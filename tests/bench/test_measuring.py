"""A figure measured from end to end, in seconds; the filled books; both load generators."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from urllib.request import ProxyHandler, Request, build_opener
from uuid import uuid4

import pytest

from bench import cpu, sending, wrk
from bench.figures.counted import USE_BODY, USE_PATH, Counted, usage_entries
from bench.figures.spending import bare_handler
from bench.fill import fill
from bench.measure import Pace
from bench.rig import SERVICE_KEY, USERS, Front, Rig, rig
from devkit.waiting import wait_until
from domain import invariants
from domain.database import make_engine

PACE = Pace(seconds=1, turns=1, is_quick=True, memory_minutes=0.1)


@pytest.fixture(scope="module")
def made() -> Iterator[Rig]:
    with rig() as one:
        yield one


@pytest.fixture(scope="module")
def started_front(made: Rig) -> Iterator[Front]:
    with made.front() as one:
        yield one


@pytest.fixture
def front(made: Rig, started_front: Front) -> Iterator[Front]:
    """One that serves several tests, and has nothing left to do for one when the next begins.

    Generators hang up at the end of their time.  One more deduction comes after all that they sent: when it is
    answered, all that is still on its way is in PostgreSQL.
    """
    yield started_front
    body = USE_BODY.replace("{user}", "user-0").replace("{key}", uuid4().hex).encode()
    headers = {"X-Service-Key": SERVICE_KEY, "Content-Type": "application/json"}
    request = Request(started_front.address + USE_PATH, body, headers)
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.status == 200
    at_work = """pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
                 AND state <> 'idle' AND pid <> pg_backend_pid()"""
    assert wait_until(lambda: made.count(at_work) == 0, 30)


def test_a_figure_is_measured_and_its_books_are_right(made: Rig) -> None:
    [figure] = bare_handler(made, PACE)
    assert not figure.is_wrong, figure.checks
    assert figure.value > 0
    assert {"front", "postgres", "generator"} <= figure.series[0].cpu_seconds.keys()
    assert figure.series[0].cpu_seconds["front"] > 0
    assert figure.machine["cores"].isdigit()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("rate", [0, 50])
def test_both_generators_are_believed_only_as_far_as_the_ledger(
    made: Rig, front: Front, own: bool, rate: float
) -> None:
    if not own and wrk.version() is None:
        pytest.skip("wrk is not installed")
    counted = Counted(made, front, PACE)
    report = counted.send(counted.plan(connections=4, rate=rate), own=own)
    assert report.ok > 0
    assert not [check for check in counted.checks() if "WRONG" in check]
    assert report.p50 <= report.p99 <= report.worst
    if rate:
        assert report.ok == pytest.approx(rate, rel=0.2)


def test_an_entry_too_many_is_seen(made: Rig, front: Front) -> None:
    counted = Counted(made, front, PACE)
    made.send(counted.plan(connections=2, rate=50))  # not counted
    assert "WRONG" in counted.checks()[0]


def test_load_beside_ends_with_its_block(made: Rig, front: Front) -> None:
    counted = Counted(made, front, PACE)
    began = time.monotonic()
    with counted.beside(counted.plan(rate=50, connections=2, seconds=60)) as reports:
        assert wait_until(lambda: usage_entries(made) > counted.before, 20), "nothing is sent"
    assert time.monotonic() - began < 30
    assert reports[0].ok > 0
    assert not [check for check in counted.checks() if "WRONG" in check]


def test_filled_books_keep_every_invariant(made: Rig) -> None:
    large = made.new_database("filled")
    fill(large, users=200, uses=4)
    fill(large, users=50, uses=0, first=200)
    assert (large.count("credits.balances"), large.count("credits.transactions")) == (250, 1_050)
    engine = make_engine(large.url)
    found = {
        finding.name: finding.violations for finding in invariants.check(engine) if finding.violation_count
    }
    engine.dispose()
    assert found == {}


def test_the_own_generator_is_taken_where_wrk_is_not_wanted(
    made: Rig, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sending.OWN_ONLY, "1")
    assert not sending.uses_wrk(Counted(made, front, PACE).plan(users=USERS))


def test_the_cpu_of_a_process_counts_what_it_burns() -> None:
    before, until = cpu.cpu_seconds(os.getpid()), time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert cpu.cpu_seconds(os.getpid()) - before >= 0.15
    assert cpu.resident_mb(os.getpid()) > 10
