"""Killed at every statement and commit of a gift's life: the end is that of a life without a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain import gifts, idempotency
from domain.database import transaction
from domain.errors import GiftExpired, GiftNotActive, Refusal
from domain.gifts import ExpireGifts, Redeemer, RedeemPendingGifts, ending, pending
from domain.idempotency import Key
from domain.jobs import add_job
from tests.servers import SharedPostgres
from tests.support.crashes import at_every_statement
from tests.support.gifts import LATER, OVER, cancel, make
from tests.support.jobs import engine_on, run_waiting
from tests.support.ledger import checked_engine, give, post
from workers.actors import gifts as gift_actors

AFTER_A_CRASH = timedelta(minutes=5)
"""Longer than a job pauses whose worker died."""

ADDRESS = "ben@example.com"

Seed = Callable[[Engine], None]
Databases = Callable[[Seed], Callable[[], str]]


@pytest.fixture
def databases(postgres: SharedPostgres) -> Iterator[Databases]:
    """`databases(seed)` makes databases that are all copies of the one that `seed` filled."""
    names: list[str] = []

    def seeded(seed: Seed) -> Callable[[], str]:
        original = postgres.create_database()
        names.append(original)
        with engine_on(postgres.url(original)) as engine:
            post(engine, give("anna", 100))
            seed(engine)

        def copy() -> str:
            names.append(postgres.create_database(like=original))
            return postgres.url(names[-1])

        return copy

    yield seeded
    for name in names:
        postgres.drop_database(name)


def outcome(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """How everything stands, but for ids and instants."""
    queries = {
        "gifts": "SELECT status::text, redeemed, count(*) FROM gifts.gift_codes GROUP BY 1, 2 ORDER BY 1",
        "attempts": "SELECT redeemer_user_id, status::text, credits_received FROM gifts.gift_redemptions ORDER BY 2",
        "balances": "SELECT user_id, balance, total_earned, total_spent FROM credits.balances ORDER BY 1",
        "entries": "SELECT user_id, type::text, amount FROM credits.transactions ORDER BY user_id, version",
        "jobs": "SELECT kind, state, result::text FROM ops.jobs",
    }
    with engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(text(query))] for name, query in queries.items()
        }


def ends_alike(
    copies: Callable[[], str],
    work: Callable[[Engine], object],
    again: Callable[[Engine], object],
    *,
    deaths_min: int,
) -> dict[str, list[tuple[Any, ...]]]:
    """Kill `work` at every statement, do `again` what is done then, and compare; the end of all of them."""
    with checked_engine(copies()) as engine:
        work(engine)
        wanted = outcome(engine)

    def recover(url: str) -> None:
        with checked_engine(url) as engine:
            again(engine)
            assert outcome(engine) == wanted

    deaths = at_every_statement(copies, work, recover)
    print(f"killed at {deaths} places")
    assert deaths >= deaths_min
    return wanted


def with_key(engine: Engine, work: Callable[[Any], object]) -> None:
    """What the front does for a request with a key."""
    key = Key(user_id="ben", operation="x", key="k")
    with transaction(engine) as connection:

        def answer() -> dict[str, str]:
            work(connection)
            return {"ok": "yes"}

        assert idempotency.once(connection, key, {}, answer, now=LATER) == {"ok": "yes"}


def test_redeeming_and_repeating_it(databases: Databases) -> None:
    codes: list[str] = []
    copies = databases(lambda engine: codes.append(make(engine, target_email=ADDRESS).code))
    redeemer = Redeemer(user_id="ben", email=ADDRESS)

    def redeem(engine: Engine) -> None:
        with_key(engine, lambda connection: gifts.redeem(connection, codes[0], redeemer, now=LATER))

    end = ends_alike(copies, redeem, redeem, deaths_min=7)
    assert end["attempts"] == [("ben", "success", 10)]
    assert end["balances"][1] == ("ben", Decimal(10), Decimal(10), Decimal(0))


def test_making_a_gift_and_repeating_it(databases: Databases) -> None:
    def create(engine: Engine) -> None:
        with_key(
            engine,
            lambda connection: gifts.create(connection, WANTED, base_url="https://x.example", now=LATER),
        )

    end = ends_alike(databases(lambda _engine: None), create, create, deaths_min=5)
    assert end["gifts"] == [("active", 0, 1)]
    assert end["balances"] == [("anna", Decimal(90), Decimal(100), Decimal(10))]


WANTED = gifts.WantedGift(
    creator_id="anna",
    creator_name="anna",
    total_credits=10,
    type=gifts.GiftType.SIMPLE,
    target_email=None,
    message=None,
    expires_at=OVER,
)


def test_touching_an_expired_gift_pays_back_once_and_keeps_an_attempt(databases: Databases) -> None:
    codes: list[str] = []
    copies = databases(lambda engine: codes.append(make(engine).code))
    refusals: list[type[Refusal]] = []

    def touch(engine: Engine) -> None:
        refusals.clear()
        try:
            with transaction(engine) as connection:
                gifts.redeem(connection, codes[0], Redeemer(user_id="ben", email=""), now=OVER)
        except (GiftExpired, GiftNotActive) as refusal:
            refusals.append(type(refusal))

    def unless_it_was_refused(engine: Engine) -> None:
        if refusals != [GiftExpired]:
            touch(engine)

    end = ends_alike(copies, touch, unless_it_was_refused, deaths_min=5)
    assert end["gifts"] == [("expired", 0, 1)]
    assert end["attempts"] == [("ben", "failed_expired", 0)]
    assert end["balances"] == [("anna", Decimal(100), Decimal(100), Decimal(0))]


def test_cancelling_and_trying_again(databases: Databases) -> None:
    made: list[gifts.Gift] = []
    copies = databases(lambda engine: made.append(make(engine)))

    def cancel_it(engine: Engine) -> None:
        cancel(engine, made[0].id)

    def again(engine: Engine) -> None:
        if outcome(engine)["gifts"] == [("active", 0, 1)]:
            cancel_it(engine)

    end = ends_alike(copies, cancel_it, again, deaths_min=4)
    assert end["balances"] == [("anna", Decimal(100), Decimal(100), Decimal(0))]


def work_on_jobs(engine: Engine, now: datetime) -> None:
    run_waiting(engine, gift_actors.HANDLERS, lambda: now)


@pytest.fixture
def two_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few gifts to a transaction, so that a job has several."""
    monkeypatch.setattr(pending, "REDEEMED_PER_CALL_MAX", 2)
    monkeypatch.setattr(ending, "EXPIRED_PER_CALL_MAX", 2)


