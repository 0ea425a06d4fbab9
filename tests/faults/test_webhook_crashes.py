"""Killed at every statement and commit of a webhook's life: told of once, delivered at least once, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Engine

from domain import gifts, reservations
from domain.database import transaction
from domain.gifts import Redeemer
from domain.reservations import Released
from domain.webhooks import EventType, ReservationExpired, redelivering, tell
from domain.webhooks.lanes import CLAIMED_FOR
from tests.faults.test_gift_crashes import Databases, databases
from tests.support.crashes import at_every_statement
from tests.support.gifts import LATER, make
from tests.support.jobs import engine_on
from tests.support.ledger import NOW, checked_engine, give, post, scalar, take
from tests.support.webhooks import App, Post, answering, listen

__all__ = ["databases"]

URL = "https://app.example/hooks"


def sweep(
    copies: Callable[[], str],
    work: Callable[[Engine], object],
    recover: Callable[[Engine], object],
    *,
    deaths_min: int,
    moves_credits: bool = False,
) -> None:
    """Kill `work` everywhere; `recover` does what happens then, and judges.

    Where credits move the books must add up each time.
    """

    def judged(url: str) -> None:
        with (checked_engine if moves_credits else engine_on)(url) as engine:
            recover(engine)

    deaths = at_every_statement(copies, work, judged)
    print(f"killed at {deaths} places")
    assert deaths >= deaths_min


def events_of(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT type FROM ops.app_events ORDER BY seq").scalars())


def test_a_gift_is_redeemed_and_told_of_together_or_not_at_all(databases: Databases) -> None:
    codes: list[str] = []

    def seed(engine: Engine) -> None:
        codes.append(make(engine).code)
        listen(engine)

    def redeem(engine: Engine) -> None:
        with transaction(engine) as connection:
            gifts.redeem(connection, codes[0], Redeemer(user_id="ben", email=""), now=LATER)

    def recover(engine: Engine) -> None:
        redeemed = scalar(engine, "SELECT count(*) FROM gifts.gift_redemptions WHERE status = 'success'")
        assert events_of(engine) == ["gift.redeemed"] * redeemed
        if not redeemed:
            redeem(engine)
        office = Post(engine, now=LATER)
        office.deliver()
        assert office.app.types() == ["gift.redeemed"]

    sweep(databases(seed), redeem, recover, deaths_min=8, moves_credits=True)


def test_reservations_expire_and_are_told_of_together_or_not_at_all(databases: Databases) -> None:
    def seed(engine: Engine) -> None:
        listen(engine)
        for number in range(3):
            with transaction(engine) as connection:
                amount = Decimal(number + 1)
                reservations.reserve(connection, user_id="anna", amount=amount, reason="a:b", now=NOW)

    after = NOW + timedelta(days=2)

    def expire(engine: Engine) -> None:
        with transaction(engine) as connection:
            reservations.release_expired(connection, Released(), now=after)

    def recover(engine: Engine) -> None:
        expired = scalar(engine, "SELECT count(*) FROM credits.reservations WHERE is_expired")
        assert events_of(engine) == ["reservation.expired"] * expired
        expire(engine)
        assert events_of(engine) == ["reservation.expired"] * 3

    sweep(databases(seed), expire, recover, deaths_min=6, moves_credits=True)


def test_what_is_delivered_arrives_at_least_once_in_each_persons_order(databases: Databases) -> None:
    """The app remembers across the crash what it was sent, as real ones do."""

    def seed(engine: Engine) -> None:
        listen(engine, url=URL)
        for number in range(2):
            for user_id in ("anna", "ben"):
                event = ReservationExpired(
                    user_id=user_id, reservation_id=UUID(int=number), amount=Decimal(number), app_id=None
                )
                with transaction(engine) as connection:
                    tell(connection, [event], now=NOW)

    apps: list[App] = []

    def deliver(engine: Engine) -> None:
        apps.append(App())
        Post(engine, apps[-1]).deliver()

    def recover(engine: Engine) -> None:
        again = Post(engine, apps[-1], now=NOW + CLAIMED_FOR + timedelta(seconds=1))
        again.deliver()
        first_time: dict[str, list[int]] = defaultdict(list)
        seen: set[str] = set()
        for told in apps[-1].told():
            if told["id"] not in seen:
                seen.add(told["id"])
                first_time[told["data"]["userId"]].append(int(told["data"]["amount"]))
        assert first_time == {"anna": [0, 1], "ben": [0, 1]}
        assert len(apps[-1].told()) - len(seen) <= 2, "a lane repeats what it was on, and nothing else"
        states = "SELECT string_agg(DISTINCT state, ' ') FROM ops.webhook_deliveries"
        assert scalar(engine, states) == "delivered"
        assert scalar(engine, "SELECT count(*) FROM ops.webhook_lanes") == 0

    sweep(databases(seed), deliver, recover, deaths_min=30)


def test_what_fails_is_still_tried_and_given_up_whoever_dies(databases: Databases) -> None:
    def seed(engine: Engine) -> None:
        listen(engine, url=URL)
        event = ReservationExpired(user_id="anna", reservation_id=UUID(int=1), amount=Decimal(1), app_id=None)
        with transaction(engine) as connection:
            tell(connection, [event], now=NOW)

    broken = App(answers={URL: answering(500)})

    def fail(engine: Engine) -> None:
        Post(engine, broken).deliver()

    def recover(engine: Engine) -> None:
        later = NOW + timedelta(minutes=1)
        office = Post(engine, now=later)
        assert office.deliver() == 1
        assert office.app.types() == ["reservation.expired"]

    sweep(databases(seed), fail, recover, deaths_min=10)


def test_a_crossing_is_told_of_once_whoever_dies_while_looking(databases: Databases) -> None:
    def seed(engine: Engine) -> None:
        post(engine, give("ben", 100))
        listen(engine, EventType.BALANCE_LOW, threshold=50)
        Post(engine).look()
        post(engine, take("anna", 60), take("ben", 70))

    def look(engine: Engine) -> None:
        Post(engine, now=NOW + timedelta(seconds=5)).look()

    def recover(engine: Engine) -> None:
        told = events_of(engine)
        assert told in ([], ["balance.low"] * 2)
        office = Post(engine, now=NOW + timedelta(seconds=10))
        assert office.look() == 2 - len(told)
        office.deliver()
        assert sorted(one["data"]["userId"] for one in office.app.told()) == ["anna", "ben"]

    sweep(databases(seed), look, recover, deaths_min=9)


def test_redelivering_happens_as_a_whole_or_not_at_all(databases: Databases) -> None:
    made: list[UUID] = []

    def seed(engine: Engine) -> None:
        made.append(listen(engine, url=URL).id)
        for number in range(2):
            event = ReservationExpired(
                user_id="anna", reservation_id=UUID(int=number), amount=Decimal(number), app_id=None
            )
            with transaction(engine) as connection:
                tell(connection, [event], now=NOW)
        office = Post(engine, App(answers={URL: answering(500)}))
        office.deliver_until(NOW + timedelta(days=4), step=timedelta(hours=1))

    after = NOW + timedelta(days=4)

    def redeliver(engine: Engine) -> None:
        with transaction(engine) as connection:
            redelivering.redeliver_failed(connection, made[0], since=NOW, now=after)

    def recover(engine: Engine) -> None:
        redeliver(engine)
        office = Post(engine, now=after)
        office.deliver()
        assert [int(one["data"]["amount"]) for one in office.app.told()] == [0, 1]

    sweep(databases(seed), redeliver, recover, deaths_min=5)
