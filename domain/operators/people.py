"""Finding a person by whatever is at hand, and everything about them on one page."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Select, func, select, text

from domain import gifts, ledger
from domain.gifts import Gift, ReceivedGift, codes
from domain.gifts.codes import normal_address, normal_code
from domain.jobs.read import JobState
from domain.ledger import Balance, Entry
from domain.operators.audit import AuditFilter, AuditRecord, list_audit
from domain.operators.jobs_seen import JobFilter, JobLine, list_jobs
from domain.operators.payments_seen import PurchaseFilter, PurchaseLine, list_purchases
from domain.operators.rows import PAGE_DEFAULT, all_as, page_size
from domain.operators.subscriptions import SubscriptionSeen, subscription_seen
from domain.tables import (
    balances,
    entries,
    gift_codes,
    gift_redemptions,
    jobs,
    purchases,
    reservations,
    stripe_customers,
    stripe_events,
    sync_subscriptions,
)

FOUND_MAX: Final = 20
"""People told for one key: an address may be several people's, never so many's."""

KEY_CHARACTERS_MAX: Final = 320
"""The longest key is an e-mail address."""

SHOWN_MAX: Final = 25
"""Rows of each kind on a person's page; each list has a page of its own for the rest."""

USAGE_DAYS: Final = 30


class FoundBy(StrEnum):
    """What the key turned out to be."""

    USER_ID = "user_id"
    EMAIL = "email"
    GIFT_CODE = "gift_code"
    PAYMENT_INTENT = "payment_intent"
    CHECKOUT_SESSION = "checkout_session"
    STRIPE_CUSTOMER = "stripe_customer"
    STRIPE_EVENT = "stripe_event"
    ENTRY = "entry"
    PURCHASE = "purchase"
    RESERVATION = "reservation"
    GIFT = "gift"
    JOB = "job"


class PersonList(StrEnum):
    """Lists of a person's that have pages of their own here; jobs, purchases and the audit have them elsewhere."""

    ENTRIES = "entries"
    RESERVATIONS = "reservations"
    GIFTS_MADE = "gifts-made"
    GIFTS_RECEIVED = "gifts-received"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A person that a key leads to.  `says` is their part in it: `creator`, `redeemer`, … or empty."""

    user_id: str
    by: FoundBy
    says: str = ""


class ReservationSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Credits set aside."""

    id: UUID
    amount: Decimal
    reason: str
    status: str
    created_at: datetime
    resolved_at: datetime | None
    expires_at: datetime
    is_expired: bool


class AppUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one app used of the person's credits in the last USAGE_DAYS days."""

    app_id: str
    credits_used: Decimal
    days: int
    last_day: datetime


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one person; each list has the newest SHOWN_MAX.  `balance` is None for one without any."""

    user_id: str
    emails: list[str]
    balance: Balance | None
    entries_count: int
    entries: list[Entry]
    purchases: list[PurchaseLine]
    gifts_made: list[Gift]
    gifts_received: list[ReceivedGift]
    subscription: SubscriptionSeen | None
    reservations: list[ReservationSeen]
    jobs: list[JobLine]
    failed_jobs: int
    usage: list[AppUsage]
    audit: list[AuditRecord]

    @property
    def is_known(self) -> bool:
        """Whether anything is known of them."""
        return bool(
            self.balance or self.purchases or self.gifts_made or self.gifts_received or self.subscription
        )


def find(connection: Connection, key: str) -> list[Found]:
    """The people that a key leads to, FOUND_MAX at most: a user id, an e-mail address, a gift code, or an id.

    Every meaning that the key may have is tried; each is one look into an index.
    """
    key = key.replace("\x00", "").strip()[:KEY_CHARACTERS_MAX]
    if not key:
        return []
    searches: list[tuple[FoundBy, str, Select[Any]]] = [(FoundBy.USER_ID, "", _by_user_id(key))]
    if "@" in key:
        searches += _by_email(key)
    if len(key) <= codes.TYPED_CHARACTERS_MAX:
        searches += _by_gift(gift_codes.c.code == normal_code(key), FoundBy.GIFT_CODE)
    searches += _by_stripe(key)
    with contextlib.suppress(ValueError):
        searches += _by_uuid(UUID(key))
    found: dict[tuple[str, FoundBy], Found] = {}
    for by, says, query in searches:
        for user_id in connection.execute(query.limit(FOUND_MAX)).scalars():
            if user_id is not None:
                found.setdefault((user_id, by), Found(user_id=user_id, by=by, says=says))
    return list(found.values())[:FOUND_MAX]


Search = tuple[FoundBy, str, Select[Any]]


def _by_user_id(key: str) -> Select[Any]:
    """Somebody may have a subscription, or purchases, before any balance."""
    places = (balances, sync_subscriptions, stripe_customers, purchases)
    parts = [select(table.c.user_id).where(table.c.user_id == key) for table in places]
    together = parts[0].union(*parts[1:]).subquery()
    return select(together.c.user_id)


def _by_email(key: str) -> list[Search]:
    address = normal_address(key)
    received = (
        select(gift_redemptions.c.redeemer_user_id)
        .join(gift_codes, gift_codes.c.id == gift_redemptions.c.gift_code_id)
        .where(
            gift_codes.c.target_address == address,
            gift_codes.c.target_address.is_not(None),
            gift_redemptions.c.status == "success",
        )
    )
    creators = select(gift_codes.c.creator_id).where(
        gift_codes.c.target_address == address, gift_codes.c.target_address.is_not(None)
    )
    return [
        (
            FoundBy.EMAIL,
            "paid with it",
            select(stripe_customers.c.user_id).where(func.lower(stripe_customers.c.email) == address),
        ),
        (
            FoundBy.EMAIL,
            "sync notices go there",
            select(sync_subscriptions.c.user_id).where(
                func.lower(sync_subscriptions.c.contact_email) == address,
                sync_subscriptions.c.contact_email.is_not(None),
            ),
        ),
        (FoundBy.EMAIL, "redeemed a gift for it", received),
        (FoundBy.EMAIL, "made a gift for it", creators),
    ]


def _by_gift(condition: Any, by: FoundBy) -> list[Search]:
    redeemer = (
        select(gift_redemptions.c.redeemer_user_id)
        .join(gift_codes, gift_codes.c.id == gift_redemptions.c.gift_code_id)
        .where(condition, gift_redemptions.c.status == "success")
    )
    return [
        (by, "creator", select(gift_codes.c.creator_id).where(condition)),
        (by, "redeemer", redeemer),
    ]


def _by_stripe(key: str) -> list[Search]:
    prefixes: dict[str, Callable[[], Search]] = {
        "pi_": lambda: (
            FoundBy.PAYMENT_INTENT,
            "",
            select(purchases.c.user_id).where(purchases.c.stripe_payment_intent_id == key),
        ),
        "cs_": lambda: (
            FoundBy.CHECKOUT_SESSION,
            "",
            select(purchases.c.user_id).where(purchases.c.checkout_session_id == key),
        ),
        "cus_": lambda: (
            FoundBy.STRIPE_CUSTOMER,
            "",
            select(stripe_customers.c.user_id).where(stripe_customers.c.stripe_customer_id == key),
        ),
        "evt_": lambda: (
            FoundBy.STRIPE_EVENT,
            "",
            select(purchases.c.user_id)
            .join(stripe_events, stripe_events.c.purchase_id == purchases.c.id)
            .where(stripe_events.c.id == key),
        ),
    }
    return [search() for prefix, search in prefixes.items() if key.startswith(prefix)]


def _by_uuid(key: UUID) -> list[Search]:
    return [
        (FoundBy.ENTRY, "", select(entries.c.user_id).where(entries.c.id == key)),
        (FoundBy.PURCHASE, "", select(purchases.c.user_id).where(purchases.c.id == key)),
        (FoundBy.RESERVATION, "", select(reservations.c.user_id).where(reservations.c.id == key)),
        (FoundBy.JOB, "", select(jobs.c.user_id).where(jobs.c.id == key)),
        *_by_gift(gift_codes.c.id == key, FoundBy.GIFT),
    ]


def person(connection: Connection, user_id: str, *, now: datetime) -> Person:
    """Everything about a person, also about one who was never seen.  `now` is an aware UTC instant."""
    failed = JobFilter(user_id=user_id, state=JobState.FAILED, limit=SHOWN_MAX)
    return Person(
        user_id=user_id,
        emails=_emails(connection, user_id),
        balance=ledger.balance_of(connection, user_id),
        entries_count=ledger.count_entries(connection, user_id),
        entries=ledger.entries_of(connection, user_id, limit=SHOWN_MAX),
        purchases=list_purchases(connection, PurchaseFilter(user_id=user_id, limit=SHOWN_MAX)),
        gifts_made=gifts.created_by(connection, user_id, limit=SHOWN_MAX, offset=0, now=now),
        gifts_received=gifts.received_by(connection, user_id, limit=SHOWN_MAX, offset=0),
        subscription=subscription_seen(connection, user_id),
        reservations=reservations_of(connection, user_id),
        jobs=list_jobs(connection, JobFilter(user_id=user_id, limit=SHOWN_MAX)),
        failed_jobs=len(list_jobs(connection, failed)),
        usage=usage_by_app(connection, user_id, now=now),
        audit=list_audit(connection, AuditFilter(user_id=user_id, limit=SHOWN_MAX)),
    )


def _emails(connection: Connection, user_id: str) -> list[str]:
    customers = select(stripe_customers.c.email).where(stripe_customers.c.user_id == user_id)
    notices = select(sync_subscriptions.c.contact_email).where(sync_subscriptions.c.user_id == user_id)
    both = customers.union(notices).subquery()
    return sorted(connection.execute(select(both.c[0]).where(both.c[0].is_not(None))).scalars())


def reservations_of(
    connection: Connection, user_id: str, *, limit: int = SHOWN_MAX, offset: int = 0
) -> list[ReservationSeen]:
    """A person's reservations, the newest first."""
    query = (
        select(*(reservations.c[name] for name in ReservationSeen.__struct_fields__))
        .where(reservations.c.user_id == user_id)
        .order_by(reservations.c.created_at.desc(), reservations.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return all_as(connection, ReservationSeen, query)


PersonRows = list[Entry] | list[ReservationSeen] | list[Gift] | list[ReceivedGift]


def list_of(
    connection: Connection,
    user_id: str,
    which: PersonList,
    *,
    now: datetime,
    limit: int = PAGE_DEFAULT,
    offset: int = 0,
) -> PersonRows:
    """A page of one of a person's lists, the newest first."""
    limit, offset = page_size(limit), max(offset, 0)
    match which:
        case PersonList.ENTRIES:
            return ledger.entries_of(connection, user_id, limit=limit, offset=offset)
        case PersonList.RESERVATIONS:
            return reservations_of(connection, user_id, limit=limit, offset=offset)
        case PersonList.GIFTS_MADE:
            return gifts.created_by(connection, user_id, limit=limit, offset=offset, now=now)
        case PersonList.GIFTS_RECEIVED:
            return gifts.received_by(connection, user_id, limit=limit, offset=offset)


def usage_by_app(connection: Connection, user_id: str, *, now: datetime) -> list[AppUsage]:
    """What each app used in the last USAGE_DAYS days, the most first; what was used just now may be missing."""
    return all_as(
        connection,
        AppUsage,
        text("""
            SELECT app_id, sum(credits_used) AS credits_used, max(date) AS last_day,
                   count(DISTINCT date_trunc('day', date, 'UTC')) AS days
            FROM credits.usage_stats WHERE user_id = :user_id AND date > :since
            GROUP BY app_id ORDER BY 2 DESC, 1
        """),
        user_id=user_id,
        since=now - timedelta(days=USAGE_DAYS),
    )
