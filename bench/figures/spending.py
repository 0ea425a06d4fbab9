"""What a deduction costs, against doing it otherwise on the same machine."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg

from bench import pgbench_runs
from bench.figures.counted import USE_BODY, USE_PATH, Counted, books, others, usage_entries
from bench.measure import Figure, Pace, Side, in_turns
from bench.plan import Plan
from bench.rig import SERVICE_KEY, USERS, Front, Rig
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting
from domain.ledger.post import _CALL, _parameters


def deductions(rig: Rig, pace: Pace) -> list[Figure]:
    """Deductions by HTTP against pgbench doing them one by one."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        return [
            in_turns(
                rig,
                "deductions",
                "POST internal/credits/use, 1,000 users, 32 connections, against pgbench, one multi-statement"
                " transaction each",
                ours=("HTTP", "deductions/s", counted.per_second),
                other=pgbench_side(rig, pace, "pgbench, multi-statement", "multi_statement.sql"),
                turns=pace.turns,
                must=1.5,
                aim=2.0,
                checks=counted.checks,
            )
        ]


def pgbench_side(rig: Rig, pace: Pace, name: str, script: str) -> Side:
    """What is compared with: a script of pgbench's."""
    return name, "deductions/s", lambda: pgbench_runs.run(rig, script, pace.seconds).per_second


def one_statement(rig: Rig, pace: Pace) -> list[Figure]:
    """The same against pgbench's best one-by-one form."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        return [
            in_turns(
                rig,
                "one_statement",
                "the same against pgbench, one statement each",
                ours=("HTTP", "deductions/s", counted.per_second),
                other=pgbench_side(rig, pace, "pgbench, one statement", "one_statement.sql"),
                turns=pace.turns,
                must=None,
                aim=None,
                checks=counted.checks,
            )
        ]


def alike(rig: Rig, pace: Pace) -> list[Figure]:
    """The same against pgbench doing all that a deduction of the service does, one by one."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        return [
            in_turns(
                rig,
                "deductions_alike",
                "the same against pgbench doing all of it: key looked for and kept, version, line of usage",
                ours=("HTTP", "deductions/s", counted.per_second),
                other=pgbench_side(rig, pace, "pgbench, all of it", "multi_statement_alike.sql"),
                turns=pace.turns,
                must=None,
                aim=None,
                checks=counted.checks,
            ),
            _wal_bytes(
                rig,
                pace,
                counted,
                ("wal_bytes_alike", "the same against pgbench doing all of it", "multi_statement_alike.sql"),
                must=None,
                aim=None,
            ),
        ]


def plain_service(rig: Rig, pace: Pace) -> list[Figure]:
    """The same against the obvious Python service: SQLAlchemy's async session, a transaction a request."""
    with rig.front() as front, rig.front("bench.plain") as plain:
        counted = Counted(rig, front, pace)
        return [
            in_turns(
                rig,
                "plain_service",
                "the same against an aiohttp service with a transaction a request through SQLAlchemy async",
                ours=("HTTP", "deductions/s", counted.per_second),
                other=("transaction a request", "deductions/s", lambda: _other_service(rig, plain, pace)),
                turns=pace.turns,
                must=None,
                aim=None,
                checks=counted.checks,
            )
        ]


def bare_handler(rig: Rig, pace: Pace) -> list[Figure]:
    """The same against a bare aiohttp handler with a JSON body and no database."""
    with rig.front() as front, rig.front("bench.bare") as bare:
        counted = Counted(rig, front, pace)
        return [
            in_turns(
                rig,
                "bare_handler",
                "the same against an aiohttp handler that decodes and encodes JSON, without a database",
                ours=("HTTP", "deductions/s", counted.per_second),
                other=("bare handler", "answers/s", lambda: _other_service(rig, bare, pace)),
                turns=pace.turns,
                must=None,
                aim=None,
                checks=counted.checks,
            )
        ]


