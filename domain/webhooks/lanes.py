"""Lanes: a person's deliveries to one endpoint, one after the other, in the order in which things happened.

A lane is there while something waits in it.  Who works on it has claimed it for a while (CLAIMED_FOR), and nobody
else does: so what is first in it is delivered, or given up, before the next is sent.  Different lanes go side by side.
The claim of a worker that died ends by itself; then what it was on is sent again, under the same event id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import structlog
from sqlalchemy import ColumnElement, Connection, Row, delete, literal_column, or_, select, text, update

from domain.tables import app_events, webhook_deliveries, webhook_endpoints, webhook_lanes
from domain.webhooks.events import body_of
from domain.webhooks.pausing import DISABLED_AFTER, RETRY_AFTER_MAX, is_disabled, is_given_up, next_attempt
from domain.webhooks.signing import signing_secrets
from domain.webhooks.states import EndpointState, set_state

ATTEMPT_SECONDS_MAX: Final = 15.0
"""From looking up the host to the answer's status: the specification recommends 15 to 30."""

CLAIMED_FOR: Final = timedelta(seconds=25)
"""Longer than an attempt with its record, so that no two workers are on a lane; short enough that what a dead
worker was on is sent again within half a minute."""

AT_ONCE_MAX: Final = 4
"""Lanes of one endpoint that a worker process has under way.  Each endpoint has its own: one that is slow or dead
takes nothing from others."""

IN_A_ROW_MAX: Final = 50
"""Deliveries of a lane before others of the endpoint have their turn."""

TRIED_KEPT_MAX: Final = 20
"""Attempts described with a delivery, the newest: more than there are in three days, unless an operator hurries."""

ANSWER_CHARACTERS_MAX: Final = 200
"""What is kept of an answer that was no success: enough for a word about why."""

HURRIED_AFTER: Final = timedelta(minutes=5)
"""An endpoint that takes something again after failing for so long gets all that waits, at once.  Not earlier: one
event that it never takes would else be tried again at each success of another."""

HURRIED_PER_CALL_MAX: Final = 10_000

NOTED_EVERY: Final = timedelta(minutes=1)
"""How exactly an endpoint's row says when it took something last."""

_GONE: Final = 410
_SUCCESS: Final = range(200, 300)
_UNBROKEN: Final[Mapping[str, Any]] = {"failures": 0, "failing_since": None}
_IS_WAITING: Final = webhook_deliveries.c.state == literal_column("'waiting'")
"""Written out, not a parameter: the index holds what waits alone, and a prepared plan has to know."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sending:
    """A delivery that is about to be attempted.  `number` counts those of the claim, from 1."""

    endpoint_id: UUID
    user_id: str
    claim: UUID
    delivery_id: UUID
    event_id: UUID
    url: str
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    created_at: datetime
    number: int = 1


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt: a status, or why there was none.  `answer` is the beginning of what was said."""

    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after_seconds: int | None = None

    @property
    def is_success(self) -> bool:
        """Whether the event was taken."""
        return self.status in _SUCCESS

    @property
    def problem(self) -> str | None:
        """Why it was no success, in a few words."""
        if self.is_success:
            return None
        return self.error if self.status is None else f"answered {self.status}"


_CLAIM: Final = text("""
    WITH due AS MATERIALIZED (
        SELECT l.endpoint_id, l.user_id
        FROM unnest(CAST(:endpoints AS uuid[]), CAST(:rooms AS integer[])) AS e(id, room)
        CROSS JOIN LATERAL (
            SELECT endpoint_id, user_id FROM ops.webhook_lanes
            WHERE endpoint_id = e.id AND next_at <= :now
            ORDER BY next_at LIMIT e.room FOR UPDATE SKIP LOCKED
        ) l
    )
    UPDATE ops.webhook_lanes l SET claim = :claim, next_at = :until
    FROM due WHERE l.endpoint_id = due.endpoint_id AND l.user_id = due.user_id
    RETURNING l.endpoint_id, l.user_id
""")


def claim(connection: Connection, busy: Mapping[UUID, int], *, now: datetime) -> list[Sending]:
    """Take lanes that are due, up to AT_ONCE_MAX of each endpoint with those in `busy`; the first of each.

    Several workers may claim at once.  The claim must be committed before anything is sent.
    """
    columns = webhook_endpoints.c
    query = select(webhook_endpoints).where(
        columns.state == "active", or_(columns.rest_until.is_(None), columns.rest_until <= now)
    )
    active = {row.id: row for row in connection.execute(query)}
    rooms = {endpoint_id: AT_ONCE_MAX - busy.get(endpoint_id, 0) for endpoint_id in active}
    wanted = [endpoint_id for endpoint_id, room in rooms.items() if room > 0]
    if not wanted:
        return []
    # Lost in a crash it is only forgotten.
    connection.execute(text("SET LOCAL synchronous_commit = off"))
    token = uuid4()
    claimed = connection.execute(
        _CLAIM,
        {
            "endpoints": wanted,
            "rooms": [rooms[endpoint_id] for endpoint_id in wanted],
            "now": now,
            "claim": token,
            "until": now + CLAIMED_FOR,
        },
    ).all()
    sendings = []
    for row in claimed:
        first = _first(connection, active[row.endpoint_id], row.user_id, token, now=now)
        if first is not None:
            sendings.append(first)
    return sendings


