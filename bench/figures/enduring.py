"""Under too much, and for long: fairness, overload and recovery, memory."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import ExitStack

from bench import cpu
from bench.figures.counted import USE_PATH, Counted
from bench.figures.reading import BALANCE_PATH, LIST_PATH, gets
from bench.measure import Curve, Figure, Pace, Point, Series, figure, in_turns, take
from bench.plan import Report
from bench.rig import SERVICE_KEY, USERS, Front, Rig
from simulators.auth import AuthSimulator

HOT_CONNECTIONS = 500
OTHERS_CONNECTIONS = 16
OTHERS_PER_SECOND = 100

TOO_MANY_CONNECTIONS = 8_000
"""More than may wait (web.bridge.DEDUCTIONS_WAITING_MAX), each with a request."""

BUSY = frozenset({"503"})
SETTLED_MS = 50.0
"""A lone request answered 200 within so long: the service is itself again."""

RECOVERY_SECONDS_MAX = 30.0
SAMPLES = 60


def fairness(rig: Rig, pace: Pace) -> list[Figure]:
    """Other people's p99 beside 500 connections on one person, against theirs alone."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        # The hot one is user-0; each of the others sends now and then.
        others = counted.plan(
            users=USERS - 1, first_user=1, connections=OTHERS_CONNECTIONS, rate=OTHERS_PER_SECOND
        )
        hot = counted.plan(users=1, connections=HOT_CONNECTIONS, seconds=pace.seconds + 60)
        rates: list[float] = []

        def beside() -> float:
            with counted.beside(hot) as reports:
                time.sleep(0.5)  # the crowd is there first
                p99 = counted.send(others, own=True).p99
            rates.append(reports[0].ok / reports[0].seconds)
            return p99

        measured = in_turns(
            rig,
            "fairness",
            f"p99 of {OTHERS_PER_SECOND} deductions/s of others while {HOT_CONNECTIONS} connections spend for"
            " one person, against without them",
            ours=("beside the crowd", "ms", beside),
            other=("alone", "ms", lambda: counted.send(others, own=True).p99),
            turns=pace.turns,
            must=2.0,
            aim=1.0,
            higher_is_better=False,
            checks=lambda: counted.checks(BUSY),
        )
        measured.checks.append(f"the crowd got {min(rates):,.0f} to {max(rates):,.0f} deductions/s")
        return [measured]