def _other_service(rig: Rig, front: Front, pace: Pace) -> float:
    """The same deductions sent to something else."""
    plan = Plan(
        port=front.port,
        method="POST",
        path=USE_PATH,
        headers={"X-Service-Key": SERVICE_KEY},
        body=USE_BODY,
        connections=32,
        seconds=pace.seconds,
        users=USERS,
    )
    report = rig.send(plan)
    if report.statuses.keys() != {"200"}:
        raise RuntimeError(f"unexpected answers: {report.statuses}")
    return report.per_second


def hot_user(rig: Rig, pace: Pace) -> list[Figure]:
    """One hot user against a thousand."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        return [
            in_turns(
                rig,
                "hot_user",
                "all deductions on one user, against 1,000 users",
                ours=("one user", "deductions/s", lambda: counted.per_second(users=1)),
                other=("1,000 users", "deductions/s", counted.per_second),
                turns=pace.turns,
                must=1.0,
                aim=1.2,
                checks=counted.checks,
            )
        ]


def p99_at_half(rig: Rig, pace: Pace) -> list[Figure]:
    """Latency when it is half busy."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        half = counted.per_second() / 2
        late: list[float] = []

        def p99() -> float:
            report = counted.send(counted.plan(rate=half))
            late.append(report.late)
            return report.p99

        measured = in_turns(
            rig,
            "p99_at_half",
            "p99 of deductions at half of the highest throughput",
            ours=("p99", "ms", p99),
            other=None,
            turns=pace.turns,
            must=10.0,
            aim=6.0,
            higher_is_better=False,
            checks=counted.checks,
        )
        measured.checks.append(
            f"offered {half:,.0f}/s; {max(late):.2%} at most were sent later than they were due"
        )
        return [measured]