def record(
    connection: Connection, sent: Sending, attempt: Attempt, *, may_go_on: bool = True, now: datetime
) -> Sending | None:
    """Write what came of an attempt; the next of the lane to be sent, or None when its turn is over.

    Nothing is written when the claim is somebody else's by now: then the delivery is theirs to end.
    """
    lane = _lock_claimed(connection, sent)
    if lane is None:
        return None
    endpoint = connection.execute(
        select(webhook_endpoints).where(webhook_endpoints.c.id == sent.endpoint_id)
    ).one()
    may_go_on = may_go_on and endpoint.state == EndpointState.ACTIVE
    if attempt.is_success:
        _write_attempt(connection, sent, attempt, "delivered", now)
        _note_success(connection, endpoint, now)
        return _go_on(connection, endpoint, sent, _UNBROKEN, may_go_on=may_go_on, now=now)
    failing_since, failures = lane.failing_since or now, lane.failures + 1
    # What happened while an earlier event failed is tried as long as that one was.
    tried_since = max(failing_since, sent.created_at)
    may_send_more = _note_failure(connection, endpoint, attempt, tried_since, now)
    if is_given_up(tried_since, now):
        _write_attempt(connection, sent, attempt, "failed", now)
        log.warning("webhook_given_up", delivery_id=str(sent.delivery_id), error=attempt.problem)
        standing = {"failures": 0, "failing_since": failing_since}
        return _go_on(connection, endpoint, sent, standing, may_go_on=may_go_on and may_send_more, now=now)
    _write_attempt(connection, sent, attempt, "waiting", now)
    next_at = next_attempt(failures, tried_since, now)
    _write_lane(connection, sent, next_at=next_at, claim=None, failures=failures, failing_since=failing_since)
    return None


def release(connection: Connection, sent: Sending, *, now: datetime) -> None:
    """Give a lane back whose attempt was broken off: whoever comes next sends it."""
    if _lock_claimed(connection, sent) is not None:
        _write_lane(connection, sent, next_at=now, claim=None)


def _lock_claimed(connection: Connection, sent: Sending) -> Row[Any] | None:
    """The lane, locked; None when another has it, or it went with the person or the endpoint."""
    query = select(webhook_lanes).where(*_lane(sent.endpoint_id, sent.user_id)).with_for_update()
    lane = connection.execute(query).one_or_none()
    if lane is None or lane.claim != sent.claim:
        log.info("webhook_claim_lost", delivery_id=str(sent.delivery_id))
        return None
    return lane


def hurry(connection: Connection, endpoint_id: UUID, *, now: datetime) -> None:
    """Let what waits for its next attempt be tried now; HURRIED_PER_CALL_MAX lanes at most."""
    later = (
        select(webhook_lanes.c.user_id)
        .where(
            webhook_lanes.c.endpoint_id == endpoint_id,
            webhook_lanes.c.claim.is_(None),
            webhook_lanes.c.next_at > now,
        )
        .order_by(webhook_lanes.c.next_at)
        .limit(HURRIED_PER_CALL_MAX)
        .with_for_update(skip_locked=True)
    )
    connection.execute(
        update(webhook_lanes)
        .where(webhook_lanes.c.endpoint_id == endpoint_id, webhook_lanes.c.user_id.in_(later))
        .values(next_at=now)
    )


