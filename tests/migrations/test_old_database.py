"""A database of the old service becomes ours by one command, loses nothing, and can go back."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, text

from domain import ledger, reservations, spending, usage_stats
from domain.database import make_engine, transaction
from domain.ledger import CountsAs, EntryType, Posted, Replayed
from domain.spending import Grant
from migrations.config import MIGRATION_LOCK
from tests.migrations.old_service import (
    lost_rows,
    make_old_database,
    remember,
    remembered,
    run_migrations,
    run_migrations_command,
    start_migrations,
)
from tests.support.ledger import (
    NOW,
    balance,
    entries,
    execute,
    give,
    post,
    scalar,
    take,
    violations,
    words,
)

ENTRIES = 100_000


def test_a_hundred_thousand_entries_come_over_and_back_and_nothing_is_lost(empty_database_url: str) -> None:
    url = empty_database_url
    make_old_database(url, entries=ENTRIES)
    counts = remembered(url)
    assert counts["credits.transactions"] > ENTRIES
    assert all(counts.values()), f"no rows of some kind: {counts}"

    started = time.monotonic()
    run_migrations(url)
    up_seconds = time.monotonic() - started
    assert lost_rows(url) == {}
    engine = make_engine(url, pool_size=1)
    assert violations(engine) == []
    engine.dispose()

    started = time.monotonic()
    run_migrations(url, "downgrade", "0001")
    down_seconds = time.monotonic() - started
    print(f"{ENTRIES} entries: up in {up_seconds:.1f} s, down in {down_seconds:.1f} s")
    assert lost_rows(url) == {}
    with psycopg.connect(url) as connection:
        entry_count = connection.execute("SELECT count(*) FROM credits.transactions").fetchone()
    assert entry_count == (counts["credits.transactions"],)


def test_it_is_marked_and_brought_to_the_newest_revision_by_one_command(old_database_url: str) -> None:
    run_migrations_command(old_database_url)
    head = run_migrations_command(old_database_url, "current")
    assert "(head)" in head
    before = head
    run_migrations(old_database_url)
    assert run_migrations_command(old_database_url, "current") == before


def test_the_books_add_up_and_nothing_is_lost(engine: Engine, taken_over_url: str) -> None:
    assert lost_rows(taken_over_url) == {}
    assert violations(engine) == []


@pytest.mark.parametrize(
    ("user_id", "figures"),
    [
        ("too-much", "70 0 100 20"),
        ("too-little", "10 0 100 20"),
        ("only-a-balance", "50 0 50 0"),
        ("nothing", "0 0 0 0"),
        ("no-balance", "0 0 0 0"),
        ("overspent", "-3 0 10 13"),
        ("wrong-totals", "5 0 99 1"),
        ("holder", "5 10 20 5"),
        ("late", "5 10 20 5"),
        ("only-a-hold", "0 3 0 0"),
        ("biggest", "2147483647 0 2147483647 0"),
        ("giver", "50 0 100 50"),
    ],
)
def test_everybody_has_what_they_had(looked_at: Engine, user_id: str, figures: str) -> None:
    found = balance(looked_at, user_id)
    expected = [Decimal(figure) for figure in figures.split()]
    assert [found.balance, found.held, found.total_earned, found.total_spent] == expected


def test_entries_are_shown_in_the_order_they_were_written_the_opening_one_last(engine: Engine) -> None:
    shown = entries(engine, "too-much")
    assert [entry.amount for entry in shown] == [20, 50]
    assert shown[0].description == "Opening balance"
    post(engine, take("too-much", 1))
    assert [entry.amount for entry in entries(engine, "too-much")] == [-1, 20, 50]
    times = [entry.created_at for entry in entries(engine, "user-1")]
    assert times == sorted(times, reverse=True)


def test_nobody_whose_books_added_up_has_an_opening_entry(looked_at: Engine) -> None:
    opened = scalar(
        looked_at,
        "SELECT array_agg(DISTINCT user_id ORDER BY user_id) FROM credits.transactions WHERE version = 0",
    )
    assert opened == [
        "ended-otherwise",
        "late",
        "no-balance",
        "only-a-balance",
        "only-a-hold",
        "overspent",
        "too-little",
        "too-much",
        "wrong-totals",
    ]


def test_every_old_entry_is_shown_even_one_over_nothing(looked_at: Engine) -> None:
    assert [entry.amount for entry in entries(looked_at, "zero")] == [0, 10]
    with looked_at.connect() as connection:
        assert ledger.count_entries(connection, "zero") == 2


def test_everybody_can_go_on_spending(engine: Engine) -> None:
    people = [
        "too-much",
        "too-little",
        "only-a-balance",
        "wrong-totals",
        "holder",
        "grants",
        "user-1",
        "biggest",
    ]
    outcomes = post(engine, *[take(user_id, "0.1") for user_id in people])
    assert words(outcomes) == ["posted"] * len(people)
    assert words(post(engine, take("overspent", 1), take("no-balance", 1))) == ["insufficient"] * 2
    assert violations(engine) == []


def use(engine: Engine, user_id: str, key: str, amount: int, **facts: object) -> Posted | Replayed:
    with transaction(engine) as connection:
        posting = spending.usage_posting(
            user_id=user_id,
            amount=Decimal(amount),
            app_id=str(facts.get("app_id", "chat")),
            description=str(facts.get("description", "first")),
            metadata={"n": Decimal("1.5")},
            idempotency_key=key,
            now=NOW,
        )
        [outcome] = ledger.post(connection, [posting], now=NOW)
        return ledger.accepted(outcome)


def test_an_old_key_is_already_processed_and_its_first_entry_is_the_answer(engine: Engine) -> None:
    outcome = use(engine, "repeats", "k", 1)
    assert isinstance(outcome, Replayed)
    assert (outcome.entry.description, outcome.matches) == ("first", True)
    other = use(engine, "repeats", "k", 2)
    assert isinstance(other, Replayed)
    assert not other.matches
    assert balance(engine, "repeats").balance == 8


def test_an_old_key_of_somebody_else_or_of_an_unfinished_use_is_free(engine: Engine) -> None:
    assert isinstance(use(engine, "too-much", "k", 1), Posted)
    for key in ("pending", "failed", "cancelled"):
        assert isinstance(use(engine, "ended-otherwise", key, 1), Posted)


def test_every_old_key_of_a_use_has_one_entry_that_owns_it(looked_at: Engine) -> None:
    query = """
        SELECT count(*) FROM (
            SELECT user_id, idempotency_key FROM credits.transactions
            WHERE type = 'usage' AND status = 'completed' AND length(idempotency_key) <= 255
            GROUP BY 1, 2 HAVING count(*) FILTER (WHERE posting_key = 'use:' || idempotency_key) <> 1
        ) without
    """
    assert scalar(looked_at, query) == 0
    assert scalar(looked_at, "SELECT count(*) FROM credits.transactions WHERE posting_key LIKE 'use:%'") > 100


def test_an_old_grant_is_already_granted(engine: Engine) -> None:
    wanted = Grant(user_id="grants", amount=Decimal(10), reason="review", reference_id="review-1")
    with transaction(engine) as connection:
        granted = spending.grant(connection, wanted, now=NOW)
    assert granted.already
    assert granted.entry.balance_after == 10  # after the first of the two
    with transaction(engine) as connection:
        fresh = Grant(user_id="grants", amount=Decimal(10), reason="review", reference_id="review-2")
        assert not spending.grant(connection, fresh, now=NOW).already


def test_open_reservations_are_held_and_live_for_a_day_from_the_migration(engine: Engine) -> None:
    lifetimes = scalar(
        engine,
        """SELECT array_agg(DISTINCT expires_at - now() BETWEEN interval '23 hours' AND interval '24 hours')
           FROM credits.reservations WHERE status = 'reserved'""",
    )
    assert lifetimes == [True]
    now = scalar(engine, "SELECT now()")
    with transaction(engine) as connection:
        held = UUID("00000000-0000-4000-8000-000000000001")
        assert reservations.commit(connection, held, now=now).balance_after == 5
    with transaction(engine) as connection:
        nothing = reservations.Released()
        released, _ = reservations.release_expired(connection, nothing, now=now + timedelta(days=2))
        assert (released.count, released.passed_over) == (3, 0)
    assert balance(engine, "late").balance == 15
    assert violations(engine) == []


def test_old_usage_stays_and_new_usage_comes_beside_it(engine: Engine) -> None:
    before = scalar(engine, "SELECT sum(credits_used) FROM credits.usage_stats")
    post(engine, take("user-1", "0.1"))
    with transaction(engine) as connection:
        usage_stats.roll_up(connection)
    assert scalar(engine, "SELECT sum(credits_used) FROM credits.usage_stats") == before + Decimal("0.1")
    with transaction(engine) as connection:
        usage_stats.rebuild(connection)
    assert scalar(engine, "SELECT sum(credits_used) FROM credits.usage_stats") == before + Decimal("0.1")


def test_fractions_go_down_rounded_balances_in_the_persons_favour(
    engine: Engine, taken_over_url: str
) -> None:
    post(engine, give("new", 10), take("new", "0.4"), take("new", "1.5"))  # 8.1 left
    post(engine, take("too-much", "0.6"), give("new", 1, type=EntryType.REFUND, counts_as=CountsAs.RETURNED))
    with transaction(engine) as connection:
        usage_stats.roll_up(connection)
    post(engine, take("too-much", 3))  # not rolled up yet
    engine.dispose()
    run_migrations(taken_over_url, "downgrade", "0001")
    assert lost_rows(taken_over_url) == {"credits.balances": 1}  # who went on spending
    with psycopg.connect(taken_over_url) as connection:
        figures = "SELECT balance, total_earned, total_spent FROM credits.balances WHERE user_id = "
        assert connection.execute(f"{figures} 'new'".encode()).fetchone() == (10, 10, 1)
        assert connection.execute(f"{figures} 'too-much'".encode()).fetchone() == (67, 100, 24)
        amounts = connection.execute(
            "SELECT amount FROM credits.transactions WHERE user_id = 'new' ORDER BY created_at, amount"
        ).fetchall()
        assert amounts == [(-2,), (0,), (1,), (10,)]
        used = connection.execute(
            "SELECT sum(credits_used) FROM credits.usage_stats WHERE user_id = 'too-much'"
        ).fetchone()
        assert used == (4,)
        types = connection.execute(
            """SELECT DISTINCT data_type FROM information_schema.columns WHERE table_schema = 'credits'
               AND column_name IN ('amount', 'balance', 'total_spent', 'credits_used', 'version')"""
        ).fetchall()
        assert types == [("integer",)]


def test_it_comes_over_again_after_it_went_back(engine: Engine, taken_over_url: str) -> None:
    post(engine, take("user-1", "0.7", posting_key="use:fresh", idempotency_key="fresh"))
    engine.dispose()
    run_migrations(taken_over_url, "downgrade", "0001")
    with psycopg.connect(taken_over_url) as connection:
        remember(connection)
    run_migrations(taken_over_url)
    assert lost_rows(taken_over_url) == {}
    assert violations(engine) == []
    assert words(post(engine, take("user-1", "0.7", posting_key="use:fresh"))) == ["replayed"]
    assert words(post(engine, take("user-1", "0.7"))) == ["posted"]


def test_several_who_migrate_an_old_database_at_once_do_it_once(old_database_url: str) -> None:
    waiting = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND wait_event_type = 'Lock' AND wait_event = 'advisory'"""
    with psycopg.connect(old_database_url, autocommit=True) as gate:
        gate.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        running = [start_migrations(old_database_url) for _ in range(2)]
        deadline = time.monotonic() + 30
        while gate.execute(waiting).fetchone() != (2,):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    for one in running:
        code, output = one.ended()
        assert code == 0, output
    assert lost_rows(old_database_url) == {}


