"""Who fell below an endpoint's threshold: looked for every few seconds, and never where credits are spent.

Credits go by many doors, and the busiest of them may not do a thing more.  So the leading scheduler looks at the
balances whose entries or reservations are new, and beside them at a part of all balances in turn, which finds what the
first look missed: a row of another team's script, a transaction that took long, a clock that is wrong.

`ops.low_balances` holds who was below when last looked at (the latch): whoever is below and is not in it has crossed
the threshold, once; whoever is in it and has enough again is taken out: by the next look, or by what puts back credits
that were set aside, which leaves nothing to be found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, select, text

from domain.ids import lowest_id
from domain.tables import low_balances
from domain.webhooks.events import BalanceLow
from domain.webhooks.telling import tell_each

LOOK_EVERY: Final = timedelta(seconds=5)
"""How long somebody is below before apps are told, at most."""

OVERLAP: Final = timedelta(seconds=10)
"""How far each look goes back behind the last one: an entry is named for the time when its transaction began, on the
clock of the machine that posted it, and is seen when it is committed."""

WINDOW_MAX: Final = timedelta(minutes=1)
"""How far back a look reads at most, half a million entries where ten thousand are posted a second.  What nobody
looked at for longer is left to the look at all balances in turn."""

PAGES_PER_LOOK: Final = 128
"""Pages of balances of 8 KiB, some five thousand people: a few milliseconds; a million people in 16 minutes."""

CROSSINGS_PER_LOOK_MAX: Final = 500
"""Crossings told in one transaction, which locks the balances for a fraction of a second; what is more is found by the
next look."""

_ERASING_LOCK: Final = 0x6D616E61_04
"""Advisory lock ("mana", 4), shared by those who erase people: nobody begins to watch somebody who is being erased."""

_BEGIN_WATCHING: Final = text("""
    INSERT INTO ops.low_balances (user_id, endpoint_id, version, since)
    SELECT user_id, :endpoint, version, :now FROM credits.balances WHERE balance < :threshold
""")

# Locked as a reference to them is: whoever changes an endpoint waits for the look's end.
_WATCHED: Final = text("""
    SELECT low_balance_threshold FROM ops.webhook_endpoints
    WHERE state = 'active' AND low_balance_threshold IS NOT NULL ORDER BY id FOR KEY SHARE
""")

_LOCK: Final = text("SELECT read_until, next_page FROM ops.low_balance_look FOR UPDATE SKIP LOCKED")
_FIRST_LOOK: Final = text("""
    INSERT INTO ops.low_balance_look (read_until) VALUES (:now) ON CONFLICT DO NOTHING
""")
_NOTE: Final = text("UPDATE ops.low_balance_look SET read_until = :read_until, next_page = :next_page")

_PAGES: Final = text("SELECT pg_relation_size('credits.balances') / current_setting('block_size')::integer")

# Ids of entries and reservations begin with their time: the newest are the right edge of an index that is there.
# `recent` leaves out entries of people who stayed above every threshold.  A reservation makes no entry; what its commit
# spends was set aside before, so that what can be spent does not move, although the entry says so.  A person who
# never had as much as the threshold (new, or never lucky) has crossed nothing: what an entry left, with what was set
# aside then, is the most that there was.
_LOOK: Final = text("""
    WITH watched AS MATERIALIZED (
        SELECT id, low_balance_threshold AS threshold FROM ops.webhook_endpoints
        WHERE state = 'active' AND low_balance_threshold IS NOT NULL
    ), recent AS MATERIALIZED (
        SELECT user_id, version,
               CASE WHEN starts_with(posting_key, 'commit:') THEN balance_after
                    ELSE greatest(balance_before, balance_after) END AS high
        FROM credits.transactions
        WHERE id >= :low AND id < :high AND least(balance_before, balance_after) < :highest_threshold
    ), people AS MATERIALIZED (
        SELECT user_id FROM recent
        UNION
        SELECT user_id FROM credits.reservations WHERE id >= :low AND id < :high
        UNION
        SELECT user_id FROM credits.balances WHERE ctid >= CAST(:first AS tid) AND ctid < CAST(:behind AS tid)
    ), risen AS MATERIALIZED (
        SELECT DISTINCT l.endpoint_id, l.user_id
        FROM recent r JOIN ops.low_balances l ON l.user_id = r.user_id JOIN watched w ON w.id = l.endpoint_id
        WHERE r.version > l.version AND r.high >= w.threshold
    )
    SELECT w.id AS endpoint_id, w.threshold, b.user_id,
           l.user_id IS NOT NULL OR EXISTS (
               SELECT FROM credits.transactions t
               WHERE t.user_id = b.user_id AND t.balance_after + t.held_after >= w.threshold) AS was_above
    FROM people p
    JOIN credits.balances b ON b.user_id = p.user_id
    CROSS JOIN watched w
    LEFT JOIN ops.low_balances l ON l.user_id = b.user_id AND l.endpoint_id = w.id
    LEFT JOIN risen r ON r.user_id = b.user_id AND r.endpoint_id = w.id
    WHERE CASE WHEN l.user_id IS NULL THEN b.balance < w.threshold
               ELSE b.balance >= w.threshold OR r.user_id IS NOT NULL END
      AND NOT EXISTS (SELECT FROM ops.erasures x WHERE x.pseudonym = b.user_id)
    ORDER BY b.user_id, w.id
    LIMIT :most
