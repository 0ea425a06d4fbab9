"""Erasure of a person's data: what is personal goes, the ledger's amounts stay under a pseudonym.

The pseudonym is random and kept nowhere beside the person's id, so that nothing leads back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    case,
    delete,
    func,
    or_,
    select,
    text,
    union_all,
    update,
)

from domain import ledger, reservations
from domain.gifts import GiftStatus, RedeemPendingGifts
from domain.gifts.codes import normal_address, public_name
from domain.gifts.rows import end, gifts_where, pay_back_posting, read_gifts
from domain.gifts.types import Gift
from domain.ledger import Posting
from domain.ledger.post import POSTINGS_PER_CALL_MAX
from domain.tables import (
    app_events,
    audit,
    balances,
    entries,
    erasures,
    gift_codes,
    gift_redemptions,
    idempotent_answers,
    jobs,
    ledger_checks,
    operator_sessions,
    purchases,
    stripe_customers,
    stripe_events,
    sync_subscriptions,
    usage_pending,
    usage_stats,
    webhook_deliveries,
    webhook_lanes,
)
from domain.tables import reservations as reservation_rows
from domain.webhooks import low_balances

PSEUDONYM_PREFIX: Final = "erased-"

ERASED: Final = "erased"
"""What stands where a text that may not be empty was."""

CALLERS_KEYS: Final = ("use:%", "refund:%", "grant:%", "adjust:%")
"""Posting keys that callers chose, and that may say something about the person.  The rest are ids of ours."""

ADMIN_PREFIX: Final = "admin:"
"""How the audit names a person who acts with a token of their own (domain.operators.audit.Operator)."""

PERSONAL_IN_EVENTS: Final = frozenset(
    {
        "billing_details",
        "customer",
        "customer_details",
        "customer_email",
        "email",
        "name",
        "payment_method_details",
        "phone",
        "receipt_email",
        "shipping",
    }
)
"""Fields of Stripe's objects that tell who somebody is (Stripe's API reference: charge, checkout.session)."""

PERSONAL_IN_ANSWERS: Final = {"gift": ("targetEmail", "message"), "redeem-gift": ("message", "creatorName")}
"""What the answers about gifts tell of the other person, by operation (web/routes/gifts.py)."""

_FORGET_GIVER: Final = text("""
    UPDATE ops.app_events SET data = jsonb_set(data::jsonb, '{creatorId}', 'null')::json
    WHERE type = 'gift.redeemed' AND data ->> 'creatorId' = :user_id
""")


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure: how many rows, and the pseudonym that stands where the person's id was; None when none had it."""

    pseudonym: str | None
    row_count: int


def erase(connection: Connection, user_id: str, *, now: datetime) -> int:
    """Erase a person as `erase_as` does; the number of rows erased or pseudonymised."""
    return erase_as(connection, user_id, now=now).row_count


def erase_as(connection: Connection, user_id: str, *, now: datetime) -> Erased:
    """Erase a person; what stands in their place.  Erasing again finds no row: 0.

    Open reservations and active gifts (those that the person made, and those for the person's address) are
    closed first, and their credits go back.  What the person has left stays in the books, under the pseudonym.
    The person's addresses are those that a signed token or the registration vouched for.
    """
    pseudonym = f"{PSEUDONYM_PREFIX}{uuid4()}"
    addresses = _addresses(connection, user_id)
    _close(connection, user_id, addresses, now=now)
    count = _erase_events(connection, user_id, addresses, pseudonym)
    count += _erase_ledger(connection, user_id, pseudonym)
    count += _erase_answers_of_others(connection, user_id, addresses)
    count += _erase_gifts(connection, user_id, addresses, pseudonym)
    count += _erase_findings(connection, user_id, pseudonym)
    count += _erase_webhooks(connection, user_id)
    count += _erase_the_rest(connection, user_id, pseudonym)
    count += _erase_audit(connection, user_id, pseudonym)
    count += low_balances.forget(connection, user_id)
    if count:
        connection.execute(erasures.insert().values(pseudonym=pseudonym, erased_at=now, row_count=count))
    return Erased(pseudonym=pseudonym if count else None, row_count=count)


def _addresses(connection: Connection, user_id: str) -> list[str]:
    """The person's e-mail addresses, as they are compared, wherever they were kept."""
    email = jobs.c.payload["email"].astext
    kept = union_all(
        select(stripe_customers.c.email).where(stripe_customers.c.user_id == user_id),
        select(sync_subscriptions.c.contact_email).where(sync_subscriptions.c.user_id == user_id),
        # The old service wrote the creator's address there.
        select(gift_codes.c.creator_name).where(gift_codes.c.creator_id == user_id),
        select(email).where(jobs.c.user_id == user_id, jobs.c.kind == RedeemPendingGifts.kind),
    )
    found = {normal_address(text) for text in connection.execute(kept).scalars() if text is not None}
    return sorted(address for address in found if all(address.partition("@")))


