"""Erasure: nothing that names the person is left in any column of any table, and the books still add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from sqlalchemy import Connection, Engine, text

from domain import erasure, gifts, ledger, reservations, spending, usage_stats
from domain.database import transaction
from domain.errors import BalanceNotFound
from domain.gifts import GiftStatus, GiftType, Redeemer, WantedGift
from domain.idempotency import Key, once
from domain.jobs import add_job
from domain.spending import Grant, Refund, RefundCredits, unless_reused

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PERSON = "person-4711"
EMAIL = "Erika.Muster@Example.org"
TRACES = (PERSON, EMAIL, "very private", "issue-of-erika")


def _grant(connection: Connection, user_id: str, amount: int, reference: str) -> None:
    wanted = Grant(user_id=user_id, amount=Decimal(amount), reason="start", reference_id=reference)
    spending.grant(connection, wanted, now=NOW)


def _gift(connection: Connection, creator: str, *, email: str | None = None, message: str = "") -> gifts.Gift:
    wanted = WantedGift(
        creator_id=creator,
        creator_name=None if creator != PERSON else "very private name",
        total_credits=10,
        type=GiftType.SIMPLE if email is None else GiftType.PERSONALIZED,
        target_email=email,
        message=message,
        expires_at=NOW + timedelta(days=90),
    )
    return gifts.create(connection, wanted, base_url="https://credits.example", now=NOW)


def _use(connection: Connection, amount: int, key: str) -> None:
    posting = spending.usage_posting(
        user_id=PERSON,
        amount=Decimal(amount),
        app_id="chat",
        description="very private question",
        metadata={"prompt": "very private"},
        idempotency_key=key,
        now=NOW,
    )
    [outcome] = ledger.post(connection, [posting], now=NOW)
    unless_reused(ledger.accepted(outcome))


@pytest.fixture
def lived_in(engine: Engine) -> Engine:
    """A database in which the person has left a trace in every room."""
    with transaction(engine) as connection:
        _grant(connection, PERSON, 500, "issue-of-erika")
        _grant(connection, "friend", 500, "start")
    with transaction(engine) as connection:
        _use(connection, 20, f"key-of-{PERSON}")
    with transaction(engine) as connection:
        reservations.reserve(
            connection, user_id=PERSON, amount=Decimal(30), reason="research:very private", now=NOW
        )
    with transaction(engine) as connection:
        _gift(connection, PERSON, message="very private greeting")
    with transaction(engine) as connection:
        to_her = _gift(connection, "friend", email=EMAIL, message="very private wish")
    with transaction(engine) as connection:
        gifts.redeem(connection, to_her.code, Redeemer(user_id=PERSON, email=EMAIL), now=NOW)
    with transaction(engine) as connection:
        _gift(connection, "friend", email=EMAIL, message="very private, and never seen")
    with transaction(engine) as connection:
        usage_stats.roll_up(connection)
    with transaction(engine) as connection:
        _use(connection, 5, "second")
        key = Key(user_id=PERSON, operation="reserve", key="very private key")
        once(connection, key, {}, lambda: {"about": PERSON}, now=NOW)
        refund = Refund(user_id=PERSON, amount=Decimal(1), description="very private")
        add_job(connection, RefundCredits(refund=refund), now=NOW, user_id=PERSON)
        _write_what_others_write(connection)
    return engine


WRITTEN_BY_OTHERS = (
    "INSERT INTO credits.stripe_customers (user_id, stripe_customer_id, email) VALUES (:person, 'cus_1', :email)",
    """INSERT INTO credits.purchases (user_id, credits, price_euro_cents, metadata, stripe_customer_id)
       VALUES (:person, 100, 100, jsonb_build_object('who', CAST(:person AS text)), 'cus_1')""",
    """INSERT INTO credits.sync_subscriptions (user_id, active, is_gifted, gifted_by)
       VALUES (:person, false, false, NULL), ('friend', true, true, :person)""",
    """INSERT INTO ops.stripe_events (id, type, stripe_created, livemode, payload, source, received_at)
       VALUES ('evt_1', 'payment_intent.processing', now(), false,
               jsonb_build_object('data', jsonb_build_object('object', jsonb_build_object(
                   'id', 'pi_1', 'receipt_email', CAST(:email AS text),
                   'description', 'for ' || CAST(:email AS text),
                   'metadata', jsonb_build_object('userId', CAST(:person AS text), 'purchaseId', 'p1')))),
               'webhook', now())""",
)


def _write_what_others_write(connection: Connection) -> None:
    for statement in WRITTEN_BY_OTHERS:
        names = {"person": PERSON, "email": EMAIL}
        given = {name: value for name, value in names.items() if f":{name}" in statement}
        connection.execute(text(statement), given)


def traces(engine: Engine, words: tuple[str, ...] = TRACES) -> list[str]:
    """Where one of the person's identifiers or texts stands, in any column of any table of the service."""
    found = []
    with engine.connect() as connection:
        tables = connection.execute(
            text(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
        ).scalars()
        for table in tables:
            for row in connection.execute(text(f"SELECT row_to_json(t)::text FROM {table} t")).scalars():
                found += [f"{table}: {trace}" for trace in words if trace.casefold() in row.casefold()]
    return found


def erase(engine: Engine) -> int:
    with transaction(engine) as connection:
        return erasure.erase(connection, PERSON, now=NOW)


def test_before_the_erasure_the_person_is_found_in_every_room(lived_in: Engine) -> None:
    rooms = {place.partition(":")[0] for place in traces(lived_in)}
    assert rooms >= {
        "credits.balances", "credits.transactions", "credits.reservations", "credits.usage_stats",
        "credits.stripe_customers", "credits.purchases", "credits.sync_subscriptions", "ops.usage_pending",
        "ops.idempotent_answers", "ops.jobs", "ops.stripe_events", "gifts.gift_codes", "gifts.gift_redemptions",
    }  # fmt: skip


def test_nothing_that_names_the_person_is_left_in_any_column_of_any_table(lived_in: Engine) -> None:
    assert erase(lived_in) > 0
    assert traces(lived_in) == []


def test_the_amounts_stay_in_the_books_under_one_pseudonym(lived_in: Engine) -> None:
    with lived_in.connect() as connection:
        before = connection.execute(text("SELECT sum(balance + held) FROM credits.balances")).scalar_one()
    erase(lived_in)
    with lived_in.connect() as connection:
        rows = connection.execute(
            text("SELECT user_id, balance, held FROM credits.balances WHERE user_id <> 'friend'")
        ).all()
        after = connection.execute(text("SELECT sum(balance + held) FROM credits.balances")).scalar_one()
        entry_owners = connection.execute(text("SELECT DISTINCT user_id FROM credits.transactions")).scalars()
        assert set(entry_owners) == {"friend", rows[0].user_id}
    assert len(rows) == 1
    # 500 - 20 - 5 spent + 10 received; the gift made and the reservation came back
    assert (rows[0].balance, rows[0].held) == (Decimal(485), Decimal(0))
    # the person's own gift and the one for the person's address went back to those who had made them
    assert after == before + 20


def test_open_reservations_and_active_gifts_are_closed(lived_in: Engine) -> None:
    erase(lived_in)
    with lived_in.connect() as connection:
        assert connection.execute(
            text("SELECT DISTINCT status::text FROM credits.reservations")
        ).scalars().all() == ["refunded"]
        statuses = connection.execute(text("SELECT status::text FROM gifts.gift_codes")).scalars().all()
    assert sorted(statuses) == [
        GiftStatus.CANCELLED.value, GiftStatus.CANCELLED.value, GiftStatus.DEPLETED.value
    ]  # fmt: skip


def test_erasing_again_and_erasing_a_stranger_answer_0(lived_in: Engine) -> None:
    erase(lived_in)
    assert erase(lived_in) == 0
    with transaction(lived_in) as connection:
        assert erasure.erase(connection, "nobody", now=NOW) == 0


def test_usage_statistics_rebuilt_after_an_erasure_do_not_bring_the_person_back(lived_in: Engine) -> None:
    erase(lived_in)
    with transaction(lived_in) as connection:
        usage_stats.rebuild(connection)
        assert connection.execute(text("SELECT count(*) FROM credits.usage_stats")).scalar_one() == 0


def test_who_was_erased_has_no_balance_and_may_begin_anew(lived_in: Engine) -> None:
    erase(lived_in)
    with pytest.raises(BalanceNotFound), transaction(lived_in) as connection:
        _use(connection, 1, "after")
    with transaction(lived_in) as connection:
        _grant(connection, PERSON, 7, "issue-of-erika")
        balance = ledger.balance_of(connection, PERSON)
    assert balance is not None
    assert balance.balance == 7


OTHER_ADDRESS = "Erika@Home.example"
KEPT_ADDRESSES = {
    "sync notices go there": (
        "INSERT INTO credits.sync_subscriptions (user_id, contact_email) VALUES (:person, :email)"
    ),
    "the old service wrote it as the creator's name": (
        """INSERT INTO gifts.gift_codes (code, creator_id, creator_name, total_credits, status)
           VALUES ('OLDONE', :person, :email, 5, 'cancelled')"""
    ),
    "the registration said it": (
        """INSERT INTO ops.jobs (id, kind, queue, payload, user_id, horizon, created_at, run_at, nudge_at)
           VALUES (gen_random_uuid(), 'redeem_pending_gifts', 'money',
                   jsonb_build_object('user_id', CAST(:person AS text), 'email', CAST(:email AS text)),
                   :person, '1 day', now(), now(), now())"""
    ),
}


@pytest.mark.parametrize("statement", KEPT_ADDRESSES.values(), ids=KEPT_ADDRESSES)
def test_gifts_for_any_address_of_the_person_are_closed_and_forget_it(engine: Engine, statement: str) -> None:
    with transaction(engine) as connection:
        _grant(connection, "friend", 100, "start")
        _gift(connection, "friend", email=OTHER_ADDRESS.lower(), message="very private wish")
        _gift(connection, "friend", email="somebody@home.example", message="another's")
        connection.execute(text(statement), {"person": PERSON, "email": OTHER_ADDRESS})
    assert erase(engine) > 0
    assert traces(engine, (*TRACES, OTHER_ADDRESS)) == []
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT message, status::text FROM gifts.gift_codes WHERE creator_id = 'friend' ORDER BY 2")
        ).all()
        friend = ledger.balance_of(connection, "friend")
    assert [tuple(row) for row in rows] == [("another's", "active"), (None, "cancelled")]
    assert friend is not None
    assert friend.balance == 90


