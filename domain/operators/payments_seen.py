"""Stripe's events and purchases as operators see them, and a purchase's way from the intent to the ledger."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Select, and_, or_, select

from domain.amounts import wire_amount
from domain.errors import PurchaseNotFound, StripeEventNotFound
from domain.ledger.read import entry_from_row
from domain.ledger.types import Entry
from domain.operators.jobs_seen import JobFilter, JobLine, list_jobs
from domain.operators.rows import PAGE_DEFAULT, PAGE_MAX, all_as, as_struct, page_size
from domain.tables import entries, purchase_reversals, purchases, stripe_events

ENTRY_COLUMNS: Final = tuple(entries.c[name] for name in Entry.__struct_fields__)


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """One event of Stripe's in a list.  `handled_at` is None while its job has not done it."""

    id: str
    type: str
    stripe_created: datetime
    received_at: datetime
    source: str
    livemode: bool
    payment_intent_id: str | None
    purchase_id: UUID | None
    job_id: UUID | None
    handled_at: datetime | None
    outcome: str | None


class EventSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One event with its payload, without what tells who somebody is, and the jobs that handled it."""

    event: EventLine
    payload: Any
    jobs: list[JobLine]


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: all that is given must hold.  `is_handled` False lists those that wait or failed.

    `before` continues a list after the events received then.
    """

    type: str | None = None
    is_handled: bool | None = None
    payment_intent_id: str | None = None
    purchase_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    offset: int = 0
    limit: int = PAGE_DEFAULT


class PurchaseStatus(StrEnum):
    """How a purchase stands; the database's `transaction_status`."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PurchaseLine(msgspec.Struct, frozen=True, kw_only=True):
    """One purchase in a list.  `problem` is what a person has to look at."""

    id: UUID
    user_id: str
    credits: int
    price_euro_cents: int
    status: str
    kind: str
    stripe_payment_intent_id: str | None
    checkout_session_id: str | None
    created_at: datetime
    completed_at: datetime | None
    failure_code: str | None
    problem: str | None
    credits_taken_back: int
    next_check_at: datetime | None
    checks: int


class PurchaseFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which purchases.  `has_problem` True lists those that a person has to look at."""

    user_id: str | None = None
    status: str | None = None
    has_problem: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    offset: int = 0
    limit: int = PAGE_DEFAULT


class ReversalSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Money that went back to the payer."""

    stripe_id: str
    kind: str
    amount_cents: int
    state: str
    seen_at: datetime
    updated_at: datetime


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened on a purchase's way.

    `what` is ordered, event, job, reversal, entry, completed or problem; `says` tells it in words, `id` leads there.
    """

    at: datetime
    what: str
    says: str
    id: str | None = None


class PurchaseSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase with all that belongs to it; `timeline` is the same in the order in which it happened."""

    purchase: PurchaseLine
    events: list[EventLine]
    jobs: list[JobLine]
    entries: list[Entry]
    reversals: list[ReversalSeen]
    timeline: list[Moment]


_EVENTS: Final = select(*(stripe_events.c[name] for name in EventLine.__struct_fields__))
_PURCHASES: Final = select(*(purchases.c[name] for name in PurchaseLine.__struct_fields__))


def list_events(connection: Connection, wanted: EventFilter) -> list[EventLine]:
    """A page of events, those received last first."""
    query = _EVENTS.order_by(stripe_events.c.received_at.desc(), stripe_events.c.id.desc())
    for name in ("type", "payment_intent_id", "purchase_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(stripe_events.c[name] == value)
    if wanted.is_handled is not None:
        is_null = stripe_events.c.handled_at.is_(None)
        query = query.where(~is_null if wanted.is_handled else is_null)
    query = _between(query, stripe_events.c.received_at, wanted.since, wanted.until)
    return all_as(connection, EventLine, query.limit(page_size(wanted.limit)).offset(max(wanted.offset, 0)))


def event_seen(connection: Connection, event_id: str) -> EventSeen:
    """One event.  Raises StripeEventNotFound."""
    row = connection.execute(
        _EVENTS.add_columns(stripe_events.c.payload).where(stripe_events.c.id == event_id)
    ).one_or_none()
    if row is None:
        raise StripeEventNotFound
    return EventSeen(
        event=as_struct(EventLine, row),
        payload=row.payload,
        jobs=list_jobs(connection, JobFilter(subject=event_id)),
    )


def list_purchases(connection: Connection, wanted: PurchaseFilter) -> list[PurchaseLine]:
    """A page of purchases, those begun last first."""
    query = _PURCHASES.order_by(purchases.c.created_at.desc(), purchases.c.id.desc())
    if wanted.user_id is not None:
        query = query.where(purchases.c.user_id == wanted.user_id)
    if wanted.status is not None:
        query = query.where(purchases.c.status == wanted.status)
    if wanted.has_problem is not None:
        is_null = purchases.c.problem.is_(None)
        query = query.where(~is_null if wanted.has_problem else is_null)
    query = _between(query, purchases.c.created_at, wanted.since, wanted.until)
    return all_as(
        connection, PurchaseLine, query.limit(page_size(wanted.limit)).offset(max(wanted.offset, 0))
    )


def _between(query: Select[Any], column: Any, since: datetime | None, until: datetime | None) -> Select[Any]:
    if since is not None:
        query = query.where(column >= since)
    return query if until is None else query.where(column < until)


def purchase_seen(connection: Connection, purchase_id: UUID) -> PurchaseSeen:
    """One purchase, from the intent to the ledger.  Raises PurchaseNotFound."""
    row = connection.execute(_PURCHASES.where(purchases.c.id == purchase_id)).one_or_none()
    if row is None:
        raise PurchaseNotFound
    purchase = as_struct(PurchaseLine, row)
    events = _events_of(connection, purchase)
    subjects = [str(purchase.id), *(event.id for event in events)]
    jobs = [job for subject in subjects for job in list_jobs(connection, JobFilter(subject=subject))]
    made = _entries_of(connection, purchase)
    reversals = all_as(
        connection,
        ReversalSeen,
        select(*(purchase_reversals.c[name] for name in ReversalSeen.__struct_fields__))
        .where(purchase_reversals.c.payment_intent_id == purchase.stripe_payment_intent_id)
        .order_by(purchase_reversals.c.seen_at),
    )
    return PurchaseSeen(
        purchase=purchase,
        events=events,
        jobs=jobs,
        entries=made,
        reversals=reversals,
        timeline=_timeline(purchase, events, jobs, made, reversals),
    )


def _events_of(connection: Connection, purchase: PurchaseLine) -> list[EventLine]:
    whose = [stripe_events.c.purchase_id == purchase.id]
    if purchase.stripe_payment_intent_id is not None:
        whose.append(
            and_(
                stripe_events.c.payment_intent_id.is_not(None),
                stripe_events.c.payment_intent_id == purchase.stripe_payment_intent_id,
            )
        )
    query = _EVENTS.where(or_(*whose)).order_by(stripe_events.c.received_at, stripe_events.c.id)
    return all_as(connection, EventLine, query.limit(PAGE_MAX))


def _entries_of(connection: Connection, purchase: PurchaseLine) -> list[Entry]:
    """Its entries, found by their keys: every take-back has a number of its own."""
    # The keys of one person by prefix: the index holds them in this order whatever the collation.
    taken_back = entries.c.posting_key.like(f"take-back:{purchase.id}:%")
    query = (
        select(*ENTRY_COLUMNS)
        .where(
            entries.c.user_id == purchase.user_id,
            entries.c.posting_key.is_not(None),
            or_(entries.c.posting_key == f"purchase:{purchase.id}", taken_back),
        )
        .order_by(entries.c.version)
    )
    return [entry_from_row(row._asdict()) for row in connection.execute(query)]


def _timeline(
    purchase: PurchaseLine,
    events: list[EventLine],
    jobs: list[JobLine],
    made: list[Entry],
    reversals: list[ReversalSeen],
) -> list[Moment]:
    price = f"{purchase.price_euro_cents / 100:.2f} EUR"
    moments = [
        Moment(at=purchase.created_at, what="ordered", says=f"{purchase.credits:,} credits for {price}"),
        *(Moment(at=one.received_at, what="event", says=one.type, id=one.id) for one in events),
        *(
            Moment(at=one.started_at, what="job", says=f"{one.kind}: {one.state.value}", id=str(one.id))
            for one in jobs
            if one.started_at is not None
        ),
        *(
            Moment(
                at=one.seen_at,
                what="reversal",
                says=f"{one.kind} of {one.amount_cents / 100:.2f} EUR, {one.state}",
                id=one.stripe_id,
            )
            for one in reversals
        ),
        *(
            Moment(
                at=one.created_at, what="entry", says=f"{wire_amount(one.amount):+,f} credits", id=str(one.id)
            )
            for one in made
        ),
    ]
    if purchase.completed_at is not None:
        moments.append(Moment(at=purchase.completed_at, what="completed", says="completed"))
    return sorted(moments, key=lambda moment: moment.at)
