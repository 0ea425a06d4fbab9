"""Each fact notices what it is there to notice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Final

import pytest
from sqlalchemy import Engine

from domain import invariants, reservations, usage_stats
from domain.database import make_engine, transaction
from domain.ledger import CountsAs, EntryType
from tests.support.ledger import NOW, broken_facts, execute, give, post, take, violations

LEDGER_FACTS: Final = {
    "entries_chain",
    "entries_arithmetic",
    "balance_is_sum_of_entries",
    "totals_agree",
    "held_is_open_reservations",
    "versions_move_on",
    "debt_only_by_taking_back",
    "commits_have_entries",
    "usage_is_sum_of_entries",
}
"""Those of the ledger itself; the facts of other rooms are broken in the tests of those rooms."""


@pytest.fixture
def books(database_url: str) -> Iterator[Engine]:
    """A ledger with a bit of everything, whose books the test will spoil."""
    engine = make_engine(database_url, pool_size=2)
    post(engine, give("anna", 100), give("ben", 50))
    post(engine, take("anna", "0.1"), take("ben", 5), take("anna", 3, app_id="sync"))
    with transaction(engine) as connection:
        usage_stats.roll_up(connection)
    post(engine, take("anna", 1), give("anna", 1, type=EntryType.REFUND, counts_as=CountsAs.RETURNED))
    for user_id in ("anna", "anna", "ben"):
        with transaction(engine) as connection:
            reserved = reservations.reserve(
                connection, user_id=user_id, amount=Decimal(5), reason="chat:x", now=NOW
            )
    with transaction(engine) as connection:
        reservations.commit(connection, reserved.reservation_id, now=NOW)
    post(engine, give("cleo", 5), take("cleo", 9, type=EntryType.PURCHASE, may_overdraw=True))
    yield engine
    engine.dispose()


def test_they_hold_for_a_ledger_with_a_bit_of_everything(books: Engine) -> None:
    assert violations(books) == []
    checked = {finding.name: finding.checked for finding in invariants.check(books)}
    assert all(checked[name] for name in LEDGER_FACTS), f"something was not looked at: {checked}"


SPOILT: Final[list[tuple[str, set[str]]]] = [
    (
        "UPDATE credits.balances SET balance = balance + 0.001 WHERE user_id = 'anna'",
        {"balance_is_sum_of_entries"},
    ),
    ("DELETE FROM credits.balances WHERE user_id = 'cleo'", {"balance_is_sum_of_entries"}),
    (
        "UPDATE credits.balances SET held = held - 1, balance = balance + 1 WHERE user_id = 'anna'",
        {"held_is_open_reservations"},
    ),
    (
        "UPDATE credits.reservations SET amount = 6 WHERE user_id = 'anna'",
        {"held_is_open_reservations"},
    ),
    (
        "UPDATE credits.reservations SET status = 'refunded' WHERE user_id = 'anna'",
        {"held_is_open_reservations"},
    ),
    (
        "INSERT INTO credits.reservations (user_id, amount, reason, expires_at) VALUES ('new', 1, 'x', now())",
        {"held_is_open_reservations"},
    ),
    (
        "UPDATE credits.balances SET total_earned = total_earned + 0.001 WHERE user_id = 'ben'",
        {"totals_agree"},
    ),
    (
        "UPDATE credits.balances SET total_spent = total_spent - 0.001 WHERE user_id = 'ben'",
        {"totals_agree"},
    ),
    ("UPDATE credits.balances SET version = 1 WHERE user_id = 'anna'", {"versions_move_on"}),
    (
        """UPDATE credits.transactions SET balance_after = balance_after + 1, balance_before = balance_before + 1
           WHERE user_id = 'anna' AND version = 2""",
        {"entries_chain"},
    ),
    (
        """UPDATE credits.transactions SET version = 1000 - version WHERE user_id = 'anna' AND version IN (2, 3)""",
        {"entries_chain", "versions_move_on"},
    ),
    (
        """ALTER TABLE credits.transactions DROP CONSTRAINT transactions_arithmetic_check;
           UPDATE credits.transactions SET balance_before = balance_before + 1 WHERE user_id = 'anna'""",
        {"entries_arithmetic"},
    ),
    (
        "DELETE FROM credits.transactions WHERE user_id = 'anna' AND type = 'refund'",
        {"balance_is_sum_of_entries", "totals_agree"},
    ),
    (
        "DELETE FROM credits.transactions WHERE user_id = 'ben' AND version = 1",
        {"entries_chain", "balance_is_sum_of_entries", "totals_agree"},
    ),
    (
        "UPDATE credits.transactions SET user_id = 'zoe' WHERE user_id = 'cleo'",
        {"balance_is_sum_of_entries", "totals_agree", "debt_only_by_taking_back"},
    ),
    (
        "UPDATE credits.transactions SET type = 'gift' WHERE type = 'purchase'",
        {"debt_only_by_taking_back"},
    ),
    (
        "UPDATE credits.reservations SET amount = 6 WHERE status = 'committed'",
        {"commits_have_entries"},
    ),
    (
        "UPDATE credits.reservations SET status = 'refunded' WHERE status = 'committed'",
        {"commits_have_entries"},
    ),
    ("DELETE FROM credits.reservations WHERE status = 'committed'", {"commits_have_entries"}),
    ("UPDATE credits.usage_stats SET credits_used = credits_used + 0.001", {"usage_is_sum_of_entries"}),
    ("DELETE FROM credits.usage_stats WHERE app_id = 'sync'", {"usage_is_sum_of_entries"}),
    ("DELETE FROM ops.usage_pending", {"usage_is_sum_of_entries"}),
    ("UPDATE ops.usage_pending SET day = day + 1", {"usage_is_sum_of_entries"}),
]


@pytest.mark.parametrize(("spoiling", "broken"), SPOILT)
def test_a_spoilt_ledger_is_noticed_by_the_fact_it_breaks(
    books: Engine, spoiling: str, broken: set[str]
) -> None:
    execute(books, "SET LOCAL session_replication_role = 'replica'", spoiling)  # with no trigger in the way
    assert broken_facts(books) == broken


def test_every_fact_of_the_ledger_has_a_way_here_to_break_it() -> None:
    assert {name for _, broken in SPOILT for name in broken} == LEDGER_FACTS


def test_work_in_flight_is_no_violation(books: Engine) -> None:
    with books.connect() as connection:
        reservations.reserve(
            connection,
            user_id="anna",
            amount=Decimal(1),
            reason="x",
            lifetime=timedelta(hours=1),
            now=NOW,
        )
        assert violations(books) == []
        connection.commit()
    assert violations(books) == []
