"""Exports: everything that was asked for, in a file that a spreadsheet cannot be tricked by, at any size."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import resource
from datetime import UTC, datetime
from decimal import Decimal

from tests.support.jobs import engine_on
from tests.support.ledger import execute, give, post, take
from tests.support.service import Service
from tests.support.world import make_world

EXPORT = "/api/v1/admin/export/entries"
ROWS = 200_000
MEGABYTES_MORE_MAX = 60
"""The file itself has over 50 MB, and rows as Python objects would take several times that."""

# Written as credits.post writes them, in bulk; each person's chain is unbroken.
MANY = f"""
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, version,
        earned_change, app_id, description, metadata, created_at, completed_at)
    SELECT 'many-' || n %% 1000, 'grant', 'completed', 1, n / 1000, n / 1000 + 1, n / 1000 + 1, 1, 'community',
           'a reward with a description of some length, as they have', '{{"reason": "test", "number": 4711}}',
           timestamptz '2026-10-01 00:00Z' + n * interval '1 second', timestamptz '2026-10-01 00:00Z'
    FROM generate_series(0, {ROWS - 1}) n
"""


def _headers(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.auth.mint('boss', role='admin')}"}


def _write_many(database_url: str) -> None:
    with engine_on(database_url) as engine:
        execute(
            engine,
            "SET LOCAL credits.posting = 'on'",
            "INSERT INTO credits.balances (user_id, balance, total_earned, version)"
            " SELECT 'many-' || n, 0, 0, 0 FROM generate_series(0, 999) n",
            MANY,
            f"UPDATE credits.balances SET balance = {ROWS // 1000}, total_earned = {ROWS // 1000},"
            f" version = {ROWS // 1000}",
        )


async def test_two_hundred_thousand_entries_stream_in_bounded_memory(
    service: Service, database_url: str
) -> None:
    await asyncio.to_thread(_write_many, database_url)
    path = f"{EXPORT}?since=2026-10-01&until=2026-11-01&format=jsonl"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = size = 0
    async with service.session.get(service.url + path, headers=_headers(service)) as response:
        assert response.status == 200
        async for chunk in response.content.iter_chunked(65_536):
            lines += chunk.count(b"\n")
            size += len(chunk)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert lines == ROWS
    assert size > 50_000_000
    assert more < MEGABYTES_MORE_MAX, f"{more:.0f} MB more"


async def test_a_persons_entries_are_exported_in_both_formats(service: Service, database_url: str) -> None:
    with engine_on(database_url) as engine:
        make_world(engine)
    both = {}
    for name in ("csv", "jsonl"):
        reply = await service.call("GET", f"{EXPORT}?userId=anna&format={name}", headers=_headers(service))
        assert reply.status == 200
        assert reply.headers["Content-Disposition"] == f'attachment; filename="entries.{name}"'
        both[name] = reply.raw.decode()
    rows = list(csv.DictReader(io.StringIO(both["csv"])))
    objects = [json.loads(line, parse_float=Decimal) for line in both["jsonl"].splitlines()]
    assert [row["id"] for row in rows] == [one["id"] for one in objects]
    assert len(rows) == 7
    assert [Decimal(row["amount"]) for row in rows] == [one["amount"] for one in objects]
    assert sum(Decimal(row["amount"]) for row in rows) == service.books.one(
        "SELECT balance + held FROM credits.balances WHERE user_id = 'anna'"
    )
    assert service.books.one("SELECT count(*) FROM ops.audit WHERE action = 'export_entries'") == 2


async def test_no_text_of_a_user_is_a_formula_in_a_spreadsheet(service: Service, database_url: str) -> None:
    evil = ["=HYPERLINK('http://x')", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a "quoted", text\nwith lines']
    with engine_on(database_url) as engine:
        post(engine, give("=evil", 100))
        for number, words in enumerate(evil):
            post(engine, take("=evil", 1, description=words, app_id=words, idempotency_key=f"={number}"))
    reply = await service.call("GET", f"{EXPORT}?userId=%3Devil", headers=_headers(service))
    rows = list(csv.reader(io.StringIO(reply.raw.decode(), newline="")))
    names = rows[0]
    texts = [
        row[names.index(name)]
        for row in rows[1:]
        for name in ("userId", "appId", "description", "idempotencyKey", "metadata")
    ]
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=HYPERLINK('http://x')" in texts
    assert evil[-1] in texts
    assert {row[names.index("amount")] for row in rows[2:]} == {"-1"}


async def test_the_period_is_bounded_and_holds_just_its_entries(service: Service, database_url: str) -> None:
    with engine_on(database_url) as engine:
        for day in (1, 2, 3):
            post(engine, give(f"p{day}", 1), now=datetime(2026, 11, day, tzinfo=UTC))
    path = f"{EXPORT}?since=2026-11-02&until=2026-11-03&format=jsonl"
    reply = await service.call("GET", path, headers=_headers(service))
    assert [json.loads(line)["userId"] for line in reply.raw.splitlines()] == ["p2"]
    for bad in ("since=2026-11-02&until=2026-11-02", "since=2020-01-01&until=2026-11-02", "since=x"):
        refused = await service.call("GET", f"{EXPORT}?{bad}", headers=_headers(service))
        refused.refused(400, "Invalid request")
