"""What apps are told: each event once, in the transaction of what it tells of, with ids and amounts alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, event

from domain import gifts, reservations
from domain.database import transaction
from domain.errors import GiftNotActive, ReservationExpired
from domain.gifts import GiftType, Redeemer, WantedGift
from domain.reservations import Released
from domain.webhooks import EventType, app_of_reason, endpoints
from domain.webhooks.events import KINDS, AppEvent
from tests.support.ledger import NOW, give, post, scalar
from tests.support.payments import Shop
from tests.support.sync import Sync
from tests.support.told import Told
from tests.support.webhooks import App, Post, listen, silent


def redeem(engine: Engine, redeemer: str = "ben", *, amount: int = 40) -> gifts.Gift:
    wanted = WantedGift(
        creator_id="anna",
        creator_name="Anna",
        total_credits=amount,
        type=GiftType.PERSONALIZED,
        target_email="ben@example.org",
        message="very private",
        expires_at=NOW + timedelta(days=30),
    )
    with transaction(engine) as connection:
        gift = gifts.create(connection, wanted, base_url="https://credits.example", now=NOW)
    with transaction(engine) as connection:
        who = Redeemer(user_id=redeemer, email="ben@example.org", app_id="chat")
        gifts.redeem(connection, gift.code, who, now=NOW)
    return gift


def reserve(engine: Engine, amount: int = 30, reason: str = "research:very private run") -> Any:
    with transaction(engine) as connection:
        return reservations.reserve(
            connection, user_id="anna", amount=Decimal(amount), reason=reason, now=NOW
        ).reservation_id


def test_a_redeemed_gift_is_told_with_who_made_it(engine: Engine, post_office: Post) -> None:
    listen(engine)
    post(engine, give("anna", 500))
    gift = redeem(engine)
    post_office.deliver()
    [told] = post_office.app.told()
    assert told["type"] == "gift.redeemed"
    assert told["timestamp"] == "2026-11-22T15:28:32.039Z"
    assert told["data"] == {
        "userId": "ben",
        "giftId": str(gift.id),
        "creatorId": "anna",
        "credits": 40,
        "appId": "chat",
    }


def test_a_refused_redemption_is_not_told(engine: Engine, post_office: Post) -> None:
    listen(engine)
    post(engine, give("anna", 500))
    gift = redeem(engine)
    with pytest.raises(GiftNotActive), transaction(engine) as connection:
        gifts.redeem(connection, gift.code, Redeemer(user_id="carl", email=""), now=NOW)
    post_office.deliver()
    assert post_office.app.types() == ["gift.redeemed"]


def test_reservations_that_expire_are_told_by_the_sweep_and_by_a_late_commit(
    engine: Engine, post_office: Post
) -> None:
    listen(engine)
    post(engine, give("anna", 500))
    late, swept = reserve(engine, 20), reserve(engine, 30, "a reason with the person's own words")
    after = NOW + timedelta(days=2)
    with pytest.raises(ReservationExpired), transaction(engine) as connection:
        reservations.commit(connection, late, now=after)
    with transaction(engine) as connection:
        reservations.release_expired(connection, Released(), now=after)
    post_office.now = after
    post_office.deliver()
    assert [told["data"] for told in post_office.app.told()] == [
        {"userId": "anna", "reservationId": str(late), "amount": 20, "appId": "research"},
        {"userId": "anna", "reservationId": str(swept), "amount": 30, "appId": None},
    ]


def test_a_reservation_that_is_refunded_in_time_is_not_told(engine: Engine, post_office: Post) -> None:
    listen(engine)
    post(engine, give("anna", 500))
    with transaction(engine) as connection:
        reservations.refund(connection, reserve(engine), now=NOW)
    assert post_office.deliver() == 0


@pytest.mark.parametrize(
    ("reason", "app"),
    [
        ("research:run-7", "research"),
        ("my-app.v2_x:", "my-app.v2_x"),
        ("research", None),
        ("anna@example.org:run", None),
        ("a very private matter: indeed", None),
        (":", None),
        (f"{'a' * 65}:run", None),
    ],
)
def test_a_reason_names_an_app_or_is_left_out(reason: str, app: str | None) -> None:
    assert app_of_reason(reason) == app


def test_a_purchase_is_told_when_it_is_paid_and_when_money_goes_back_and_comes_again(
    shop: Shop, post_office: Post
) -> None:
    listen(shop.engine)
    row = shop.ordered(amount=1_000, cents=1_000)
    paid = Told(row.stripe_payment_intent_id, row.id)
    shop.deliver(paid.succeeded(), times=2)
    shop.deliver(paid.charge_refunded(300), times=2)
    shop.deliver(paid.dispute("created", "needs_response", cents=700))
    shop.deliver(paid.dispute("closed", "won", cents=700, seconds=90))
    post_office.now = shop.now
    post_office.deliver()
    told = post_office.app.told()
    facts = {"userId": row.user_id, "purchaseId": str(row.id)}
    assert [(one["type"], one["data"]) for one in told] == [
        ("purchase.completed", {**facts, "packageId": None, "credits": 1_000, "priceEuroCents": 1_000}),
        ("purchase.reversed", {**facts, "credits": 1_000, "creditsTakenBack": 300, "change": -300}),
        ("purchase.reversed", {**facts, "credits": 1_000, "creditsTakenBack": 1_000, "change": -700}),
        ("purchase.reversed", {**facts, "credits": 1_000, "creditsTakenBack": 300, "change": 700}),
    ]
    assert sum(one["data"]["change"] for one in told[1:]) + 1_000 == shop.balance(row.user_id)


def test_what_was_refunded_before_it_was_paid_is_told_in_that_order(shop: Shop, post_office: Post) -> None:
    listen(shop.engine)
    row = shop.ordered()
    told = Told(row.stripe_payment_intent_id, row.id)
    shop.deliver(told.charge_refunded(300), told.succeeded())
    post_office.now = shop.now
    post_office.deliver()
    assert post_office.app.types() == ["purchase.completed", "purchase.reversed"]


@pytest.fixture
def sync(engine: Engine) -> Sync:
    return Sync(engine)


def sync_events(sync: Sync, post_office: Post) -> list[tuple[str, dict[str, Any]]]:
    post_office.now = sync.now
    post_office.deliver()
    return [(told["type"], told["data"]) for told in post_office.app.told()]


def test_a_pause_is_told_and_so_is_its_end_by_new_credits(sync: Sync, post_office: Post) -> None:
    listen(sync.engine)
    sync.fund("anna", 30)
    sync.activate("anna", auto_resume=True)
    sync.wait(days=40)
    sync.charge()
    sync.charge()
    assert sync_events(sync, post_office) == [
        (
            "sync.paused",
            {
                "userId": "anna",
                "interval": "monthly",
                "price": 30,
                "dueAt": "2026-02-28T15:28:32.039Z",
                "autoResume": True,
            },
        )
    ]
    sync.fund("anna", 30)
    sync.resume()
    assert sync_events(sync, post_office)[1:] == [
        (
            "sync.resumed",
            {
                "userId": "anna",
                "interval": "monthly",
                "gifted": False,
                "amountCharged": 30,
                "nextChargeAt": "2026-04-12T15:28:32.039Z",
            },
        )
    ]


@pytest.mark.parametrize("how", ["activated", "gifted"])
def test_a_pause_that_a_person_or_an_administrator_ends_is_told(
    sync: Sync, post_office: Post, how: str
) -> None:
    sync.fund("anna", 30)
    sync.activate("anna")
    sync.wait(days=40)
    sync.charge()
    listen(sync.engine)
    sync.fund("anna", 30)
    if how == "activated":
        sync.activate("anna")
    else:
        sync.gift("anna")
        sync.gift("anna")
    [(kind, data)] = sync_events(sync, post_office)
    assert (kind, data["gifted"]) == ("sync.resumed", how == "gifted")
    assert (data["nextChargeAt"] is None) == (how == "gifted")


def test_what_ends_no_pause_is_not_told(sync: Sync, post_office: Post) -> None:
    listen(sync.engine)
    sync.fund("anna", 100)
    sync.fund("ben", 30)
    sync.activate("anna")
    sync.deactivate("anna")
    sync.activate("anna")
    sync.gift("anna")
    sync.revoke("anna")
    sync.activate("ben")
    assert sync_events(sync, post_office) == []


def test_a_thousand_paused_at_once_are_told_each(sync: Sync, post_office: Post) -> None:
    people = [f"user-{number:04}" for number in range(1_000)]
    sync.sql(
        """INSERT INTO credits.sync_subscriptions (user_id, active, next_charge_at)
           SELECT 'user-' || lpad(n::text, 4, '0'), true, :now FROM generate_series(0, 999) n""",
        now=sync.now,
    )
    listen(sync.engine)
    sync.charge()
    assert scalar(sync.engine, "SELECT count(*) FROM ops.webhook_lanes") == 1_000
    told = sync_events(sync, post_office)
    assert sorted(data["userId"] for _, data in told) == people


def expire(engine: Engine) -> None:
    reserve(engine)
    with transaction(engine) as connection:
        reservations.release_expired(connection, Released(), now=NOW + timedelta(days=2))


EVENTS: dict[str, Callable[[Engine], object]] = {
    "gift": redeem,
    "reservation": expire,
}


@pytest.mark.parametrize("what", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("listener", ["nobody", "others", "a paused one"])
def test_where_nobody_listens_nothing_is_written(
    engine: Engine, what: Callable[[Engine], object], listener: str
) -> None:
    if listener == "others":
        listen(engine, EventType.SYNC_PAUSED)
    if listener == "a paused one":
        made = listen(engine)
        with transaction(engine) as connection:
            endpoints.pause(connection, made.id, now=NOW)
    post(engine, give("anna", 500))
    what(engine)
    for table in ("app_events", "webhook_deliveries", "webhook_lanes"):
        assert scalar(engine, f"SELECT count(*) FROM ops.{table}") == 0, table


@pytest.fixture
def statements(engine: Engine) -> Iterator[list[str]]:
    """What is sent to the database."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_where_nobody_listens_telling_is_one_look(engine: Engine, statements: list[str]) -> None:
    post(engine, give("anna", 500))
    reserve(engine)
    statements.clear()
    with transaction(engine) as connection:
        reservations.release_expired(connection, Released(), now=NOW + timedelta(days=2))
    asked = [one for one in statements if "webhook" in one or "app_events" in one]
    assert ["low_balances" in one for one in asked] == [False, True], "and one question who was low"