def overload(rig: Rig, pace: Pace) -> list[Figure]:
    """How quickly too much is refused, and how soon after all is well."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        plan = counted.plan(connections=TOO_MANY_CONNECTIONS, tells_headers=True)
        refused = Series(name="503", unit="ms, p99", values=[])
        recovered = Series(name="recovery", unit="ms", values=[])
        reports: list[Report] = []

        def flood() -> float:
            reports.append(counted.send(plan, own=True))
            return reports[-1].p99_of.get("503", 0.0)

        rig.accounts.generators.clear()
        for _ in range(pace.turns):
            take(rig, refused, flood)
            take(rig, recovered, lambda: recovery_ms(counted))
        checks = [*counted.checks(BUSY), *flood_checks(reports)]
    says = f"{TOO_MANY_CONNECTIONS:,} connections at once"
    return [
        figure(
            rig,
            "overload",
            f"{says}: p99 of the 503s",
            [refused],
            must=None,
            aim=None,
            higher_is_better=False,
            checks=checks,
        ),
        figure(
            rig,
            "overload_recovery",
            f"{says}, gone: from then until a lone deduction is answered within {SETTLED_MS:.0f} ms",
            [recovered],
            must=None,
            aim=None,
            higher_is_better=False,
            checks=checks,
        ),
    ]


def flood_checks(reports: list[Report]) -> list[str]:
    """Whether anything was refused, and every refusal said when to come again."""
    refused = sum(report.statuses.get("503", 0) for report in reports)
    done = sum(report.ok for report in reports)
    with_header = sum(report.retry_after for report in reports)
    accepted_p99 = max(report.p99_of.get("200", 0.0) for report in reports)
    is_right = refused > 0 and with_header == refused
    return [
        f"{refused:,} refused, {with_header:,} of them with Retry-After: {'right' if is_right else 'WRONG'}",
        f"{done:,} done meanwhile, their p99 at most {accepted_p99:,.0f} ms",
    ]


def recovery_ms(counted: Counted) -> float:
    """Milliseconds until a lone deduction goes well.  Raises RuntimeError when that takes too long."""
    began = time.perf_counter()
    while time.perf_counter() < began + RECOVERY_SECONDS_MAX:
        asked = time.perf_counter()
        if is_done(counted) and (time.perf_counter() - asked) * 1e3 <= SETTLED_MS:
            return (time.perf_counter() - began) * 1e3
    raise RuntimeError("the service did not recover")


def is_done(counted: Counted) -> bool:
    """Whether one deduction, sent from here, is answered 200."""
    connection = http.client.HTTPConnection("127.0.0.1", counted.front.port, timeout=RECOVERY_SECONDS_MAX)
    body = {"userId": "user-1", "amount": 2, "appId": "chat", "description": "Is all well?"}
    connection.request("POST", USE_PATH, json.dumps(body), {"X-Service-Key": SERVICE_KEY})
    status = str(connection.getresponse().status)
    connection.close()
    counted.acknowledged += status == "200"
    if status != "200":
        counted.unexpected[status] = counted.unexpected.get(status, 0) + 1
    return status == "200"


def memory(rig: Rig, pace: Pace) -> list[Figure]:
    """Resident memory of a web process, at the start and under load for long."""
    with ExitStack() as stack:
        auth = stack.enter_context(AuthSimulator().on_a_thread())
        front = stack.enter_context(rig.front(MANA_AUTH_URL=auth.url))
        headers = {"Authorization": f"Bearer {auth.mint('user-1', ttl_seconds=24 * 3600)}"}
        seconds = pace.memory_minutes * 60
        at_start = cpu.resident_mb(front.pid)
        counted = Counted(rig, front, pace)
        rig.accounts.generators.clear()
        long = Pace(seconds=seconds + 60, turns=1, is_quick=pace.is_quick, memory_minutes=pace.memory_minutes)
        reads = [
            gets(front, BALANCE_PATH, headers, long, connections=8),
            gets(front, f"{LIST_PATH}?limit=20", headers, long, connections=1),
        ]
        with ExitStack() as load:
            load.enter_context(counted.beside(counted.plan(connections=16, seconds=seconds + 60)))
            reading = [load.enter_context(rig.beside(plan)) for plan in reads]
            points = [Point(x=0, values=[at_start]), *sampled(front, seconds)]
        half = points[len(points) // 2].median
        return [
            figure(
                rig,
                "memory",
                f"resident memory of a web process after {pace.memory_minutes:g} minutes of deductions, balances"
                " and lists",
                [Series(name="at the end", unit="MB", values=[points[-1].median])],
                must=120.0,
                aim=90.0,
                higher_is_better=False,
                checks=[
                    *counted.checks(),
                    f"{sum(reports[0].ok for reports in reading):,} reads",
                    f"at the start {at_start:.1f} MB, half-way {half:.1f} MB",
                ],
                curves=[
                    Curve(
                        name="resident memory",
                        unit="MB",
                        x_name="minutes of load",
                        points=points,
                        x_is_log=False,
                    )
                ],
            )
        ]


def sampled(front: Front, seconds: float) -> list[Point]:
    """Its memory, looked at SAMPLES times until so many seconds have passed."""
    began, points = time.perf_counter(), []
    for sample in range(1, SAMPLES + 1):
        time.sleep(max(0.0, began + seconds * sample / SAMPLES - time.perf_counter()))
        points.append(
            Point(x=(time.perf_counter() - began) / 60, values=[round(cpu.resident_mb(front.pid), 1)])
        )
    return points
