"""docs/scaling.md says how the tables can be spread over several servers; here it is held to what is issued.

A statement that reads a table that is spread is restricted by the column that it is spread by, so that it goes
to the servers of the people it is about, and to no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from domain import erasure, gifts, invariants, ledger, reservations, usage_stats
from domain.database import make_async_pool, make_engine, transaction
from domain.gifts.ending import expire_due
from domain.operators import figures
from domain.operators.overview import overview
from domain.sync_billing import reminders, renewals, resuming
from domain.telemetry import vitals
from domain.webhooks import EventType, endpoints, low_balances
from domain.webhooks.endpoints import Wanted
from tests import servers
from tests.support.books import Books
from tests.support.service import Service, serving_in_this_loop
from tests.support.statements import Scan, Statement, Statements, conjuncts

DOCUMENT = Path(__file__).parents[2] / "docs/scaling.md"
ANNA, BEN, CLARA = "anna", "ben", "clara"


def table_of(heading: str) -> Iterator[list[str]]:
    """The rows of the first table below a heading of the document, without their code marks."""
    text = DOCUMENT.read_text("utf-8").partition(f"\n## {heading}\n")[2]
    for row in re.findall(r"^\|(.+)\|$", text.partition("\n## ")[0], re.MULTILINE)[2:]:
        yield [cell.strip().replace("`", "") for cell in row.split("|")]


def words(cell: str) -> set[str]:
    """What a cell lists."""
    return set() if cell == "–" else {word.strip() for word in cell.split(",")}


SPREAD_BY = {table: column for table, column, _ in table_of("What is spread, and by what")}


def crossing(statements: Sequence[Statement]) -> dict[str, list[str]]:
    """By table that is spread: the statements that ask for rows of whoever."""
    found: dict[str, list[str]] = {}
    for statement in statements:
        for scan in statement.scans:
            if scan.table in SPREAD_BY and not scan.is_restricted_by(SPREAD_BY[scan.table]):
                found.setdefault(scan.table, []).append(f"{scan.conditions}: {statement.text}")
    return found


def test_a_condition_restricts_when_it_names_values_and_nothing_else_will_do() -> None:
    def restricts(*conditions: str) -> bool:
        return Scan("t", tuple(part for one in conditions for part in conjuncts(one))).is_restricted_by(
            "user_id"
        )

    assert restricts("(user_id = 'anna'::text)")
    assert restricts("(amount > 1)", "((b.user_id = p.user_id) AND (b.version < 3))")
    assert restricts("((version < 3) AND (user_id = ANY ('{anna,ben}'::text[])))")
    assert not restricts()
    assert not restricts("(id = '…'::uuid)")
    assert not restricts("(NOT (ANY (transactions.user_id = (hashed SubPlan 1).col1)))")
    assert not restricts("((version < 3) AND ((user_id = 'anna'::text) OR (amount > 1)))")
    assert not restricts("((user_id = 'anna'::text) OR (amount > 1))")
    assert not restricts("(creator_user_id = 'anna'::text)", "(user_id > 'anna'::text)")


@pytest.fixture
def database_url(postgres: servers.SharedPostgres) -> Iterator[str]:
    """A new database: the planner reads an emptied table whole, and the condition is then that of the join."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def statements(database_url: str) -> Statements:
    """What the test's database is sent."""
    return Statements.of(database_url, servers.shared_home() / "postgres" / "server.log")


async def spend_in_every_way(service: Service) -> None:
    """All that is asked on the spending path, with keys and without, done, repeated and refused."""
    used = {"appId": "chat", "description": "AI message"}
    keyed: dict[str, Any] = {"idempotencyKey": "message-7"}
    for who in (ANNA, BEN):
        (await service.grant(who, 100)).ok()
    for body in ({}, keyed, keyed):  # type: dict[str, Any]
        (await service.use(ANNA, 2.5, **body)).ok()
        (await service.internal("POST", "/use", {"userId": BEN, "amount": 1, **used, **body})).ok()
    assert (await service.use(ANNA, 1_000)).status == 402
    assert (await service.use("nobody", 1)).status == 404
    for _ in range(2):
        items = [
            {"userId": who, "amount": 1, **used, "idempotencyKey": "batch-1"} for who in (ANNA, BEN, "nobody")
        ]
        (await service.internal("POST", "/use/batch", {"items": items})).ok()
    for who in (ANNA, CLARA):  # Clara is seen for the first time
        (await service.user(who, "GET", "/balance")).ok()
        (await service.internal("GET", f"/balance/{who}")).ok()
    for query in ("", "?limit=2&offset=1", "?limit=2&cursor=2"):
        (await service.user(ANNA, "GET", f"/transactions{query}")).ok()
    for end in ("commit", "refund-reservation"):
        for key in ({}, {"idempotencyKey": f"{end}-1"}):
            held = (await service.reserve(ANNA, 5, **key)).ok()
            body = {"reservationId": held["reservationId"], **key}
            (await service.internal("POST", f"/{end}", body)).ok()
            assert (await service.internal("POST", f"/{end}", body)).status == (200 if key else 400)