def begin_anew(connection: Connection, endpoint_id: UUID, *, now: datetime) -> None:
    """Try all that waits now, and from now on for another three days, as operators want it.

    Lanes that somebody works on are left alone.  The endpoint's row must be locked: nobody adds to a lane meanwhile.
    """
    nobodys = (
        select(webhook_lanes.c.user_id)
        .where(
            webhook_lanes.c.endpoint_id == endpoint_id,
            or_(webhook_lanes.c.claim.is_(None), webhook_lanes.c.next_at <= now),
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(
        update(webhook_lanes)
        .where(webhook_lanes.c.endpoint_id == endpoint_id, webhook_lanes.c.user_id.in_(nobodys))
        .values(next_at=now, claim=None, **_UNBROKEN)
    )


def _go_on(
    connection: Connection,
    endpoint: Row[Any],
    sent: Sending,
    standing: Mapping[str, Any],
    *,
    may_go_on: bool,
    now: datetime,
) -> Sending | None:
    """The next of the lane, whose claim is prolonged; None when its turn is over, or nothing waits in it."""
    following = _first(connection, endpoint, sent.user_id, sent.claim, number=sent.number + 1, now=now)
    if following is None:
        return None
    if may_go_on and following.number <= IN_A_ROW_MAX:
        _write_lane(connection, sent, next_at=now + CLAIMED_FOR, **standing)
        return following
    _write_lane(connection, sent, next_at=now, claim=None, **standing)
    return None


def _first(
    connection: Connection, endpoint: Row[Any], user_id: str, token: UUID, *, number: int = 1, now: datetime
) -> Sending | None:
    """What is first in a claimed lane; an empty lane ends here."""
    row = connection.execute(
        select(webhook_deliveries.c.id.label("delivery_id"), app_events)
        .join(app_events, app_events.c.id == webhook_deliveries.c.event_id)
        .where(
            webhook_deliveries.c.endpoint_id == endpoint.id,
            webhook_deliveries.c.user_id == user_id,
            _IS_WAITING,
        )
        .order_by(webhook_deliveries.c.seq)
        .limit(1)
    ).one_or_none()
    if row is None:
        # Its row is locked: whoever adds to it waits for us, and begins it anew.
        connection.execute(delete(webhook_lanes).where(*_lane(endpoint.id, user_id)))
        return None
    return Sending(
        endpoint_id=endpoint.id,
        user_id=user_id,
        claim=token,
        delivery_id=row.delivery_id,
        event_id=row.id,
        url=endpoint.url,
        body=body_of(
            event_id=row.id, event_type=row.type, seq=row.seq, created_at=row.created_at, data=row.data
        ),
        secrets=signing_secrets(endpoint.secret, endpoint.retired_secrets, now=now),
        created_at=row.created_at,
        number=number,
    )


def _note_success(connection: Connection, endpoint: Row[Any], now: datetime) -> None:
    """The endpoint works.  Its row is written when that is news, and once a minute, not at each delivery."""
    columns = webhook_endpoints.c
    connection.execute(
        update(webhook_endpoints)
        .where(
            columns.id == endpoint.id,
            or_(
                columns.failing_since.is_not(None),
                columns.delivered_at.is_(None),
                columns.delivered_at < now - NOTED_EVERY,
            ),
        )
        .values(failing_since=None, delivered_at=now)
    )
    if endpoint.failing_since is not None and endpoint.failing_since <= now - HURRIED_AFTER:
        log.info("webhook_endpoint_works_again", endpoint_id=str(endpoint.id), app=endpoint.app_id)
        hurry(connection, endpoint.id, now=now)


def _note_failure(
    connection: Connection, endpoint: Row[Any], attempt: Attempt, tried_since: datetime, now: datetime
) -> bool:
    """Remember since when it fails, and let it rest when it asks for that; whether it may be sent more now.

    `tried_since` is of what was attempted now.
    """
    since = endpoint.failing_since
    reason = None
    if attempt.status == _GONE:
        reason = "answered 410: it is gone"
    elif since is not None and is_disabled(since, tried_since, now):
        reason = f"took nothing for {DISABLED_AFTER.days} days: {attempt.problem}"
    if reason is not None:
        if set_state(
            connection, endpoint.id, EndpointState.DISABLED, reason, was=EndpointState.ACTIVE, now=now
        ):
            log.error("webhook_endpoint_disabled", endpoint_id=str(endpoint.id), app=endpoint.app_id)
        return False
    values: dict[str, Any] = {}
    if since is None:
        values["failing_since"] = now
    if attempt.retry_after_seconds is not None:
        values["rest_until"] = now + min(timedelta(seconds=attempt.retry_after_seconds), RETRY_AFTER_MAX)
    if values:
        connection.execute(
            update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint.id).values(values)
        )
    return attempt.retry_after_seconds is None


def _write_attempt(
    connection: Connection, sent: Sending, attempt: Attempt, state: str, now: datetime
) -> None:
    row = connection.execute(
        select(webhook_deliveries.c.tried).where(webhook_deliveries.c.id == sent.delivery_id)
    ).one()
    connection.execute(
        update(webhook_deliveries)
        .where(webhook_deliveries.c.id == sent.delivery_id)
        .values(
            state=state,
            attempts=webhook_deliveries.c.attempts + 1,
            tried=[*row.tried, attempt][-TRIED_KEPT_MAX:],
            last_error=attempt.problem,
            ended_at=None if state == "waiting" else now,
        )
    )


def _write_lane(connection: Connection, sent: Sending, **values: Any) -> None:
    connection.execute(update(webhook_lanes).where(*_lane(sent.endpoint_id, sent.user_id)).values(**values))


def _lane(endpoint_id: UUID, user_id: str) -> tuple[ColumnElement[bool], ...]:
    return webhook_lanes.c.endpoint_id == endpoint_id, webhook_lanes.c.user_id == user_id