@pytest.mark.usefixtures("two_a_step")
def test_a_registrations_job_of_several_steps(databases: Databases) -> None:
    def seed(engine: Engine) -> None:
        for _ in range(5):
            make(engine, total_credits=3, target_email=ADDRESS)
        with transaction(engine) as connection:
            add_job(connection, RedeemPendingGifts(user_id="ben", email=ADDRESS), now=LATER)

    end = ends_alike(
        databases(seed),
        lambda engine: work_on_jobs(engine, LATER),
        lambda engine: work_on_jobs(engine, LATER + AFTER_A_CRASH),
        deaths_min=20,
    )
    assert end["gifts"] == [("depleted", 1, 5)]
    assert end["jobs"] == [("redeem_pending_gifts", "done", '{"redeemed": 5, "totalCredits": 15}')]


@pytest.mark.usefixtures("two_a_step")
def test_the_job_that_ends_what_is_over(databases: Databases) -> None:
    def seed(engine: Engine) -> None:
        for _ in range(5):
            make(engine, total_credits=3)
        with transaction(engine) as connection:
            add_job(connection, ExpireGifts(), now=OVER)

    end = ends_alike(
        databases(seed),
        lambda engine: work_on_jobs(engine, OVER),
        lambda engine: work_on_jobs(engine, OVER + AFTER_A_CRASH),
        deaths_min=20,
    )
    assert end["gifts"] == [("expired", 0, 5)]
    assert end["balances"] == [("anna", Decimal(100), Decimal(100), Decimal(0))]
