"""Gifts of the old service under this one: found, redeemed, and not given twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from domain.errors import GiftNotActive, GiftReservedForAnother
from tests.migrations.old_service import run_migrations
from tests.support.gifts import redeem, redeem_pending
from tests.support.ledger import balance, checked_engine, execute, scalar

GIVEN_TWICE = """
    INSERT INTO gifts.gift_codes (code, creator_id, total_credits, redeemed, status) VALUES
        ('RACED2', 'giver', 7, 1, 'active'), ('RACED3', 'giver', 7, 0, 'active');
    INSERT INTO gifts.gift_redemptions (gift_code_id, redeemer_user_id, status, credits_received)
    SELECT id, 'first', 'success', 7 FROM gifts.gift_codes WHERE code = 'RACED3'
"""
"""Left active by two who redeemed at once."""


@pytest.fixture
def taken_over(old_database_url: str) -> Iterator[Engine]:
    with checked_engine(old_database_url) as engine:
        execute(engine, GIVEN_TWICE)
        run_migrations(old_database_url)
        yield engine


def test_they_are_redeemed_by_who_may(taken_over: Engine) -> None:
    with pytest.raises(GiftReservedForAnother):
        redeem(taken_over, "xyz789", "mallory", "mallory@example.com")
    assert (
        scalar(taken_over, "SELECT target_address FROM gifts.gift_codes WHERE code = 'XYZ789'")
        == "anna@example.com"
    )
    done = redeem_pending(taken_over, "anna@EXAMPLE.com", "anna-new")
    assert (done.redeemed, done.total_credits) == (1, 30)
    assert balance(taken_over, "anna-new").total_earned == 30


@pytest.mark.parametrize("code", ["RACED2", "RACED3", "ABC234"])
def test_what_was_given_is_not_given_again(taken_over: Engine, code: str) -> None:
    with pytest.raises(GiftNotActive) as refusal:
        redeem(taken_over, code, "late")
    assert refusal.value.status == "depleted"
