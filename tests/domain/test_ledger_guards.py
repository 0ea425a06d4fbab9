"""The database's own guards: scripts that write balances keep working, and nothing can spoil an entry."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from domain.ledger.post import POST_FUNCTION_SQL
from tests.support.ledger import balance, entries, execute, give, post, scalar, take, words


def test_a_balance_written_by_hand_becomes_an_entry_of_its_own(engine: Engine) -> None:
    post(engine, give("anna", 10))
    execute(engine, "UPDATE credits.balances SET balance = 4.5, total_spent = 5.5 WHERE user_id = 'anna'")
    [adjusting, _] = entries(engine, "anna")
    assert (adjusting.amount, adjusting.balance_after) == (Decimal("-5.5"), Decimal("4.5"))
    assert adjusting.description == "Balance written outside the ledger"
    assert adjusting.metadata == {"source": "direct_write", "by": "postgres"}
    assert balance(engine, "anna").version == adjusting.version == 2
    assert words(post(engine, take("anna", "4.5"))) == ["posted"]


def test_totals_written_by_hand_are_in_the_books_and_not_among_the_entries_shown(engine: Engine) -> None:
    post(engine, give("anna", 10))
    execute(engine, "UPDATE credits.balances SET total_earned = 100 WHERE user_id = 'anna'")
    assert len(entries(engine, "anna")) == 1
    assert scalar(engine, "SELECT count(*) FROM credits.transactions") == 2


def test_a_balance_written_by_hand_below_zero_is_a_debt(engine: Engine) -> None:
    post(engine, give("anna", 10))
    execute(engine, "UPDATE credits.balances SET balance = -3 WHERE user_id = 'anna'")
    assert words(post(engine, take("anna", 1), give("anna", 4), take("anna", 1))) == [
        "insufficient",
        "posted",
        "posted",
    ]


def test_all_balances_written_in_one_statement_have_an_entry_each(engine: Engine) -> None:
    post(engine, *[give(f"user-{number}", number + 1) for number in range(20)])
    execute(engine, "UPDATE credits.balances SET balance = balance + 1, total_earned = total_earned + 1")
    assert scalar(engine, "SELECT count(*) FROM credits.transactions") == 40


def test_a_balance_written_twice_in_one_transaction_has_two_entries(engine: Engine) -> None:
    post(engine, give("anna", 1))
    execute(
        engine,
        "UPDATE credits.balances SET balance = 5",
        "UPDATE credits.balances SET balance = 7",
    )
    assert [entry.amount for entry in entries(engine, "anna")] == [2, 4, 1]


PLAIN = """
    INSERT INTO credits.balances (user_id, balance, total_earned, total_spent)
    VALUES ('dev', 10000, 10000, 0)
    ON CONFLICT (user_id) DO UPDATE SET balance = 10000, total_earned = 10000, total_spent = 0
"""
WITH_VERSION = """
    INSERT INTO credits.balances (user_id, balance, total_earned, version, created_at, updated_at)
    VALUES ('dev', 10000, 10000, 1, now(), now())
    ON CONFLICT (user_id) DO UPDATE
    SET balance = excluded.balance, total_earned = excluded.total_earned, version = 1, updated_at = now()
"""
VERSION_COUNTED = """
    INSERT INTO credits.balances AS b (user_id, balance, total_earned, version) VALUES ('dev', 10000, 10000, 0)
    ON CONFLICT (user_id) DO UPDATE SET balance = 10000, total_earned = 10000, version = b.version + 1
"""
KEEPING_WHAT_IS_THERE = """
    INSERT INTO credits.balances (user_id, balance, total_earned) VALUES ('dev', 10000, 10000)
    ON CONFLICT (user_id) DO UPDATE SET balance = greatest(balances.balance, excluded.balance)
"""
upserts = pytest.mark.parametrize("upsert", [PLAIN, WITH_VERSION, VERSION_COUNTED, KEEPING_WHAT_IS_THERE])


@upserts
def test_a_scripts_upsert_makes_somebody_new(engine: Engine, upsert: str) -> None:
    execute(engine, upsert)
    assert balance(engine, "dev").balance == 10_000
    assert [entry.amount for entry in entries(engine, "dev")] == [10_000]
    assert words(post(engine, take("dev", 1), take("dev", "0.1"))) == ["posted", "posted"]


@upserts
def test_a_scripts_upsert_over_somebody_with_a_history(engine: Engine, upsert: str) -> None:
    post(engine, give("dev", 100), take("dev", 1), take("dev", 2), take("dev", "0.5"))
    execute(engine, upsert)
    assert balance(engine, "dev").balance == 10_000
    assert words(post(engine, take("dev", 1))) == ["posted"]


@upserts
def test_a_scripts_upsert_may_be_repeated_at_any_time(engine: Engine, upsert: str) -> None:
    for _ in range(2):
        execute(engine, upsert)
        execute(engine, upsert)
        assert words(post(engine, take("dev", 1), take("dev", "0.001"))) == ["posted", "posted"]
    execute(engine, upsert, upsert)
    assert words(post(engine, take("dev", 1))) == ["posted"]
    assert balance(engine, "dev").balance == 9_999


@upserts
def test_a_script_that_repeats_itself_writes_no_entry_for_nothing(engine: Engine, upsert: str) -> None:
    execute(engine, upsert)
    execute(engine, upsert)
    assert scalar(engine, "SELECT count(*) FROM credits.transactions") == 1


def test_a_version_never_goes_back(engine: Engine) -> None:
    post(engine, give("anna", 10), take("anna", 1))
    execute(engine, "UPDATE credits.balances SET version = 0 WHERE user_id = 'anna'")
    assert balance(engine, "anna").version == 2
    assert words(post(engine, take("anna", 1))) == ["posted"]


def test_a_scripts_upsert_into_sync_subscriptions_still_works(engine: Engine) -> None:
    upsert = """
        INSERT INTO credits.sync_subscriptions
            (user_id, active, billing_interval, amount_charged, activated_at, is_gifted, gifted_by, gifted_at)
        VALUES ('dev', true, 'yearly', 0, now(), true, 'script', now())
        ON CONFLICT (user_id) DO UPDATE SET active = true, amount_charged = 0, is_gifted = true
    """
    execute(engine, upsert)
    execute(engine, upsert)
    assert scalar(engine, "SELECT is_gifted FROM credits.sync_subscriptions") is True


ENTRY = """
    INSERT INTO credits.transactions
        (user_id, type, status, amount, balance_before, balance_after, app_id, description, version)
    VALUES ('anna', 'grant', {status!r}, {amount}, 10, {after}, 'x', 'x', {version})