def lone_request(rig: Rig, pace: Pace) -> list[Figure]:
    """One request alone against a bare BEGIN…COMMIT."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        return [
            in_turns(
                rig,
                "lone_request",
                "one connection alone, p50, against the bare BEGIN … COMMIT of a deduction from Python",
                ours=("HTTP", "ms", lambda: counted.send(counted.plan(connections=1)).p50),
                other=("BEGIN … COMMIT", "ms", lambda: _bare_transactions(rig, pace.seconds)),
                turns=pace.turns,
                must=2.0,
                aim=1.5,
                higher_is_better=False,
                checks=counted.checks,
            )
        ]


def _bare_transactions(rig: Rig, seconds: float) -> float:
    """The middle time of BEGIN, an update and an insert, COMMIT, through psycopg; in milliseconds."""
    times = []
    with psycopg.connect(rig.url, autocommit=True) as connection:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            with connection.transaction():
                connection.execute(
                    "UPDATE bench.balances SET balance = balance - 2, version = version + 1"
                    " WHERE user_id = 'user-1' AND balance >= 2"
                )
                connection.execute(
                    "INSERT INTO bench.transactions"
                    " (user_id, type, amount, balance_before, balance_after, app_id, description)"
                    " VALUES ('user-1', 'usage', -2, 100, 98, 'chat', 'AI message')"
                )
            times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1e3


BATCH = 100
LISTS_AT_ONCE = 2
"""As many as the service has under way; so the ceiling has both cores too."""

LISTS_PER_SECOND_MAX = 600
"""Encoded beforehand for each connection: more than any server here takes."""


def batch_endpoint(rig: Rig, pace: Pace) -> list[Figure]:
    """use/batch of 100 against the batched SQL alone."""
    with rig.front() as front:
        item = USE_BODY.replace('"idempotencyKey":"{key}",', "")
        items = ",".join(item.replace("{user}", f"user-{n * 7}") for n in range(BATCH))
        before, done, unanswered, unexpected = usage_entries(rig), [0], [0], dict[str, int]()
        plan = Plan(
            port=front.port,
            method="POST",
            path=f"{USE_PATH}/batch",
            headers={"X-Service-Key": SERVICE_KEY},
            body='{"items":[' + items + "]}",
            connections=4,
            seconds=pace.seconds,
        )

        def batches() -> float:
            report = rig.send(plan)
            done[0] += report.ok * BATCH
            unanswered[0] += max(0, report.sent - report.answered) * BATCH
            unexpected.update({status: n for status, n in report.statuses.items() if status != "200"})
            return report.ok * BATCH / report.seconds

        def sql() -> float:
            rate, count = _batched_sql(rig, pace.seconds)
            done[0] += count
            return rate

        return [
            in_turns(
                rig,
                "batch_endpoint",
                "POST use/batch of 100, 4 connections, against such lists through the ledger's function alone",
                ours=("HTTP", "deductions/s", batches),
                other=("SQL", "deductions/s", sql),
                turns=pace.turns,
                must=0.5,
                aim=0.8,
                checks=lambda: [
                    books(done[0], unanswered[0], usage_entries(rig) - before),
                    others(unexpected),
                ],
            )
        ]


def _batched_sql(rig: Rig, seconds: float) -> tuple[float, int]:
    """Lists of BATCH through credits.post, encoded beforehand; (deductions/s, how many)."""
    lists = [
        [
            _parameters([_posting(f"user-{(n * 7 + turn) % USERS}") for n in range(BATCH)], datetime.now(UTC))
            for turn in range(round(seconds * LISTS_PER_SECOND_MAX))
        ]
        for _ in range(LISTS_AT_ONCE)
    ]
    with ThreadPoolExecutor(LISTS_AT_ONCE) as threads:
        began = time.perf_counter()
        count = sum(threads.map(lambda mine: _post_lists(rig, mine, began + seconds), lists))
        took = time.perf_counter() - began
    return count * BATCH / took, count * BATCH


def _post_lists(rig: Rig, lists: list[tuple[Any, ...]], end: float) -> int:
    """Post one after the other until `end`; how many."""
    with psycopg.connect(rig.url, autocommit=True) as connection:
        for count, each in enumerate(lists):
            if time.perf_counter() >= end:
                return count
            connection.execute(_CALL, each, prepare=True).fetchone()
    raise RuntimeError("too few lists were encoded")


def _posting(user_id: str) -> Posting:
    return Posting(
        id=new_id(datetime.now(UTC)),
        user_id=user_id,
        type=EntryType.USAGE,
        amount=Decimal(-2),
        counts_as=CountsAs.SPENT,
        app_id="chat",
        description="AI message",
        metadata={"model": "small"},
    )


def wal_bytes(rig: Rig, pace: Pace) -> list[Figure]:
    """What a deduction writes to the log, against the one-by-one form."""
    says = "bytes of write-ahead log a deduction, against one multi-statement transaction each"
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        return [_wal_bytes(rig, pace, counted, ("wal_bytes", says, "multi_statement.sql"), must=0.7, aim=0.4)]


def _wal_bytes(
    rig: Rig,
    pace: Pace,
    counted: Counted,
    named: tuple[str, str, str],
    *,
    must: float | None,
    aim: float | None,
) -> Figure:
    """Ours against a script of pgbench's; `named`: the figure, what it says, the script."""
    name, says, script = named

    def by_http() -> float:
        rig.settle()
        counted.send(counted.plan())  # pages changed since the checkpoint are in the log whole, once
        before = _wal(rig)
        report = counted.send(counted.plan())
        return _wal(rig, before) / max(1, report.ok)

    def by_pgbench() -> float:
        rig.settle()
        pgbench_runs.run(rig, script, pace.seconds)
        before = _wal(rig)
        done = pgbench_runs.run(rig, script, pace.seconds)
        return _wal(rig, before) / max(1, done.transactions)

    return in_turns(
        rig,
        name,
        says,
        ours=("HTTP", "bytes", by_http),
        other=("pgbench", "bytes", by_pgbench),
        turns=pace.turns,
        must=must,
        aim=aim,
        higher_is_better=False,
        checks=counted.checks,
    )


def _wal(rig: Rig, since: int = 0) -> int:
    [(position,)] = rig.sql("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
    assert isinstance(position, int)
    return position - since
