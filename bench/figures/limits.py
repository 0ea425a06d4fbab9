"""Where one PostgreSQL ends: the ledger's function by connections, and entries in a table for each month."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import psycopg

from bench.fill import fill
from bench.measure import Curve, Figure, Pace, Point, Series, figure, in_turns, take
from bench.rig import Rig
from domain import ledger
from domain.database import make_engine
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting
from domain.ledger.post import _CALL, _parameters

LIST: Final = 100
CONNECTIONS: Final = (1, 2, 4, 8, 16, 32)
LISTS_ENCODED: Final = 1_000
"""Encoded before each turn and sent by all connections together: encoding is the client's work, not PostgreSQL's.
A turn that has sent them all ends early."""

PEOPLE: Final = 100_000
"""So many that two lists at once seldom have somebody in common, for whom the one would wait for the other's commit."""

DAYS: Final = 2 * 365
ENTRIES_EACH: Final = 100
PAGES_READ: Final = 400


def posting_connections(rig: Rig, pace: Pace) -> list[Figure]:
    """Lists of 100 through credits.post alone, by the number of connections."""
    made, people = rig.new_database("busy"), pace.of(PEOPLE, 2_000)
    fill(made, users=people, uses=0)
    series = {n: Series(name=f"{n} connections", unit="deductions/s", values=[]) for n in CONNECTIONS}
    rig.accounts.generators.clear()
    for _ in range(pace.turns):
        for connections, one in series.items():
            rig.settle()
            take(rig, one, lambda n=connections: post_lists(made, n, pace.seconds, people))  # type: ignore[misc]
    best = max(series.values(), key=lambda one: one.median)
    points = [Point(x=n, values=one.values) for n, one in series.items()]
    return [
        figure(
            rig,
            "posting_connections",
            f"lists of {LIST} through the ledger's function alone, {best.name}, against one",
            [best, series[1]],
            must=None,
            aim=None,
            curves=[Curve(name="deductions", unit="deductions/s", x_name="connections", points=points)],
        )
    ]


def partitions(rig: Rig, pace: Pace) -> list[Figure]:
    """Entries of two years in a table for each month, against one table."""
    people = pace.of(50_000, 500)
    whole, monthly = rig.new_database("whole"), rig.new_database("monthly")
    monthly.sql(by_month())
    for each in (whole, monthly):
        fill(each, users=people, uses=ENTRIES_EACH - 1, days=DAYS)
    says = f"{people * ENTRIES_EACH:,} entries of two years in a table for each, against one table"
    archived = {whole.database: 0, monthly.database: 0}

    def compare(name: str, what: str, unit: str, measure: Callable[[Rig], float], **more: Any) -> Figure:
        return in_turns(
            rig,
            name,
            f"{what}, {says}",
            ours=("by month", unit, lambda: measure(monthly)),
            other=("one table", unit, lambda: measure(whole)),
            turns=pace.turns,
            must=None,
            aim=None,
            **more,
        )

    def posted(of: Rig) -> float:
        of.settle()
        return post_lists(of, 2, pace.seconds, people)

    def archive(of: Rig) -> float:
        archived[of.database] += 1
        return seconds_of(lambda: archive_month(of, archived[of.database]))

    slower = {"higher_is_better": False}
    return [
        compare("partitions_posting", f"lists of {LIST} with keys", "deductions/s", posted),
        compare(
            "partitions_list",
            "a person's newest 50 entries, p50",
            "ms",
            lambda of: page(of, people),
            **slower,
        ),
        compare(
            "partitions_vacuum", "VACUUM after deductions", "s", lambda of: vacuum(of, pace, people), **slower
        ),
        compare(
            "partitions_archive",
            "taking the oldest month away",
            "s",
            archive,
            **slower,
            checks=lambda: sizes(whole, monthly),
        ),
    ]


def post_lists(rig: Rig, connections: int, seconds: float, people: int) -> float:
    """Lists of LIST through credits.post on so many connections, each with a key of its own; deductions a second."""
    lists = [
        _parameters([_posting(people) for _ in range(LIST)], datetime.now(UTC)) for _ in range(LISTS_ENCODED)
    ]
    began = threading.Barrier(connections + 1)
    ended: list[float] = []
    waiting = iter(lists)
    lock = threading.Lock()

    def work() -> int:
        done = 0
        with psycopg.connect(rig.url, autocommit=True) as connection:
            began.wait()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                with lock:
                    each = next(waiting, None)
                if each is None:
                    break
                connection.execute(_CALL, each, prepare=True)
                done += 1
        ended.append(time.perf_counter())
        return done

    with ThreadPoolExecutor(connections) as threads:
        working = [threads.submit(work) for _ in range(connections)]
        began.wait()
        start = time.perf_counter()
        done = sum(one.result() for one in working)
    return done * LIST / (max(ended) - start)