"""
THROUGH_THE_DOOR = "SET LOCAL credits.posting = 'on'"


def entry(*, status: str = "completed", amount: str = "5", after: str = "15", version: int = 2) -> str:
    """An INSERT of an entry after `give("anna", 10)`."""
    return ENTRY.format(status=status, amount=amount, after=after, version=version)


def test_an_entry_outside_the_door_is_refused(engine: Engine) -> None:
    post(engine, give("anna", 10))
    with pytest.raises(IntegrityError, match=r"written by credits\.post"):
        execute(engine, entry())


def test_an_entry_outside_the_door_is_refused_right_after_one_through_it(engine: Engine) -> None:
    """The door's mark ends with the call: it does not stay with the session or the transaction."""
    call = """SELECT credits.post('[{"id": "01a203df-8d27-73d2-9bf1-a51762a92d8c", "user_id": "anna",
        "type": "grant", "amount": 1, "held_change": 0, "counts_as": "earned", "may_overdraw": false,
        "creates_balance": true, "app_id": "x", "description": "x"}]', now(), 100)"""
    with pytest.raises(IntegrityError, match=r"written by credits\.post"):
        execute(engine, call, entry(version=7))
    execute(engine, call)
    execute(engine, "UPDATE credits.balances SET balance = 5, total_earned = 5")
    assert [one.amount for one in entries(engine, "anna")] == [4, 1]


@pytest.mark.parametrize(
    ("wrong", "guard"),
    [
        (entry(after="14.999"), "transactions_arithmetic_check"),
        (entry(status="pending"), "transactions_completed_check"),
        (entry(version=1), "transactions_user_id_version_key"),
    ],
)
def test_a_wrong_entry_is_refused_even_through_the_door(engine: Engine, wrong: str, guard: str) -> None:
    post(engine, give("anna", 10))
    with pytest.raises(IntegrityError, match=guard):
        execute(engine, THROUGH_THE_DOOR, wrong)


def test_a_key_used_twice_is_refused_even_through_the_door(engine: Engine) -> None:
    post(engine, give("anna", 10, posting_key="grant:1"), give("anna", 1))
    with pytest.raises(IntegrityError, match="transactions_user_id_posting_key_key"):
        execute(engine, "UPDATE credits.transactions SET posting_key = 'grant:1' WHERE user_id = 'anna'")


def test_an_amount_beyond_the_column_is_refused(engine: Engine) -> None:
    with pytest.raises(DataError, match="overflow"):
        execute(engine, "INSERT INTO credits.balances (user_id, balance) VALUES ('anna', 1e15)")


@pytest.mark.parametrize(
    "column",
    [
        "id = gen_random_uuid()",
        "type = 'refund'",
        "status = 'failed'",
        "amount = 11",
        "balance_before = 1",
        "balance_after = 11",
        "held_after = 1",
        "version = 9",
        "earned_change = 0",
        "spent_change = 1",
        "created_at = now()",
    ],
)
def test_what_an_entry_says_is_never_changed(engine: Engine, column: str) -> None:
    post(engine, give("anna", 10))
    with pytest.raises(IntegrityError, match="never changed"):
        execute(engine, THROUGH_THE_DOOR, f"UPDATE credits.transactions SET {column}")


@pytest.mark.parametrize("statement", ["DELETE FROM credits.transactions", "TRUNCATE credits.transactions"])
def test_entries_are_never_deleted(engine: Engine, statement: str) -> None:
    post(engine, give("anna", 10))
    with pytest.raises(IntegrityError, match="never changed"):
        execute(engine, THROUGH_THE_DOOR, statement)


def test_personal_data_can_be_taken_out_of_an_entry(engine: Engine) -> None:
    post(engine, give("anna", 10, metadata={"email": "anna@example.com"}))
    execute(engine, "UPDATE credits.transactions SET description = '', metadata = NULL")
    assert entries(engine, "anna")[0].metadata is None


def test_the_function_in_the_database_is_the_one_in_the_code(engine: Engine) -> None:
    body = POST_FUNCTION_SQL.partition("$function$")[2].rpartition("$function$")[0]
    assert scalar(engine, "SELECT prosrc FROM pg_proc WHERE oid = 'credits.post'::regproc") == body