""")

# What is told is what is so until it is told: nobody changes the balance, tells of a later change before us, or erases
# the person.  Nobody is waited for, so that no two wait for each other; whose balance is being changed at this moment
# is left to the next look.
_LOCK_BALANCES: Final = text("""
    SELECT user_id, balance, version FROM credits.balances
    WHERE user_id = ANY (:people) ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED
""")

_LET_GO: Final = text("""
    DELETE FROM ops.low_balances l
    USING ops.webhook_endpoints w, unnest(CAST(:people AS text[]), CAST(:balances AS numeric[])) AS r(user_id, balance)
    WHERE l.user_id = r.user_id AND w.id = l.endpoint_id AND r.balance >= w.low_balance_threshold
""")

_REARM: Final = text("""
    DELETE FROM ops.low_balances l
    USING unnest(CAST(:people AS text[]), CAST(:endpoints AS uuid[])) AS r(user_id, endpoint_id)
    WHERE l.user_id = r.user_id AND l.endpoint_id = r.endpoint_id
""")

_LATCH: Final = text("""
    INSERT INTO ops.low_balances (user_id, endpoint_id, version, since)
    SELECT r.user_id, r.endpoint_id, r.version, :now
    FROM unnest(CAST(:people AS text[]), CAST(:endpoints AS uuid[]), CAST(:versions AS bigint[]))
         AS r(user_id, endpoint_id, version)
    ON CONFLICT (user_id, endpoint_id) DO UPDATE SET version = excluded.version, since = excluded.since
