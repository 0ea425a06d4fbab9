"""The figures, each a function from the rig to a Figure.  The table at the end names them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import psycopg

from bench import pgbench_runs
from bench.load import Plan, Report, load
from bench.measure import Figure, entries_of_run, in_turns
from bench.rig import SERVICE_KEY, USERS, Rig
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting
from domain.ledger.post import _CALL, _parameters
from simulators.auth import AuthSimulator

USE_BODY = (
    '{"userId":"{user}","amount":2,"appId":"chat","description":"AI message",'
    '"idempotencyKey":"{key}","metadata":{"model":"small"}}'
)


@dataclass
class Pace:
    """How long and how often to measure."""

    seconds: float
    turns: int


class Counted:
    """Sends plans and keeps count of what was acknowledged, to hold it against the ledger."""

    def __init__(self, rig: Rig, port: int, pace: Pace) -> None:
        self.rig, self.port, self.pace = rig, port, pace
        self.acknowledged = 0
        self.unexpected: dict[str, int] = {}
        self.before = entries_of_run(rig)

    def uses(self, *, connections: int = 32, users: int = USERS, rate: float = 0) -> Report:
        """POST internal/credits/use."""
        report = load(
            Plan(
                port=self.port,
                method="POST",
                path="/api/v1/internal/credits/use",
                headers={"X-Service-Key": SERVICE_KEY},
                body=USE_BODY,
                connections=connections,
                seconds=self.pace.seconds,
                users=users,
                rate=rate,
            )
        )
        self.acknowledged += report.ok
        for status, count in report.statuses.items():
            if status != "200":
                self.unexpected[status] = self.unexpected.get(status, 0) + count
        return report

    def checks(self) -> list[str]:
        """Every acknowledged deduction is in the ledger, and no more."""
        written = entries_of_run(self.rig) - self.before
        verdict = "equal" if written == self.acknowledged else "WRONG"
        return [
            f"{self.acknowledged} acknowledged, {written} entries: {verdict}",
            f"other answers: {self.unexpected or 'none'}",
        ]


def port_of(address: str) -> int:
    """The port of a local address."""
    return int(address.rsplit(":", 1)[1])


def deductions(rig: Rig, pace: Pace) -> Figure:
    """Deductions by HTTP against pgbench doing them one by one."""
    with rig.front() as address:
        counted = Counted(rig, port_of(address), pace)
        return in_turns(
            "deductions",
            "POST internal/credits/use, 1,000 users, 32 connections, against pgbench, one multi-statement"
            " transaction each",
            ours=("HTTP", "deductions/s", lambda: counted.uses().per_second),
            other=(
                "pgbench multi-statement",
                "deductions/s",
                lambda: pgbench_runs.per_second(rig, "multi_statement.sql", pace.seconds),
            ),
            turns=pace.turns,
            must=1.5,
            aim=2.0,
            checks=counted.checks,
        )


def one_statement(rig: Rig, pace: Pace) -> Figure:
    """The same against pgbench's best one-by-one form."""
    with rig.front() as address:
        counted = Counted(rig, port_of(address), pace)
        return in_turns(
            "one_statement",
            "the same against pgbench, one statement each",
            ours=("HTTP", "deductions/s", lambda: counted.uses().per_second),
            other=(
                "pgbench one statement",
                "deductions/s",
                lambda: pgbench_runs.per_second(rig, "one_statement.sql", pace.seconds),
            ),
            turns=pace.turns,
            must=None,
            aim=None,
            checks=counted.checks,
        )


def hot_user(rig: Rig, pace: Pace) -> Figure:
    """One hot user against a thousand."""
    with rig.front() as address:
        counted = Counted(rig, port_of(address), pace)
        return in_turns(
            "hot_user",
            "all deductions on one user, against 1,000 users",
            ours=("one user", "deductions/s", lambda: counted.uses(users=1).per_second),
            other=("1,000 users", "deductions/s", lambda: counted.uses().per_second),
            turns=pace.turns,
            must=1.0,
            aim=1.2,
            checks=counted.checks,
        )


def p99_at_half(rig: Rig, pace: Pace) -> Figure:
    """Latency when it is half busy."""
    with rig.front() as address:
        counted = Counted(rig, port_of(address), pace)
        highest = counted.uses().per_second
        return in_turns(
            "p99_at_half",
            "p99 of deductions at half of the highest throughput",
            ours=("p99", "ms", lambda: counted.uses(rate=highest / 2).p99),
            other=None,
            turns=pace.turns,
            must=10.0,
            aim=6.0,
            higher_is_better=False,
            checks=counted.checks,
        )


def lone_request(rig: Rig, pace: Pace) -> Figure:
    """One request alone against a bare BEGIN…COMMIT."""
    with rig.front() as address:
        counted = Counted(rig, port_of(address), pace)
        return in_turns(
            "lone_request",
            "one connection alone, p50, against the bare BEGIN … COMMIT of a deduction from Python",
            ours=("HTTP", "ms", lambda: counted.uses(connections=1).p50),
            other=("BEGIN … COMMIT", "ms", lambda: _bare_transactions(rig, pace.seconds)),
            turns=pace.turns,
            must=2.0,
            aim=1.5,
            higher_is_better=False,
            checks=counted.checks,
        )


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


