"""Telling: an app event is written in the transaction of what it tells of, for each endpoint that listens.

So nobody is told of what did not happen, and nothing that happened is forgotten.  Where nobody listens nothing is
written.  Call it after ledger.post: then the person's balance is locked, and the events' order is that of the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from domain.ids import new_id
from domain.webhooks.events import AppEvent, data_of, json_of

_LISTENING: Final = text("""
    SELECT id, events FROM ops.webhook_endpoints
    WHERE state = 'active' AND events && CAST(:types AS text[]) ORDER BY id
""")

_EVENTS: Final = text("""
    INSERT INTO ops.app_events (id, type, user_id, data, created_at)
    SELECT e.id, e.type, e.user_id, e.data::json, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:types AS text[]), CAST(:people AS text[]), CAST(:datas AS text[]))
         WITH ORDINALITY AS e(id, type, user_id, data, position)
    ORDER BY e.position
""")

_DELIVERIES: Final = text("""
    INSERT INTO ops.webhook_deliveries (id, endpoint_id, event_id, user_id, seq, created_at)
    SELECT d.id, d.endpoint_id, e.id, e.user_id, e.seq, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:events AS uuid[]))
         AS d(id, endpoint_id, event_id)
    JOIN ops.app_events e ON e.id = d.event_id
""")

# A lane that is there is locked and left as it is: whoever is about to end it, since nothing waits in it, waits and
# looks again (domain.webhooks.lanes).  In the order of their key, so that no two tellers wait for each other.
_LANES: Final = text("""
    INSERT INTO ops.webhook_lanes AS l (endpoint_id, user_id, next_at)
    SELECT DISTINCT d.endpoint_id, d.user_id, CAST(:now AS timestamptz)
    FROM unnest(CAST(:endpoints AS uuid[]), CAST(:people AS text[])) AS d(endpoint_id, user_id)
    ORDER BY 1, 2
    ON CONFLICT (endpoint_id, user_id) DO UPDATE SET next_at = l.next_at WHERE false
""")


def tell(connection: Connection, events: Sequence[AppEvent], *, now: datetime) -> None:
    """Write the events, in their order, for whoever listens to their types."""
    if not events:
        return
    types = sorted({event.type for event in events})
    listening = connection.execute(_LISTENING, {"types": types}).all()
    told = [(event, [row.id for row in listening if event.type in row.events]) for event in events]
    _write(connection, [(event, endpoints) for event, endpoints in told if endpoints], now)


def tell_one(connection: Connection, event: AppEvent, endpoint_id: UUID, *, now: datetime) -> UUID:
    """Write an event for one endpoint alone, whatever it listens to; the event's id."""
    [event_id] = _write(connection, [(event, [endpoint_id])], now)
    return event_id


def tell_each(connection: Connection, events: Sequence[tuple[AppEvent, UUID]], *, now: datetime) -> None:
    """The same for many events, each with its endpoint."""
    _write(connection, [(event, [endpoint_id]) for event, endpoint_id in events], now)


def add_lanes(connection: Connection, lanes: Sequence[tuple[UUID, str]], *, now: datetime) -> None:
    """See to it that what waits for these endpoints and people is sent."""
    if lanes:
        endpoints, people = zip(*lanes, strict=True)
        connection.execute(_LANES, {"endpoints": list(endpoints), "people": list(people), "now": now})


def _write(
    connection: Connection, told: Sequence[tuple[AppEvent, Sequence[UUID]]], now: datetime
) -> list[UUID]:
    if not told:
        return []
    ids = [new_id(now) for _ in told]
    connection.execute(
        _EVENTS,
        {
            "ids": ids,
            "types": [event.type for event, _ in told],
            "people": [event.user_id for event, _ in told],
            "datas": [json_of(data_of(event)) for event, _ in told],
            "now": now,
        },
    )
    sent = [
        (new_id(now), endpoint_id, event_id, event.user_id)
        for event_id, (event, endpoints) in zip(ids, told, strict=True)
        for endpoint_id in endpoints
    ]
    connection.execute(
        _DELIVERIES,
        {
            "ids": [delivery_id for delivery_id, *_ in sent],
            "endpoints": [endpoint_id for _, endpoint_id, _, _ in sent],
            "events": [event_id for _, _, event_id, _ in sent],
            "now": now,
        },
    )
    add_lanes(connection, [(endpoint_id, user_id) for _, endpoint_id, _, user_id in sent], now=now)
    return ids