""")


@dataclass(frozen=True)
class _Judged:
    """A person's balance beside an endpoint's threshold."""

    user_id: str
    endpoint_id: UUID
    threshold: Decimal
    was_above: bool
    balance: Decimal
    version: int


def begin_watching(
    connection: Connection, endpoint_id: UUID, threshold: Decimal | None, *, now: datetime
) -> None:
    """From now on an endpoint hears of whoever falls below the threshold; None: of nobody.

    Whoever is below already has not crossed it.  Reads every balance once: about a second for a million people.
    """
    connection.execute(delete(low_balances).where(low_balances.c.endpoint_id == endpoint_id))
    if threshold is not None:
        connection.execute(select(func.pg_advisory_xact_lock(_ERASING_LOCK)))
        parameters = {"endpoint": endpoint_id, "threshold": threshold, "now": now}
        connection.execute(_BEGIN_WATCHING, parameters)


def let_go(connection: Connection, balances: Sequence[tuple[str, Decimal]]) -> None:
    """Release the latches of people who have enough again because something set aside was put back.

    That makes no entry and no row, so a look would not find it.  Call it while the balances are locked.
    """
    people, amounts = [user_id for user_id, _ in balances], [balance for _, balance in balances]
    connection.execute(_LET_GO, {"people": people, "balances": amounts})


def forget(connection: Connection, user_id: str) -> int:
    """Erase who was below; how many rows.  Until the transaction ends nobody begins to watch."""
    connection.execute(select(func.pg_advisory_xact_lock_shared(_ERASING_LOCK)))
    return connection.execute(delete(low_balances).where(low_balances.c.user_id == user_id)).rowcount


def look(connection: Connection, now: datetime, *, pages: int = PAGES_PER_LOOK) -> int:
    """Tell of whoever fell below a threshold; how many.  One at a time looks; one question where nobody listens.

    `pages` of all balances are looked at beside those that changed.
    """
    thresholds = connection.execute(_WATCHED).scalars().all()
    position = _position(connection, now) if thresholds else None
    if position is None:
        return 0
    since = max(position.read_until - OVERLAP, now - WINDOW_MAX)
    first_page = position.next_page if position.next_page < _page_count(connection) else 0
    # The right plan follows from how few rows are new now: never a remembered one.
    connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    found = connection.execute(
        _LOOK,
        {
            "low": lowest_id(since),
            # Clocks of other machines may be ahead.
            "high": lowest_id(now + OVERLAP),
            "highest_threshold": max(thresholds),
            "first": f"({first_page},0)",
            "behind": f"({first_page + pages},0)",
            "most": CROSSINGS_PER_LOOK_MAX,
        },
    ).all()
    judged = _locked(connection, found)
    told = _judge(connection, judged, now)
    if len(found) < CROSSINGS_PER_LOOK_MAX:
        read_until = now if len(judged) == len(found) else position.read_until
        connection.execute(_NOTE, {"read_until": read_until, "next_page": first_page + pages})
    return told


def _page_count(connection: Connection) -> int:
    count: int = connection.execute(_PAGES).scalar_one()
    return count


def _position(connection: Connection, now: datetime) -> Row[Any] | None:
    """How far was looked, locked; None while another looks."""
    row = connection.execute(_LOCK).one_or_none()
    if row is None and connection.execute(_FIRST_LOOK, {"now": now}).rowcount:
        row = connection.execute(_LOCK).one_or_none()
    return row


def _locked(connection: Connection, found: Sequence[Row[Any]]) -> list[_Judged]:
    """What was found of people whose balances nobody changes now, with these balances, which are locked."""
    if not found:
        return []
    people = sorted({row.user_id for row in found})
    accounts = {row.user_id: row for row in connection.execute(_LOCK_BALANCES, {"people": people})}
    return [
        _Judged(
            user_id=row.user_id,
            endpoint_id=row.endpoint_id,
            threshold=row.threshold,
            was_above=row.was_above,
            balance=accounts[row.user_id].balance,
            version=accounts[row.user_id].version,
        )
        for row in found
        if row.user_id in accounts
    ]


def _judge(connection: Connection, judged: Iterable[_Judged], now: datetime) -> int:
    """Set and release the latches; tell of those who crossed."""
    rows: dict[str, list[_Judged]] = defaultdict(list)
    for row in judged:
        rows[_verdict(row)].append(row)
    if rows["armed"]:
        connection.execute(_REARM, _named(rows["armed"]))
    low = [*rows["low"], *rows["crossed"]]
    if low:
        versions = [row.version for row in low]
        connection.execute(_LATCH, {**_named(low), "versions": versions, "now": now})
    events = [
        (BalanceLow(user_id=row.user_id, balance=row.balance, threshold=row.threshold), row.endpoint_id)
        for row in rows["crossed"]
    ]
    tell_each(connection, events, now=now)
    return len(events)


def _verdict(row: _Judged) -> str:
    if row.balance >= row.threshold:
        return "armed"
    return "crossed" if row.was_above else "low"


def _named(rows: Sequence[_Judged]) -> dict[str, Any]:
    return {"people": [row.user_id for row in rows], "endpoints": [row.endpoint_id for row in rows]}
