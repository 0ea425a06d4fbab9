"""Reconciliation: what no event told, Stripe is asked.

Two questions, every few minutes.  What became of each purchase that has been open for a while; and which
events were made since Stripe's list was read last.  The answers go through the same doors as webhooks do
(domain.settling, stripe_inbox.receive), so that it does not matter which was first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import jobs, stripe_events, stripe_inbox
from domain.database import transaction
from domain.jobs import Job, Queue
from domain.payments import Gateway, Known
from domain.settling import settle_payment, settle_reversal
from domain.tables import purchases, stripe_events_read

PURCHASES_PER_RUN_MAX: Final = 500
"""Purchases asked about in one run: at five to ten questions a second, a minute or two of one worker."""

FIRST_PAUSE: Final = timedelta(minutes=15)
PAUSE_MAX: Final = timedelta(hours=24)
"""Between two questions about one purchase: doubled from the first to this."""

ASKED_FOR: Final = timedelta(days=30)
"""How long a purchase is asked about.  A bank debit is decided within two weeks, a page expires after a day."""

NEVER_MADE_AFTER: Final = timedelta(hours=25)
"""When a purchase that Stripe does not know is given up: its keys are kept for 24 hours, and a call that
was under way is long over."""

EVENTS_KEPT_BY_STRIPE: Final = timedelta(days=29)
"""Stripe lists events for 30 days (docs.stripe.com/api/events); a day less, so as not to race it."""

OVERLAP: Final = timedelta(hours=1)
"""How far before the last reading the next one begins: an event may show up late in the list."""

WINDOW_MIN: Final = timedelta(seconds=1)
"""The least time that one reading covers; Stripe's events have no finer one."""


class AskAboutPurchases(Job, frozen=True, kw_only=True):
    """Find the purchases that Stripe has to be asked about, and add a job for each."""

    kind: ClassVar[str] = "ask_about_purchases"
    queue: ClassVar[Queue] = Queue.UPKEEP


class AskAboutPurchase(Job, frozen=True, kw_only=True):
    """Ask Stripe what became of one purchase."""

    kind: ClassVar[str] = "ask_about_purchase"
    queue: ClassVar[Queue] = Queue.BILLING
    time_limit: ClassVar[timedelta] = timedelta(minutes=5)

    purchase_id: UUID


