"""Gifts for tests of the domain: in few words, and as the old service left them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, text

from domain import gifts
from domain.database import transaction
from domain.gifts import Gift, GiftType, Redeemed, RedeemedPending, Redeemer, RedeemPendingGifts, WantedGift
from domain.gifts.ending import ExpiredGifts, ExpireGifts
from tests.support.ledger import NOW

BASE_URL = "https://credits.example.com"
LATER = NOW + timedelta(days=1)
OVER = NOW + timedelta(days=90)


def make(
    engine: Engine, creator_id: str = "anna", total_credits: int = 10, *, now: datetime = NOW, **changes: Any
) -> Gift:
    """A gift of somebody who can pay for it; with `target_email`, personalized."""
    personal = changes.get("target_email") is not None
    wanted = WantedGift(
        creator_id=creator_id,
        creator_name="anna@example.com",
        total_credits=total_credits,
        type=GiftType.PERSONALIZED if personal else GiftType.SIMPLE,
        target_email=None,
        message="Enjoy",
        expires_at=OVER,
    )
    for name, value in changes.items():
        wanted = _with(wanted, name, value)
    with transaction(engine) as connection:
        return gifts.create(connection, wanted, base_url=BASE_URL, now=now)


def _with(wanted: WantedGift, name: str, value: Any) -> WantedGift:
    facts = {field: getattr(wanted, field) for field in wanted.__struct_fields__}
    return WantedGift(**{**facts, name: value})


def redeem(
    engine: Engine, code: str, user_id: str = "ben", email: str = "", *, now: datetime = LATER
) -> Redeemed:
    """Redeem in a transaction of its own."""
    with transaction(engine) as connection:
        return gifts.redeem(connection, code, Redeemer(user_id=user_id, email=email), now=now)


def cancel(engine: Engine, gift_id: UUID, user_id: str = "anna", *, now: datetime = LATER) -> Gift:
    """Cancel in a transaction of its own."""
    with transaction(engine) as connection:
        return gifts.cancel(connection, gift_id, user_id, now=now)


def redeem_pending(
    engine: Engine, email: str, user_id: str = "ben", *, now: datetime = LATER
) -> RedeemedPending:
    """All steps of the job, each in a transaction of its own."""
    job, done, has_more = RedeemPendingGifts(user_id=user_id, email=email), RedeemedPending(), True
    while has_more:
        with transaction(engine) as connection:
            done, has_more = gifts.redeem_pending(connection, job, done, now)
    return done


def expire_due(engine: Engine, *, now: datetime = OVER) -> int:
    """All steps of the job, each in a transaction of its own; how many gifts ended."""
    expired, has_more = ExpiredGifts(), True
    while has_more:
        with transaction(engine) as connection:
            expired, has_more = gifts.expire_due(connection, ExpireGifts(), expired, now)
    return expired.count


def attempts(engine: Engine) -> list[tuple[str, str]]:
    """Who tried to redeem, and what came of it, sorted."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT redeemer_user_id, status::text FROM gifts.gift_redemptions"))
        return sorted((row[0], row[1]) for row in rows)


def status(engine: Engine, gift: Gift) -> tuple[str, int]:
    """The status of a gift's row, and `redeemed`."""
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT status, redeemed FROM gifts.gift_codes WHERE id = :id"), {"id": gift.id}
        ).one()
        return row.status, row.redeemed


def old_gift(engine: Engine, code: str = "K7QXZ2", **changes: Any) -> UUID:
    """A gift as the old service left it: paid for in entries of which the ledger knows nothing."""
    row = {
        "id": uuid4(),
        "code": code,
        "creator_id": "olga",
        "creator_name": "olga",
        "total_credits": 25,
        "type": "simple",
        "status": "active",
        "target_email": None,
        "target_address": None,
        "expires_at": None,
        **changes,
    }
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO gifts.gift_codes (id, code, creator_id, creator_name, total_credits, type, status,"
                " target_email, target_address, expires_at) VALUES (:id, :code, :creator_id, :creator_name,"
                " :total_credits, CAST(:type AS gift_code_type), CAST(:status AS gift_code_status),"
                " :target_email, :target_address, :expires_at)"
            ),
            row,
        )
    found = row["id"]
    assert isinstance(found, UUID)
    return found