def balance_reads(rig: Rig, pace: Pace) -> Figure:
    """Balance by HTTP with a JWT against a bare handler."""
    with ExitStack() as stack:
        auth = stack.enter_context(AuthSimulator().on_a_thread())
        address = stack.enter_context(rig.front(MANA_AUTH_URL=auth.url))
        bare = stack.enter_context(rig.front("bench.bare"))
        token = auth.mint("user-1")

        def gets(port: int, path: str) -> float:
            headers = {"Authorization": f"Bearer {token}"}
            plan = Plan(
                port=port, method="GET", path=path, headers=headers, connections=32, seconds=pace.seconds
            )
            report = load(plan)
            if report.statuses.keys() != {"200"}:
                raise RuntimeError(f"unexpected answers: {report.statuses}")
            return report.per_second

        return in_turns(
            "balance_reads",
            "GET balance with a JWT, against a bare aiohttp handler",
            ours=("balance", "reads/s", lambda: gets(port_of(address), "/api/v1/credits/balance")),
            other=("bare handler", "answers/s", lambda: gets(port_of(bare), "/health")),
            turns=pace.turns,
            must=0.7,
            aim=0.9,
        )


BATCH = 100


def batch_endpoint(rig: Rig, pace: Pace) -> Figure:
    """use/batch of 100 against the batched SQL alone."""
    with rig.front() as address:
        item = USE_BODY.replace('"idempotencyKey":"{key}",', "")
        items = ",".join(item.replace("{user}", f"user-{n * 7}") for n in range(BATCH))
        before = entries_of_run(rig)
        done = [0]

        def batches() -> float:
            plan = Plan(
                port=port_of(address),
                method="POST",
                path="/api/v1/internal/credits/use/batch",
                headers={"X-Service-Key": SERVICE_KEY},
                body='{"items":[' + items + "]}",
                connections=4,
                seconds=pace.seconds,
            )
            report = load(plan)
            done[0] += report.ok * BATCH
            return report.per_second * BATCH

        def sql() -> float:
            rate, count = _batched_sql(rig, pace.seconds)
            done[0] += count
            return rate

        return in_turns(
            "batch_endpoint",
            "POST use/batch of 100, against the same lists through the ledger's function alone",
            ours=("HTTP", "deductions/s", batches),
            other=("SQL", "deductions/s", sql),
            turns=pace.turns,
            must=0.5,
            aim=0.8,
            checks=lambda: [f"{done[0]} acknowledged, {entries_of_run(rig) - before} entries"],
        )


def _batched_sql(rig: Rig, seconds: float) -> tuple[float, int]:
    """Lists of BATCH through credits.post on one connection, encoded beforehand; (deductions/s, how many)."""
    lists = [
        _parameters([_posting(f"user-{(n * 7 + turn) % USERS}") for n in range(BATCH)], datetime.now(UTC))
        for turn in range(400)
    ]
    count = 0
    with psycopg.connect(rig.url, autocommit=True) as connection:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds and count < len(lists):
            connection.execute(_CALL, lists[count], prepare=True).fetchone()
            count += 1
        took = time.perf_counter() - began
    return count * BATCH / took, count * BATCH


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


def wal_bytes(rig: Rig, pace: Pace) -> Figure:
    """What a deduction writes to the log, against the one-by-one form."""
    with rig.front() as address:
        counted = Counted(rig, port_of(address), pace)

        def by_http() -> float:
            before = _wal(rig)
            ok = counted.uses().ok
            return _wal(rig, before) / max(1, ok)

        def by_pgbench() -> float:
            before = _wal(rig)
            rate = pgbench_runs.per_second(rig, "multi_statement.sql", pace.seconds)
            return _wal(rig, before) / max(1, rate * max(1, round(pace.seconds)))

        rig.sql("CHECKPOINT")
        return in_turns(
            "wal_bytes",
            "bytes of write-ahead log a deduction, against one multi-statement transaction each",
            ours=("HTTP", "bytes", by_http),
            other=("pgbench multi-statement", "bytes", by_pgbench),
            turns=pace.turns,
            must=0.7,
            aim=0.4,
            higher_is_better=False,
            checks=counted.checks,
        )


def _wal(rig: Rig, since: int = 0) -> int:
    [(position,)] = rig.sql("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
    assert isinstance(position, int)
    return position - since


FIGURES: dict[str, Callable[[Rig, Pace], Figure]] = {
    "deductions": deductions,
    "one_statement": one_statement,
    "hot_user": hot_user,
    "p99_at_half": p99_at_half,
    "lone_request": lone_request,
    "balance_reads": balance_reads,
    "batch_endpoint": batch_endpoint,
    "wal_bytes": wal_bytes,
}