class FetchMissedEvents(Job, frozen=True, kw_only=True):
    """Read Stripe's list of events: from `since`, or from somewhat before where it was read last."""

    kind: ClassVar[str] = "fetch_missed_events"
    queue: ClassVar[Queue] = Queue.BILLING
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)

    since: datetime | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a purchase when Stripe is asked."""

    purchase_id: UUID
    payment_intent_id: str | None
    checkout_session_id: str | None
    customer_id: str | None
    created_at: datetime
    asked_at: datetime


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Events made from `since` to before `until` are to be read."""

    since: datetime
    until: datetime


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How many events were read of a window, all that were made before `until`; and those unknown, oldest first.

    That is no later than Stripe's own clock was: ours may be ahead, and what happens until it is right again
    would never be read.
    """

    unknown: list[bytes]
    read: int
    until: datetime
    has_more: bool


def add_questions(connection: Connection, *, now: datetime) -> dict[str, int]:
    """Add a job for each purchase whose time has come, PURCHASES_PER_RUN_MAX at most; how many."""
    due = connection.execute(
        select(purchases.c.id, purchases.c.user_id, purchases.c.created_at, purchases.c.checks)
        .where(purchases.c.next_check_at <= now)
        .order_by(purchases.c.next_check_at)
        .limit(PURCHASES_PER_RUN_MAX)
        .with_for_update(skip_locked=True)
    ).all()
    for row in due:
        jobs.add_job(
            connection,
            AskAboutPurchase(purchase_id=row.id),
            now=now,
            unique_key=f"ask_about_purchase:{row.id}:{row.checks}",
            user_id=row.user_id,
            subject=str(row.id),
        )
        pause: timedelta = min(FIRST_PAUSE * 2 ** min(row.checks, 20), PAUSE_MAX)
        is_last = now > row.created_at + ASKED_FOR
        connection.execute(
            update(purchases)
            .where(purchases.c.id == row.id)
            .values(checks=row.checks + 1, next_check_at=None if is_last else now + pause)
        )
    return {"asked": len(due)}


def question(connection: Connection, purchase_id: UUID, *, now: datetime) -> Question | None:
    """What to ask about a purchase; None when it is settled."""
    row = connection.execute(select(purchases).where(purchases.c.id == purchase_id)).one()
    if row.status in ("completed", "cancelled"):
        return None
    return Question(
        purchase_id=row.id,
        payment_intent_id=row.stripe_payment_intent_id,
        checkout_session_id=row.checkout_session_id,
        customer_id=row.stripe_customer_id,
        created_at=row.created_at,
        asked_at=now,
    )


def ask(gateway: Gateway, asked: Question) -> Known:
    """What Stripe knows of the purchase, even when what it calls it was never learnt."""
    if asked.checkout_session_id is not None:
        return gateway.ask_session(asked.checkout_session_id, now=asked.asked_at)
    if asked.payment_intent_id is not None:
        return gateway.ask_intent(asked.payment_intent_id, now=asked.asked_at)
    if asked.customer_id is None:
        # The customer is kept before anything is asked for: nothing was.
        return Known(payment=None)
    return gateway.find(
        asked.purchase_id, customer_id=asked.customer_id, since=asked.created_at, now=asked.asked_at
    )


def record_answer(
    connection: Connection, purchase_id: UUID, known: Known, *, now: datetime
) -> dict[str, str]:
    """Settle the purchase by what Stripe answered.  Raises what domain.settling raises."""
    if known.payment is None:
        return {"outcome": _give_up(connection, purchase_id, now)}
    outcome = "unchanged"
    # What went back first: its credits are then taken back with the same commit that gives them.
    for reversal in known.reversals:
        outcome = settle_reversal(connection, reversal, now=now).outcome
    outcome = settle_payment(connection, known.payment, now=now).outcome
    return {"outcome": outcome}


def _give_up(connection: Connection, purchase_id: UUID, now: datetime) -> str:
    row = connection.execute(select(purchases).where(purchases.c.id == purchase_id).with_for_update()).one()
    is_nameless = row.stripe_payment_intent_id is None and row.checkout_session_id is None
    if row.status != "pending" or not is_nameless or now < row.created_at + NEVER_MADE_AFTER:
        return "unknown to Stripe, so far"
    connection.execute(
        update(purchases)
        .where(purchases.c.id == purchase_id)
        .values(status="cancelled", next_check_at=None, failure_code="never_reached_stripe")
    )
    return "cancelled: never reached Stripe"


def next_window(connection: Connection, job: FetchMissedEvents, *, now: datetime) -> Window:
    """What part of Stripe's list the job is to read."""
    since = job.since
    if since is None:
        read_until = connection.execute(select(stripe_events_read.c.read_until)).scalar_one_or_none()
        since = now - EVENTS_KEPT_BY_STRIPE if read_until is None else read_until - OVERLAP
    since = max(since, now - EVENTS_KEPT_BY_STRIPE)
    return Window(since=since, until=now)


def read_events(gateway: Gateway, engine: Engine, window: Window) -> Reading:
    """Read the window, or as much of its beginning as can be read at once.

    What webhooks brought, which is nearly all, is let go page by page.
    """

    def known(event_ids: Sequence[str]) -> set[str]:
        with transaction(engine) as connection:
            return stripe_inbox.known(connection, event_ids)

    until = window.until
    while True:
        listed = gateway.events(stripe_events.HANDLED_EVENTS, since=window.since, until=until, known=known)
        if listed is not None:
            read_until = until if listed.at is None else min(until, listed.at)
            has_more = until < window.until
            return Reading(unknown=listed.unknown, read=listed.read, until=read_until, has_more=has_more)
        length = (until - window.since) / 4
        if length < WINDOW_MIN:
            raise RuntimeError(f"too many events at Stripe in one second: {window.since.isoformat()}")
        until = window.since + length


def record_events(connection: Connection, reading: Reading, *, now: datetime) -> dict[str, int]:
    """Receive the events that webhooks did not bring, and go on from here the next time."""
    missed = 0
    for encoded in reading.unknown:
        event = msgspec.json.decode(encoded)
        # A webhook may have brought it meanwhile, which is no repeat that a person asked for.
        if not stripe_inbox.known(connection, [event["id"]]):
            arrived = stripe_inbox.arrival(event, source="asked", now=now)
            missed += stripe_inbox.receive(connection, arrived, now=now).is_new
    columns = stripe_events_read.c
    statement = insert(stripe_events_read).values(only_row=True, read_until=reading.until)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[columns.only_row],
            set_={"read_until": reading.until},
            where=columns.read_until < reading.until,
        )
    )
    if reading.has_more:
        jobs.add_job(
            connection,
            FetchMissedEvents(since=reading.until),
            now=now,
            unique_key=f"fetch_missed_events:{reading.until.isoformat()}",
        )
    return {"read": reading.read, "missed": missed}