def _posting(people: int) -> Posting:
    now = datetime.now(UTC)
    key = f"use:{new_id(now)}"
    return Posting(
        id=new_id(now),
        user_id=f"user-{random.randrange(people)}",
        type=EntryType.USAGE,
        amount=Decimal(-2),
        counts_as=CountsAs.SPENT,
        app_id="chat",
        description="AI message",
        metadata={"model": "small"},
        idempotency_key=key,
        posting_key=key,
    )


def months() -> list[str]:
    """The first day of each month of which there are entries, the current one the last."""
    first = (datetime.now(UTC) - timedelta(days=DAYS)).replace(day=1)
    found = []
    while first <= datetime.now(UTC):
        found.append(f"{first:%Y-%m-%d}")
        first = (first + timedelta(days=32)).replace(day=1)
    return found


def by_month() -> str:
    """SQL that makes the table of entries one with a partition for each month.

    Unique keys must contain the time then: that a key is used once is not the database's word any more.
    """
    parts = [
        f"CREATE TABLE credits.transactions_{since[:4]}{since[5:7]} PARTITION OF credits.transactions"
        f" FOR VALUES FROM ('{since}') TO ('{until}')"
        for since, until in pairwise([*months(), "infinity"])
    ]
    return ";\n".join(
        [
            "ALTER TABLE credits.transactions RENAME TO whole",
            "CREATE TABLE credits.transactions (LIKE credits.whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            " PARTITION BY RANGE (created_at)",
            *parts,
            "CREATE UNIQUE INDEX ON credits.transactions (id, created_at)",
            "CREATE UNIQUE INDEX ON credits.transactions (user_id, version, created_at)",
            "CREATE UNIQUE INDEX ON credits.transactions (user_id, posting_key, created_at)"
            " WHERE posting_key IS NOT NULL",
            "CREATE INDEX ON credits.transactions USING brin (created_at) WITH (pages_per_range = 32)",
            "CREATE TRIGGER entries_by_the_door BEFORE INSERT ON credits.transactions FOR EACH STATEMENT"
            " WHEN (current_setting('credits.posting', true) IS DISTINCT FROM 'on')"
            " EXECUTE FUNCTION credits.refuse_entry_change()",
            "DROP TABLE credits.whole",
        ]
    )


def page(rig: Rig, people: int) -> float:
    """The first page of somebody's entries: p50 in milliseconds."""
    engine = make_engine(rig.url, pool_size=1)
    times = []
    with engine.connect() as connection:
        for _ in range(PAGES_READ):
            user_id = f"user-{random.randrange(people)}"
            times.append(seconds_of(lambda who=user_id: ledger.entries_of(connection, who, limit=50)))  # type: ignore[misc]
            connection.rollback()
    engine.dispose()
    return statistics.median(times) * 1e3


def vacuum(rig: Rig, pace: Pace, people: int) -> float:
    """VACUUM of what deductions were added to, as autovacuum does; in seconds."""
    post_lists(rig, 2, pace.seconds, people)
    return seconds_of(lambda: rig.sql(f"VACUUM credits.{_newest(rig)}"))


def _newest(rig: Rig) -> str:
    return f"transactions_{datetime.now(UTC):%Y%m}" if rig.database == "monthly" else "transactions"


def archive_month(rig: Rig, number: int) -> None:
    """Remove the month of that number, the oldest that is left, and give its room back; nothing of ours ever does."""
    if rig.database == "monthly":
        [(oldest,), *_] = rig.sql(
            "SELECT relname FROM pg_class WHERE relname ~ '^transactions_\\d{6}$' AND relkind = 'r' ORDER BY 1"
        )
        rig.sql(f"DROP TABLE credits.{oldest}")
        return
    with psycopg.connect(rig.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            f"DELETE FROM credits.transactions WHERE created_at < '{months()[number]}'".encode()
        )
        connection.execute("VACUUM credits.transactions")


def sizes(*rigs: Rig) -> list[str]:
    """What the entries take on disk."""
    told = []
    for rig in rigs:
        [(pretty,)] = rig.sql(
            "SELECT pg_size_pretty(sum(pg_total_relation_size(oid))) FROM pg_class"
            " WHERE relname ~ '^transactions(_\\d{6})?$' AND relkind = 'r'"
        )
        told.append(
            f"{rig.database}: {rig.count('credits.transactions'):,} entries left, {pretty} with indexes"
        )
    return told


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
