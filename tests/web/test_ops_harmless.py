"""What users, apps and Stripe may store is shown as text on every page of operators': a script in each column."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql

from tests.support.clean_database import CleanDatabase
from tests.support.ops_pages import LOGINS, Browser, failed_job
from tests.support.service import Service
from tests.support.world import World, make_world
from web.operators.words import in_query

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"

OURS = {
    "ops.operator_sessions": "who is signed in",
    "ops.ledger_checks": "the findings are ours",
    "ops.heartbeats": "the processes are ours",
}
"""Tables in which nobody from outside can have anything written."""


def poison(database_url: str) -> set[str]:
    """Begin each text of each row with a script, and name one in each JSON object; the columns that took it."""
    poisoned = set()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        columns = connection.execute("""
            SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
            WHERE table_schema IN ('credits', 'gifts', 'ops') AND data_type IN ('text', 'jsonb')
              AND is_updatable = 'YES' AND is_generated = 'NEVER'
        """).fetchall()
        for schema, table, column, kind in columns:
            if f"{schema}.{table}" in OURS:
                continue
            name = sql.Identifier(column)
            value = sql.SQL("{evil} || coalesce({name}, '')").format(evil=sql.Literal(EVIL), name=name)
            if kind == "jsonb":
                value = sql.SQL("jsonb_build_object({evil}::text, {evil}::text)").format(
                    evil=sql.Literal(EVIL)
                )
                if column == "errors":
                    value = sql.SQL(
                        'jsonb_build_array({object} || \'{{"at": "2026-11-22T12:00:00Z", "attempt": 1}}\''
                        " || jsonb_build_object('error', {evil}::text, 'where', jsonb_build_array({evil}::text)))"
                    ).format(object=value, evil=sql.Literal(EVIL))
            statement = sql.SQL("UPDATE {table} SET {name} = {value}").format(
                table=sql.Identifier(schema, table), name=name, value=value
            )
            try:
                connection.execute(statement)
            except (psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation):
                continue  # one of a few words of ours; keys that a null keeps apart
            poisoned.add(f"{table}.{column}")
    return poisoned


@pytest.fixture
def service_variables() -> dict[str, str]:
    return LOGINS


@pytest.fixture
async def browser(own_service: Service) -> AsyncIterator[Browser]:
    own_service.has_books = False
    browser = Browser(own_service)
    async with browser.session:
        yield browser


@pytest.fixture
def world(lent_database: CleanDatabase) -> World:
    return make_world(lent_database.engine)


async def test_a_script_in_any_column_is_shown_as_text_on_every_page(
    browser: Browser, database_url: str, world: World
) -> None:
    job_id = failed_job(database_url, note="a note")
    books = browser.service.books
    await browser.sign_in()
    poisoned = poison(database_url)
    assert {
        *("balances.user_id", "transactions.description", "transactions.app_id", "transactions.metadata"),
        *("reservations.reason", "gift_codes.message", "gift_codes.creator_name", "gift_codes.target_email"),
        *("gift_redemptions.source_app_id", "jobs.payload", "jobs.last_error", "stripe_events.payload"),
        *("stripe_customers.email", "purchases.metadata", "purchases.failure_code", "packages.name"),
        *("sync_subscriptions.contact_email", "audit.reason", "usage_stats.app_id"),
    } <= poisoned
    user = in_query(books.one("SELECT user_id FROM credits.balances WHERE user_id LIKE '%%anna'"))
    event = in_query(books.one("SELECT id FROM ops.stripe_events"))
    evil = in_query(EVIL)
    pages = (
        *("/ops", "/ops/jobs", "/ops/queues", "/ops/purchases", "/ops/events", "/ops/audit", "/ops/ledger"),
        *(f"/ops/subscriptions?state={state}" for state in ("active", "due", "gifted", "paused", "problem")),
        f"/ops/person?id={user}",
        *(f"/ops/person/{which}?id={user}" for which in ("entries", "reservations", "gifts-made")),
        f"/ops/person/gifts-received?id={in_query(EVIL + 'ben')}",
        f"/ops/people?q={evil}",
        f"/ops/jobs/{job_id}",
        f"/ops/jobs?kind={evil}&user={evil}&subject={evil}",
        f"/ops/purchases/{world.purchase_id}",
        f"/ops/events/one?id={event}",
        *(f"/ops/audit?actor={evil}&user={evil}", f"/ops/purchases?user={evil}", f"/ops/events?type={evil}"),
        f"/ops/do/adjust_credits?user={user}&amount=5",
        *(f"/ops/do/{action}?user={user}" for action in ("gift_sync", "erase_person")),
        f"/ops/do/retry_job?job={job_id}",
        f"/ops/do/retry_failed_jobs?kind={evil}",
        f"/ops/do/replay_event?event={event}",
        f"/ops/sign-in?next={evil}",
    )
    harmless = 0
    for path in pages:
        answer, body = await browser.get(path)
        assert answer.status == 200, (path, answer.status)
        assert not re.search(r"<script(?! src=)|<img|\son\w+=[^&]*>", body), path
        harmless += "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert harmless >= len(pages) - 5