async def ask_what_became(database_url: str, entries: Sequence[tuple[Any, ...]]) -> int:
    """As the front does when a connection broke under a batch; how many entries it finds."""
    async with make_async_pool(database_url, size=1) as pool, pool.connection() as connection:
        return len(await ledger.find_posted_async(connection, dict(entries)))


async def ask_who_is_held(database_url: str) -> set[str]:
    """As the front does when a batch waited for a balance in vain."""
    async with make_async_pool(database_url, size=1) as pool, pool.connection() as connection:
        return await ledger.find_held_async(connection, [ANNA, BEN])


async def test_no_statement_of_the_spending_path_asks_beyond_the_people_it_is_about(
    database_url: str, redis_url: str, statements: Statements
) -> None:
    async with serving_in_this_loop(database_url, redis_url) as service:
        with statements.sent() as sent:
            await spend_in_every_way(service)
        entries = Books(database_url).rows("SELECT id, user_id FROM credits.transactions")
        with statements.sent() as asked:
            assert await ask_what_became(database_url, entries) == len(entries)
            assert await ask_who_is_held(database_url) == set()
    assert crossing([*sent, *asked]) == {}
    # All of it was seen: what is inside the function too, and each table of the path, read and written.
    read = {scan.table for statement in sent for scan in statement.scans}
    written = {write for statement in sent for write in statement.writes}
    path = {"credits.balances", "credits.transactions", "credits.reservations", "ops.idempotent_answers"}
    assert path <= read
    assert {
        "Insert ops.usage_pending",
        "Update credits.balances",
        *(f"Insert {table}" for table in path),
    } <= written
    assert len(sent) > 50


def _invariants(connection: Connection, _now: datetime) -> None:
    invariants.check(connection.engine)


def _watch(connection: Connection, now: datetime) -> None:
    wanted = Wanted(
        app_id="chat",
        url="https://app.example/hooks",
        events=[EventType.BALANCE_LOW],
        low_balance_threshold=Decimal(10),
    )
    endpoints.create(connection, wanted, now=now)
    low_balances.look(connection, now)


ELSEWHERE: dict[str, Callable[[Connection, datetime], object]] = {
    "releasing expired reservations": lambda connection, now: reservations.release_expired(
        connection, reservations.Released(), now=now
    ),
    "expiring gifts": lambda connection, now: expire_due(
        connection, gifts.ExpireGifts(), gifts.ExpiredGifts(), now
    ),
    "adding up usage": lambda connection, _now: usage_stats.roll_up(connection),
    "rebuilding the usage statistics": lambda connection, _now: usage_stats.rebuild(connection),
    "charging renewals": lambda connection, now: renewals.charge_chunk(connection, began_at=now, now=now),
    "looking who can resume": resuming.look,
    "looking for low balances": _watch,
    "reminding of renewals": lambda connection, now: reminders.remind_step(
        connection, reminders.Reminded(), days=3, now=now
    ),
    "keeping the hours' figures": lambda connection, now: figures.keep(connection, now=now),
    "the operators' overview": lambda connection, now: overview(connection, now=now),
    "metrics of the service as a whole": lambda connection, now: vitals.read(connection, now=now),
    "erasing a person": lambda connection, now: erasure.erase(connection, BEN, now=now),
    "checking the invariants": _invariants,
}


async def test_what_asks_beyond_one_person_elsewhere_is_what_the_document_says(
    database_url: str, redis_url: str, statements: Statements
) -> None:
    async with serving_in_this_loop(database_url, redis_url) as service:
        await spend_in_every_way(service)
    engine = make_engine(database_url)
    found = {}
    now = datetime.now(UTC) + timedelta(hours=30)
    try:
        for what, work in ELSEWHERE.items():
            with statements.sent() as sent, transaction(engine) as connection:
                work(connection, now)
            found[what] = set(crossing(sent))
    finally:
        engine.dispose()
    told = {what: words(tables) for what, tables, _ in table_of("What asks beyond one person")}
    assert found == told


def test_every_table_has_its_place_in_the_document(database_url: str) -> None:
    there = {
        f"{schema}.{table}"
        for schema, table in Books(database_url).rows(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('credits', 'gifts', 'ops')"
        )
    }
    stays = {table for tables, _ in table_of("What stays on one server") for table in words(tables)}
    assert stays | set(SPREAD_BY) == there
    assert not stays & set(SPREAD_BY)


def test_unique_keys_without_the_column_that_their_table_is_spread_by_are_those_of_the_document(
    database_url: str,
) -> None:
    rows = Books(database_url).rows(
        "SELECT i.indrelid::regclass::text, c.relname,"
        " ARRAY(SELECT attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey))"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisunique"
    )
    lacking: dict[str, set[str]] = {table: set() for table in SPREAD_BY}
    for table, index, columns in rows:
        if table in SPREAD_BY and SPREAD_BY[table] not in columns:
            lacking[table].add(index)
    assert lacking == {table: words(keys) for table, _, keys in table_of("What is spread, and by what")}


def test_tables_that_are_spread_have_no_foreign_keys_that_lead_to_other_servers(database_url: str) -> None:
    keys = Books(database_url).rows(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
    )
    assert not [key for key in keys if set(key) & set(SPREAD_BY)]
