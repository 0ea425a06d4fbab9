"""Gifts: who pays, who receives, who may not, and what is kept of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from domain import gifts
from domain.amounts import BALANCE_MAX
from domain.errors import (
    GiftAlreadyClaimed,
    GiftCodeNotFound,
    GiftExpired,
    GiftNotActive,
    GiftNotFound,
    GiftNotOpen,
    GiftReservedForAnother,
    InsufficientForGift,
)
from domain.gifts import GiftStatus, creating, ending, pending
from domain.gifts.codes import ALPHABET, CODE_CHARACTERS, new_code, normal_address, public_name
from domain.gifts.creating import COLLISIONS_MAX
from domain.ids import new_id
from domain.ledger import EntryType
from domain.ledger.post import POSTINGS_PER_CALL_MAX
from tests.support.gifts import (
    LATER,
    OVER,
    attempts,
    cancel,
    expire_due,
    make,
    old_gift,
    redeem,
    redeem_pending,
    status,
)
from tests.support.ledger import NOW, balance, entries, execute, give, post, scalar, take


@pytest.fixture
def rich(engine: Engine) -> Engine:
    """Anna has a hundred credits."""
    post(engine, give("anna", 100))
    return engine


def figures(engine: Engine, user_id: str) -> tuple[int, int, int]:
    """Balance, total earned and total spent: whole, as gifts are."""
    found = balance(engine, user_id)
    assert all(one == int(one) for one in (found.balance, found.total_earned, found.total_spent))
    return int(found.balance), int(found.total_earned), int(found.total_spent)


def test_the_creator_pays_at_once_in_one_entry(rich: Engine) -> None:
    gift = make(rich, app_id="chat")
    assert figures(rich, "anna") == (90, 100, 10)
    entry = entries(rich, "anna")[0]
    assert entry.id == gift.reservation_transaction_id
    assert (entry.type, int(entry.amount), entry.app_id) == (EntryType.GIFT, -10, "gifts")
    assert entry.metadata == {"giftId": str(gift.id), "sourceAppId": "chat"}
    assert gift.short_url == f"https://credits.example.com/g/{gift.code}"


@pytest.mark.parametrize("user_id", ["anna", "nobody"])
def test_who_has_too_little_or_no_balance_makes_no_gift(rich: Engine, user_id: str) -> None:
    with pytest.raises(InsufficientForGift):
        make(rich, user_id, 101)
    assert scalar(rich, "SELECT count(*) FROM gifts.gift_codes") == 0
    assert figures(rich, "anna") == (100, 100, 0)


def test_who_redeems_earns_and_gets_a_balance(rich: Engine) -> None:
    gift = make(rich)
    redeemed = redeem(rich, gift.code)
    assert redeemed.balance == 10
    assert figures(rich, "ben") == (10, 10, 0)
    entry = entries(rich, "ben")[0]
    assert (entry.type, int(entry.amount), entry.app_id) == (EntryType.GIFT, 10, "gifts")
    assert status(rich, gift) == ("depleted", 1)
    assert attempts(rich) == [("ben", "success")]


def test_a_code_is_found_whatever_its_case_and_with_spaces_around_it(rich: Engine) -> None:
    gift = make(rich)
    with rich.connect() as connection:
        assert gifts.look_up(connection, f" {gift.code.lower()} ", now=NOW) == gift
    redeem(rich, f" {gift.code.lower()} ")


@pytest.mark.parametrize("typed", ["", "ABCDEFGHJK", "A" * 33, "A" * 250, "%", "ß" * 10])
def test_what_is_no_code_is_not_found_and_nothing_is_kept(rich: Engine, typed: str) -> None:
    make(rich)
    with pytest.raises(GiftCodeNotFound):
        redeem(rich, typed)
    with rich.connect() as connection, pytest.raises(GiftCodeNotFound):
        gifts.look_up(connection, typed, now=NOW)
    assert attempts(rich) == []


def test_a_depleted_gift_says_so_and_its_redeemer_has_claimed_it(rich: Engine) -> None:
    gift = make(rich)
    redeem(rich, gift.code)
    with pytest.raises(GiftNotActive) as refusal:
        redeem(rich, gift.code, "cleo")
    assert refusal.value.status == "depleted"
    with pytest.raises(GiftAlreadyClaimed):
        redeem(rich, gift.code)
    assert attempts(rich) == [
        ("ben", "failed_already_claimed"),
        ("ben", "success"),
        ("cleo", "failed_depleted"),
    ]
    assert figures(rich, "ben") == (10, 10, 0)


def test_a_cancelled_gift_pays_back_what_was_spent_and_earns_nothing(rich: Engine) -> None:
    gift = make(rich)
    assert cancel(rich, gift.id).total_credits == 10
    assert figures(rich, "anna") == (100, 100, 0)
    entry = entries(rich, "anna")[0]
    assert (entry.type, int(entry.amount)) == (EntryType.REFUND, 10)
    assert status(rich, gift) == ("cancelled", 0)
    with pytest.raises(GiftNotActive) as refusal:
        redeem(rich, gift.code)
    assert refusal.value.status == "cancelled"
    with pytest.raises(GiftNotOpen):
        cancel(rich, gift.id)
    assert figures(rich, "anna") == (100, 100, 0)


def test_nobody_cancels_the_gift_of_another(rich: Engine) -> None:
    gift = make(rich)
    for user_id, gift_id in (("ben", gift.id), ("anna", new_id(NOW))):
        with pytest.raises(GiftNotFound):
            cancel(rich, gift_id, user_id)
    assert status(rich, gift) == ("active", 0)


def test_an_expired_gift_that_is_touched_pays_back_at_once_and_is_recorded_although_refused(
    rich: Engine,
) -> None:
    gift = make(rich)
    with pytest.raises(GiftExpired):
        redeem(rich, gift.code, now=OVER)
    assert status(rich, gift) == ("expired", 0)
    assert figures(rich, "anna") == (100, 100, 0)
    with pytest.raises(GiftNotActive) as refusal:
        redeem(rich, gift.code, now=OVER)
    assert refusal.value.status == "expired"
    assert attempts(rich) == [("ben", "failed_expired")] * 2
    assert expire_due(rich) == 0


def test_a_gift_can_be_redeemed_until_the_very_end_of_its_time(rich: Engine) -> None:
    gift = make(rich)
    redeem(rich, gift.code, now=OVER - timedelta(microseconds=1))


def test_the_sweep_ends_what_is_over_and_nothing_else(rich: Engine) -> None:
    over, soon, taken = make(rich), make(rich, expires_at=OVER + timedelta(seconds=1)), make(rich)
    redeem(rich, taken.code)
    assert expire_due(rich) == 1
    assert [status(rich, gift)[0] for gift in (over, soon, taken)] == ["expired", "active", "depleted"]
    assert figures(rich, "anna") == (80, 100, 20)
    assert expire_due(rich) == 0


def test_a_gift_that_is_over_looks_expired_before_it_is_ended(rich: Engine) -> None:
    gift = make(rich, target_email="ben@x.com")
    with rich.connect() as connection:
        assert gifts.look_up(connection, gift.code, now=OVER).status is GiftStatus.EXPIRED
        [made] = gifts.created_by(connection, "anna", limit=5, offset=0, now=OVER)
        assert made.status is GiftStatus.EXPIRED
        assert gifts.pending_for(connection, "ben@x.com", now=OVER) == []
    assert redeem_pending(rich, "ben@x.com", now=OVER).redeemed == 0
    assert status(rich, gift) == ("active", 0)


def test_one_creator_who_cannot_be_paid_back_stops_nobody_elses_gift(engine: Engine) -> None:
    post(engine, give("anna", 100), give("zoe", 100))
    stuck, free = make(engine, "zoe"), make(engine)
    execute(engine, "UPDATE credits.balances SET balance = 1e12 WHERE user_id = 'zoe'")
    assert expire_due(engine) == 1
    assert (status(engine, stuck), status(engine, free)) == (("active", 0), ("expired", 0))


def test_only_the_named_address_may_redeem_and_a_wrong_user_is_recorded(rich: Engine) -> None:
    gift = make(rich, target_email="Anna.B@X.com")
    for email in ("ben@x.com", "", "anna.b@x.com.evil.example", "annab@x.com"):
        with pytest.raises(GiftReservedForAnother):
            redeem(rich, gift.code, "mallory", email)
    assert attempts(rich) == [("mallory", "failed_wrong_user")] * 4
    assert redeem(rich, gift.code, "anna-b", " anna.b@x.COM ").balance == 10


@pytest.mark.parametrize(
    ("wanted", "had", "is_same"),
    [
        ("Anna@X.com", "anna@x.com", True),
        ("ÄNNA@X.com", "änna@x.com", True),
        ("anna@straße.de", "anna@strasse.de", False),
        ("kim@x.com", "\u212aim@x.com", False),
        ("ian@x.com", "\u0131an@x.com", False),
        ("anna@x.com", "anna@x.com ", True),
    ],
)
def test_addresses_compare_without_case_and_no_two_mailboxes_are_one(
    wanted: str, had: str, is_same: bool
) -> None:
    assert (normal_address(wanted) == normal_address(had)) is is_same


def test_an_empty_address_is_nobodys(engine: Engine) -> None:
    old_gift(engine, "AAAAAA", type="personalized", target_email=" ", target_address="")
    old_gift(engine, "BBBBBB", type="personalized")
    for code in ("AAAAAA", "BBBBBB"):
        with pytest.raises(GiftReservedForAnother):
            redeem(engine, code, email="")
    assert redeem_pending(engine, " ").redeemed == 0
    with engine.connect() as connection:
        assert gifts.pending_for(connection, "", now=NOW) == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("anna@x.com", "anna"),
        ('"a@b"@x.com', '"a'),
        ("Anna B", "Anna B"),
        ("@x.com", None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_is_never_an_address(rich: Engine, given: str | None, shown: str | None) -> None:
    assert public_name(given) == shown
    assert make(rich, creator_name=given).creator_name == shown


def test_codes_are_long_of_their_alphabet_and_differ() -> None:
    codes = {new_code() for _ in range(2_000)}
    assert len(codes) == 2_000
    assert {len(code) for code in codes} == {CODE_CHARACTERS}
    assert set("".join(codes)) == set(ALPHABET)


def test_a_code_that_is_taken_is_tried_again(rich: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(rich)
    codes = iter([first.code, first.code, "NEWNEWNEWN"])
    monkeypatch.setattr(creating, "new_code", lambda: next(codes))
    second = make(rich)
    assert (second.code, second.short_url) == ("NEWNEWNEWN", "https://credits.example.com/g/NEWNEWNEWN")
    assert figures(rich, "anna") == (80, 100, 20)


def test_a_broken_random_source_is_an_outage_and_costs_nobody_anything(
    rich: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(rich)
    monkeypatch.setattr(creating, "new_code", lambda: first.code)
    with pytest.raises(RuntimeError, match=f"{COLLISIONS_MAX} new gift codes"):
        make(rich)
    assert figures(rich, "anna") == (90, 100, 10)


def test_lists_are_newest_first(rich: Engine) -> None:
    made = [make(rich, target_email="ben@x.com", now=NOW + timedelta(hours=hour)) for hour in range(3)]
    for hour, gift in enumerate((made[1], made[0])):
        redeem(rich, gift.code, "ben", "ben@x.com", now=LATER + timedelta(hours=hour))
    with rich.connect() as connection:
        created = gifts.created_by(connection, "anna", limit=500, offset=0, now=LATER)
        assert [gift.id for gift in created] == [gift.id for gift in reversed(made)]
        assert [gift.id for gift in gifts.created_by(connection, "anna", limit=1, offset=1, now=LATER)] == [
            made[1].id
        ]
        received = gifts.received_by(connection, "ben", limit=500, offset=0)
        assert [(one.code, one.credits_received) for one in received] == [
            (made[0].code, 10),
            (made[1].code, 10),
        ]
        assert [gift.id for gift in gifts.pending_for(connection, "BEN@x.com", now=LATER)] == [made[2].id]


def test_more_pending_gifts_than_one_transaction_takes_are_all_redeemed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pending.REDEEMED_PER_CALL_MAX <= POSTINGS_PER_CALL_MAX
    monkeypatch.setattr(pending, "REDEEMED_PER_CALL_MAX", 5)
    post(engine, give("anna", 5_000))
    mine = 11
    for _ in range(mine):
        make(engine, total_credits=2, target_email="Ben@X.com")
    others = [make(engine, total_credits=1, target_email="cleo@x.com"), make(engine, total_credits=1)]
    over = make(engine, total_credits=1, target_email="ben@x.com", expires_at=LATER)
    done = redeem_pending(engine, "ben@x.com")
    assert (done.redeemed, done.total_credits) == (mine, 2 * mine)
    assert figures(engine, "ben") == (2 * mine, 2 * mine, 0)
    assert [status(engine, gift)[0] for gift in (*others, over)] == ["active"] * 3
    assert redeem_pending(engine, "ben@x.com").redeemed == 0


def test_more_gifts_over_than_one_transaction_ends_all_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ending.EXPIRED_PER_CALL_MAX <= POSTINGS_PER_CALL_MAX
    monkeypatch.setattr(ending, "EXPIRED_PER_CALL_MAX", 5)
    post(engine, give("anna", 5_000))
    for _ in range(11):
        make(engine, total_credits=2)
    assert expire_due(engine) == 11
    assert figures(engine, "anna") == (5_000, 5_000, 0)


def test_gifts_that_cannot_be_paid_back_are_passed_over_told_of_and_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "EXPIRED_PER_CALL_MAX", 3)
    post(engine, give("anna", 100), give("full", 100))
    for minute in range(7):
        make(engine, "full", total_credits=1, now=NOW + timedelta(minutes=minute))
    later = [make(engine, total_credits=2, expires_at=OVER + timedelta(hours=1)) for _ in range(4)]
    post(engine, give("full", BALANCE_MAX - balance(engine, "full").balance))
    after = OVER + timedelta(hours=2)
    with capture_logs() as said:
        assert expire_due(engine, now=after) == len(later)
    assert figures(engine, "anna") == (100, 100, 0)
    assert sum(line["count"] for line in said if line["event"] == "gifts_not_paid_back") == 7
    assert {line["log_level"] for line in said} == {"error"}
    assert scalar(engine, "SELECT count(*) FROM gifts.gift_codes WHERE status = 'active'") == 7
    post(engine, take("full", 7))
    assert expire_due(engine, now=after) == 7


def test_a_simple_gift_with_an_address_waits_for_nobody(rich: Engine) -> None:
    gift = make(rich, target_email="ben@x.com", type=gifts.GiftType.SIMPLE)
    assert redeem_pending(rich, "ben@x.com").redeemed == 0
    redeem(rich, gift.code, "cleo", "cleo@x.com")


@pytest.mark.parametrize("code", ["K7QXZ2", "k7qxz2"])
def test_a_gift_of_the_old_service_is_redeemed(engine: Engine, code: str) -> None:
    old_gift(engine)
    redeem(engine, code)
    assert figures(engine, "ben") == (25, 25, 0)


def test_a_gift_of_the_old_service_is_cancelled_or_expires(engine: Engine) -> None:
    cancelled = old_gift(engine)
    old_gift(engine, "OLDONE", expires_at=NOW)
    cancel(engine, cancelled, "olga")
    assert expire_due(engine) == 1
    assert figures(engine, "olga") == (50, 0, 0)


def test_a_personalized_gift_of_the_old_service_is_its_addresss_alone(engine: Engine) -> None:
    old_gift(engine, type="personalized", target_email="Ben@X.com")
    with pytest.raises(GiftReservedForAnother):
        redeem(engine, "K7QXZ2", email="cleo@x.com")
    redeem(engine, "K7QXZ2", email="ben@x.com")


def test_an_address_that_the_old_service_wrote_as_a_name_is_shown_to_nobody(engine: Engine) -> None:
    old_gift(
        engine,
        creator_name="olga@example.com",
        target_email="ben@x.com",
        target_address="ben@x.com",
        type="personalized",
    )
    with engine.connect() as connection:
        names = [
            gifts.look_up(connection, "K7QXZ2", now=NOW).creator_name,
            *(gift.creator_name for gift in gifts.created_by(connection, "olga", limit=5, offset=0, now=NOW)),
            *(gift.creator_name for gift in gifts.pending_for(connection, "ben@x.com", now=NOW)),
        ]
    names.append(redeem(engine, "K7QXZ2", email="ben@x.com").gift.creator_name)
    with engine.connect() as connection:
        names += [one.creator_name for one in gifts.received_by(connection, "ben", limit=5, offset=0)]
    assert names == ["olga"] * 5