def test_a_long_migration_keeps_others_out_to_its_end(old_database_url: str) -> None:
    """The session that holds the lock is not in a transaction, or the server would end it for being idle."""
    holder = """SELECT a.state FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()"""
    stuck = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND wait_event_type = 'Lock' AND wait_event = 'relation'"""
    with psycopg.connect(old_database_url) as gate:
        gate.execute("LOCK TABLE credits.balances")
        running = start_migrations(old_database_url)
        with psycopg.connect(old_database_url, autocommit=True) as watch:
            deadline = time.monotonic() + 30
            while watch.execute(stuck).fetchone() != (1,):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert watch.execute(holder).fetchall() == [("idle",)]
    code, output = running.ended()
    assert code == 0, output


def test_a_migration_that_fails_leaves_the_old_database_as_it_was(old_database_url: str) -> None:
    """One revision is one transaction."""
    with psycopg.connect(old_database_url) as connection:
        connection.execute("CREATE VIEW public.in_the_way AS SELECT balance FROM credits.balances")
    code, output = start_migrations(old_database_url).ended()
    assert code != 0
    assert "in_the_way" in output
    assert lost_rows(old_database_url) == {}
    with psycopg.connect(old_database_url) as connection:
        assert connection.execute("SELECT to_regclass('ops.usage_pending')").fetchone() == (None,)
        connection.execute("DROP VIEW public.in_the_way")
    run_migrations(old_database_url)


def test_scripts_of_other_teams_work_on_a_database_taken_over(engine: Engine) -> None:
    upsert = """INSERT INTO credits.balances (user_id, balance, total_earned, total_spent)
                VALUES ('{}', 1000, 1000, 0)
                ON CONFLICT (user_id) DO UPDATE SET balance = 1000, total_earned = 1000, total_spent = 0"""
    for user_id in ("too-much", "overspent", "no-balance", "user-7", "fresh"):
        execute(engine, upsert.format(user_id))
        assert words(post(engine, take(user_id, "0.5"))) == ["posted"]
    assert violations(engine) == []


def test_what_was_taken_over_is_as_little_changed_as_what_is_new(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(Exception, match="never changed"):
        connection.execute(text("UPDATE credits.transactions SET amount = 1 WHERE version < 0"))