def test_the_door_of_the_ledger_knows_nothing_of_webhooks(engine: Engine, statements: list[str]) -> None:
    """Spending writes and reads nothing for them: not in the function, and not beside it."""
    listen(engine)
    post(engine, give("anna", 500))
    statements.clear()
    post(engine, give("anna", 1))
    assert len(statements) == 1
    source = scalar(engine, "SELECT prosrc FROM pg_proc WHERE proname = 'post'")
    assert "webhook" not in source
    assert "low_balance" not in source


def test_an_event_goes_to_everybody_who_listens_under_one_id(engine: Engine, post_office: Post) -> None:
    one = listen(engine, EventType.GIFT_REDEEMED, url="https://one.example/")
    two = listen(engine, EventType.GIFT_REDEEMED, EventType.SYNC_PAUSED, url="https://two.example/")
    listen(engine, EventType.SYNC_PAUSED, url="https://three.example/")
    post(engine, give("anna", 500))
    redeem(engine)
    post_office.deliver()
    assert post_office.app.types("https://three.example/") == []
    assert post_office.app.told(one.url) == post_office.app.told(two.url)
    assert len(post_office.app.told()) == 2


def test_no_kind_has_room_for_words_or_addresses() -> None:
    allowed = {
        "userId", "balance", "threshold", "purchaseId", "packageId", "credits", "priceEuroCents",
        "creditsTakenBack", "change", "giftId", "creatorId", "appId", "interval", "price", "dueAt", "autoResume",
        "gifted", "amountCharged", "nextChargeAt", "reservationId", "amount", "endpointId",
    }  # fmt: skip
    names = {field.encode_name for kind in KINDS for field in msgspec.structs.fields(kind)}
    assert names == allowed
    assert {kind.type for kind in KINDS} == {*EventType, "webhook.test"}
    assert all(issubclass(kind, AppEvent) for kind in KINDS)


def test_nothing_private_is_in_what_is_sent(engine: Engine, post_office: Post) -> None:
    listen(engine)
    post(engine, give("anna", 500))
    redeem(engine)
    expire(engine)
    post_office.forward(days=3)
    post_office.deliver()
    sent = b" ".join(post_office.app.bodies)
    assert post_office.app.types() == ["gift.redeemed", "reservation.expired"]
    for word in (b"private", b"@", b"Anna", b"run"):
        assert word not in sent


def test_the_app_that_takes_nothing_is_asked_again_with_the_same_id_and_bytes(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app = App(answers={made.url: silent})
    post(engine, give("anna", 500))
    redeem(engine)
    post_office.deliver()
    post_office.forward(seconds=6)
    post_office.deliver()
    first, second = post_office.app.headers
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert len(set(post_office.app.bodies)) == 1
