"""A figure measured from end to end, in seconds; the filled books; both load generators."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from bench import cpu, sending, wrk
from bench.figures.counted import Counted, usage_entries
from bench.figures.spending import bare_handler
from bench.fill import fill
from bench.measure import Pace
from bench.rig import USERS, Rig, rig
from devkit.waiting import wait_until
from domain import invariants
from domain.database import make_engine

PACE = Pace(seconds=1, turns=1, is_quick=True, memory_minutes=0.1)


@pytest.fixture(scope="module")
def made() -> Iterator[Rig]:
    with rig() as one:
        yield one


def test_a_figure_is_measured_and_its_books_are_right(made: Rig) -> None:
    [figure] = bare_handler(made, PACE)
    assert not figure.is_wrong, figure.checks
    assert figure.value > 0
    assert {"front", "postgres", "generator"} <= figure.series[0].cpu_seconds.keys()
    assert figure.series[0].cpu_seconds["front"] > 0
    assert figure.machine["cores"].isdigit()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("rate", [0, 50])
def test_both_generators_are_believed_only_as_far_as_the_ledger(made: Rig, own: bool, rate: float) -> None:
    if not own and wrk.version() is None:
        pytest.skip("wrk is not installed")
    with made.front() as front:
        counted = Counted(made, front, PACE)
        report = counted.send(counted.plan(connections=4, rate=rate), own=own)
        assert report.ok > 0
        assert not [check for check in counted.checks() if "WRONG" in check]
        assert report.p50 <= report.p99 <= report.worst
        if rate:
            assert report.ok == pytest.approx(rate, rel=0.2)


def test_an_entry_too_many_is_seen(made: Rig) -> None:
    with made.front() as front:
        counted = Counted(made, front, PACE)
        made.send(counted.plan(connections=2))  # not counted
        assert "WRONG" in counted.checks()[0]


def test_load_beside_ends_with_its_block(made: Rig) -> None:
    with made.front() as front:
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
    made: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sending.OWN_ONLY, "1")
    with made.front() as front:
        assert not sending.uses_wrk(Counted(made, front, PACE).plan(users=USERS))


def test_the_cpu_of_a_process_counts_what_it_burns() -> None:
    before, until = cpu.cpu_seconds(os.getpid()), time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert cpu.cpu_seconds(os.getpid()) - before >= 0.15
    assert cpu.resident_mb(os.getpid()) > 10