def _close(connection: Connection, user_id: str, addresses: Sequence[str], *, now: datetime) -> None:
    """End what is open, and keep everybody else from changing the balance until the transaction ends."""
    whose = or_(gift_codes.c.creator_id == user_id, gift_codes.c.target_address.in_(addresses))
    active = gifts_where(gift_codes.c.status == GiftStatus.ACTIVE.value, whose)
    gifts: Sequence[Gift] = read_gifts(connection, active.order_by(gift_codes.c.id).with_for_update())
    releases = reservations.close_open(connection, user_id, now=now)
    end(connection, [gift.id for gift in gifts], GiftStatus.CANCELLED, now=now)
    postings: list[Posting] = [
        *releases,
        *(pay_back_posting(gift, why=GiftStatus.CANCELLED.value, now=now) for gift in gifts),
    ]
    # More than one list only for somebody with over a thousand open things; a deadlock is run again.
    for first in range(0, len(postings), POSTINGS_PER_CALL_MAX):
        for outcome in ledger.post(connection, postings[first : first + POSTINGS_PER_CALL_MAX], now=now):
            ledger.accepted(outcome)
    connection.execute(select(balances.c.user_id).where(balances.c.user_id == user_id).with_for_update())


def _erase_ledger(connection: Connection, user_id: str, pseudonym: str) -> int:
    by_a_caller = or_(*(entries.c.posting_key.like(pattern) for pattern in CALLERS_KEYS))
    connection.execute(
        update(entries).where(entries.c.user_id == user_id, by_a_caller).values(posting_key=None)
    )
    return sum(
        (
            _count(
                connection.execute(
                    update(entries)
                    .where(entries.c.user_id == user_id)
                    .values(user_id=pseudonym, description=ERASED, metadata=None, idempotency_key=None)
                )
            ),
            _count(
                connection.execute(
                    update(balances).where(balances.c.user_id == user_id).values(user_id=pseudonym)
                )
            ),
            _count(
                connection.execute(
                    update(reservation_rows)
                    .where(reservation_rows.c.user_id == user_id)
                    .values(user_id=pseudonym, reason=ERASED)
                )
            ),
            _count(connection.execute(delete(usage_stats).where(usage_stats.c.user_id == user_id))),
            _count(connection.execute(delete(usage_pending).where(usage_pending.c.user_id == user_id))),
        )
    )


def _is_for_them(user_id: str, addresses: Sequence[str]) -> ColumnElement[bool]:
    """Gifts of others that the person received, or that name the person's address."""
    received_ids = select(gift_redemptions.c.gift_code_id).where(
        gift_redemptions.c.redeemer_user_id == user_id, gift_redemptions.c.status == "success"
    )
    theirs = or_(gift_codes.c.id.in_(received_ids), gift_codes.c.target_address.in_(addresses))
    return theirs & (gift_codes.c.creator_id != user_id)


def _erase_answers_of_others(connection: Connection, user_id: str, addresses: Sequence[str]) -> int:
    """Answers kept for others' keys: for those who gave to the person, and those who took the person's gifts."""
    given = connection.execute(
        select(gift_codes.c.id, gift_codes.c.creator_id).where(_is_for_them(user_id, addresses))
    ).all()
    taken = connection.execute(
        select(gift_redemptions.c.redeemer_user_id, gift_codes.c.message, gift_codes.c.creator_name)
        .join(gift_codes, gift_codes.c.id == gift_redemptions.c.gift_code_id)
        .where(gift_codes.c.creator_id == user_id, gift_redemptions.c.status == "success")
    ).all()
    ids = {(row.creator_id, str(row.id)) for row in given}
    words = {(row.redeemer_user_id, row.message, public_name(row.creator_name)) for row in taken}
    columns, count = idempotent_answers.c, 0
    people = [row.creator_id for row in given] + [row.redeemer_user_id for row in taken]
    kept = select(idempotent_answers).where(
        columns.user_id == func.any(people), columns.operation.in_(PERSONAL_IN_ANSWERS)
    )
    for row in connection.execute(kept).all():
        answer = row.answer or {}  # forgotten ones say nothing any more
        is_of_theirs = (row.user_id, answer.get("id")) in ids
        if is_of_theirs or (row.user_id, answer.get("message"), answer.get("creatorName")) in words:
            cleaned = {**answer, **dict.fromkeys(PERSONAL_IN_ANSWERS[row.operation])}
            it = (
                columns.user_id == row.user_id,
                columns.operation == row.operation,
                columns.key == row.key,
            )
            connection.execute(update(idempotent_answers).where(*it).values(answer=cleaned))
            count += 1
    return count


def _erase_gifts(connection: Connection, user_id: str, addresses: Sequence[str], pseudonym: str) -> int:
    nothing_personal = {"target_email": None, "target_address": None, "message": None}
    received = connection.execute(
        update(gift_codes).where(_is_for_them(user_id, addresses)).values(**nothing_personal)
    )
    created = connection.execute(
        update(gift_codes)
        .where(gift_codes.c.creator_id == user_id)
        .values(creator_id=pseudonym, creator_name=None, **nothing_personal)
    )
    attempts = connection.execute(
        update(gift_redemptions)
        .where(gift_redemptions.c.redeemer_user_id == user_id)
        .values(redeemer_user_id=pseudonym)
    )
    return _count(received) + _count(created) + _count(attempts)