def test_what_is_kept_for_the_keys_of_others_forgets_the_person_and_nobody_else(lived_in: Engine) -> None:
    """Answers as the routes keep them: to a giver, and to somebody who took the person's gift."""
    with transaction(lived_in) as connection:
        hers = _gift(connection, PERSON, message="a greeting, very private")
        gifts.redeem(connection, hers.code, Redeemer(user_id="friend", email=""), now=NOW)
        to_her = connection.execute(
            text("SELECT id::text FROM gifts.gift_codes WHERE creator_id = 'friend' AND status = 'active'")
        ).scalar_one()
        answers = (
            (
                "gift",
                "1",
                {"id": to_her, "targetEmail": EMAIL, "message": "very private", "creatorName": "f"},
            ),
            ("gift", "2", {"id": "other", "targetEmail": "x@y.example", "message": "hi", "creatorName": "f"}),
            ("redeem-gift", "3", {"message": hers.message, "creatorName": hers.creator_name, "credits": 10}),
            ("redeem-gift", "4", {"message": "hi", "creatorName": "zoe", "credits": 5}),
        )
        for operation, key, answer in answers:
            named = Key(user_id="friend", operation=operation, key=key)
            once(connection, named, {}, partial(dict, answer), now=NOW)
    assert erase(lived_in) > 0
    assert traces(lived_in) == []
    with lived_in.connect() as connection:
        kept = connection.execute(text("SELECT answer FROM ops.idempotent_answers ORDER BY key")).scalars()
        assert list(kept) == [
            {"id": to_her, "targetEmail": None, "message": None, "creatorName": "f"},
            answers[1][2],
            {"message": None, "creatorName": None, "credits": 10},
            answers[3][2],
        ]
    assert erase(lived_in) == 0