def _erase_the_rest(connection: Connection, user_id: str, pseudonym: str) -> int:
    statements = (
        update(purchases)
        .where(purchases.c.user_id == user_id)
        .values(user_id=pseudonym, metadata=None, stripe_customer_id=None, checkout_url=None),
        delete(stripe_customers).where(stripe_customers.c.user_id == user_id),
        delete(sync_subscriptions).where(sync_subscriptions.c.user_id == user_id),
        update(sync_subscriptions)
        .where(sync_subscriptions.c.gifted_by == user_id)
        .values(gifted_by=pseudonym),
        delete(idempotent_answers).where(idempotent_answers.c.user_id == user_id),
        delete(jobs).where(jobs.c.user_id == user_id),
    )
    return sum(_count(connection.execute(statement)) for statement in statements)


def _erase_findings(connection: Connection, user_id: str, pseudonym: str) -> int:
    """What a ledger check found wrong may name whose books it is."""
    columns = ledger_checks.c
    found = connection.execute(select(columns.id, columns.findings).where(columns.violation_count > 0)).all()
    renamed = [(check_id, old, _renamed(old, user_id, pseudonym)) for check_id, old in found]
    changed = [(check_id, new) for check_id, old, new in renamed if new != old]
    for check_id, findings in changed:
        connection.execute(update(ledger_checks).where(columns.id == check_id).values(findings=findings))
    return len(changed)


def _renamed(value: Any, user_id: str, pseudonym: str) -> Any:
    match value:
        case dict():
            return {name: _renamed(part, user_id, pseudonym) for name, part in value.items()}
        case list():
            return [_renamed(part, user_id, pseudonym) for part in value]
        case str():
            return value.replace(user_id, pseudonym)
        case _:
            return value


def _erase_webhooks(connection: Connection, user_id: str) -> int:
    """What apps were told of the person goes, and what they would be told; others' gifts forget who gave."""
    statements = (
        # Whoever is on it has the lane locked: it ends first.
        delete(webhook_lanes).where(webhook_lanes.c.user_id == user_id),
        delete(webhook_deliveries).where(webhook_deliveries.c.user_id == user_id),
        delete(app_events).where(app_events.c.user_id == user_id),
    )
    count = sum(_count(connection.execute(statement)) for statement in statements)
    return count + _count(connection.execute(_FORGET_GIVER, {"user_id": user_id}))


def _erase_audit(connection: Connection, user_id: str, pseudonym: str) -> int:
    """That something was done, by whom and when, stays; why is an operator's own words, and may tell who."""
    actor = f"{ADMIN_PREFIX}{user_id}"
    about = (
        update(audit)
        .where(audit.c.user_id == user_id)
        .values(
            user_id=pseudonym,
            subject=case((audit.c.subject == user_id, pseudonym), else_=audit.c.subject),
            reason=ERASED,
            details={},
        )
    )
    by_them = update(audit).where(audit.c.actor == actor).values(actor=f"{ADMIN_PREFIX}{pseudonym}")
    signed_in = delete(operator_sessions).where(operator_sessions.c.actor == actor)
    return sum(_count(connection.execute(statement)) for statement in (about, by_them, signed_in))


def _erase_events(connection: Connection, user_id: str, addresses: Sequence[str], pseudonym: str) -> int:
    """Stripe's events about the person keep what settling needs: ids, amounts, states.

    A dispute names the payment alone, an event about the customer the customer alone.
    """
    bought = purchases.c.user_id == user_id
    paid = purchases.c.stripe_payment_intent_id
    known_as = select(stripe_customers.c.stripe_customer_id).where(stripe_customers.c.user_id == user_id)
    customers = connection.execute(known_as).scalars().all()
    about = stripe_events.c.payload["data"]["object"]
    found = connection.execute(
        select(stripe_events.c.id, stripe_events.c.payload).where(
            or_(
                stripe_events.c.purchase_id.in_(select(purchases.c.id).where(bought)),
                stripe_events.c.payment_intent_id.in_(select(paid).where(bought, paid.is_not(None))),
                about["metadata"]["userId"].astext == user_id,
                about["customer"].astext.in_(customers),
                about["id"].astext.in_(customers),
            )
        )
    ).all()
    for event_id, payload in found:
        cleaned = _without_person(payload, user_id, [*addresses, *customers], pseudonym)
        connection.execute(
            update(stripe_events).where(stripe_events.c.id == event_id).values(payload=cleaned)
        )
    return len(found)


def _without_person(value: Any, user_id: str, names: Collection[str], pseudonym: str) -> Any:
    match value:
        case dict():
            return {
                name: None if name in PERSONAL_IN_EVENTS else _without_person(part, user_id, names, pseudonym)
                for name, part in value.items()
            }
        case list():
            return [_without_person(part, user_id, names, pseudonym) for part in value]
        case str() if value == user_id:
            return pseudonym
        case str() if any(known.casefold() in value.casefold() for known in names):
            return None
        case _:
            return value


def _count(result: CursorResult[Any]) -> int:
    return result.rowcount
