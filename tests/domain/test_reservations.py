"""Credits set aside: what a hold does to a balance, how it ends, and when its time is over."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from domain import reservations
from domain.database import transaction
from domain.errors import (
    BalanceNotFound,
    InsufficientCredits,
    ReservationExpired,
    ReservationNotFound,
    ReservationNotOpen,
)
from domain.ids import new_id
from domain.ledger import Entry, EntryType
from domain.reservations import Released, Reserved
from tests.support.ledger import NOW, balance, entries, execute, give, post, scalar, take, words

HOUR = timedelta(hours=1)
A_DAY_LATER = NOW + timedelta(hours=24)


def reserve(
    engine: Engine, user_id: str = "anna", *, lifetime: timedelta = reservations.LIFETIME_DEFAULT
) -> Reserved:
    with transaction(engine) as connection:
        return reservations.reserve(
            connection,
            user_id=user_id,
            amount=Decimal(5),
            reason="chat:answer",
            lifetime=lifetime,
            now=NOW,
        )


def commit(
    engine: Engine, reserved: Reserved, *, after: timedelta = HOUR, description: str | None = None
) -> Entry:
    with transaction(engine) as connection:
        return reservations.commit(
            connection, reserved.reservation_id, description=description, now=NOW + after
        )


def refund(engine: Engine, reserved: Reserved, *, after: timedelta = HOUR) -> Decimal:
    with transaction(engine) as connection:
        return reservations.refund(connection, reserved.reservation_id, now=NOW + after)


def sweep(engine: Engine, *, after: timedelta) -> int:
    """All steps, each in a transaction of its own; how many were released."""
    done, has_more = Released(), True
    while has_more:
        with transaction(engine) as connection:
            done, has_more = reservations.release_expired(connection, done, now=NOW + after)
    return done.count


def one_step(engine: Engine, *, after: timedelta) -> int:
    """The first step of a sweep; how many it released."""
    with transaction(engine) as connection:
        return reservations.release_expired(connection, Released(), now=NOW + after)[0].count


def row(engine: Engine, reservation_id: UUID) -> tuple[str, bool, object]:
    """Its status, whether it expired, and when it was resolved."""
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT status, is_expired, resolved_at FROM credits.reservations WHERE id = :id"),
            {"id": reservation_id},
        ).one()
    return found.status, found.is_expired, found.resolved_at


def test_a_reservation_lowers_what_can_be_spent_and_makes_no_entry(engine: Engine) -> None:
    post(engine, give("anna", 12))
    assert reserve(engine).balance == 7
    found = balance(engine, "anna")
    assert [found.balance, found.held, found.total_earned, found.total_spent] == [7, 5, 12, 0]
    assert len(entries(engine, "anna")) == 1


def test_what_other_reservations_hold_cannot_be_reserved(engine: Engine) -> None:
    post(engine, give("anna", 12))
    reserve(engine)
    reserve(engine)
    with pytest.raises(InsufficientCredits) as refusal:
        reserve(engine)
    assert [refusal.value.required, refusal.value.available] == [5, 2]
    assert scalar(engine, "SELECT count(*) FROM credits.reservations") == 2


def test_nobody_without_a_balance_can_reserve(engine: Engine) -> None:
    with pytest.raises(BalanceNotFound):
        reserve(engine)
    assert scalar(engine, "SELECT count(*) FROM credits.reservations") == 0


@pytest.mark.parametrize(
    ("reason", "app_id"),
    [("chat:answer:long", "chat"), ("chat", "chat"), (":answer", ":answer"), ("chat:", "chat")],
)
def test_a_commit_spends_it_in_the_name_of_the_app_that_the_reason_begins_with(
    engine: Engine, reason: str, app_id: str
) -> None:
    post(engine, give("anna", 12))
    with transaction(engine) as connection:
        reserved = reservations.reserve(connection, user_id="anna", amount=Decimal(5), reason=reason, now=NOW)
    entry = commit(engine, reserved)
    assert (entry.type, entry.amount, entry.app_id, entry.description) == (
        EntryType.USAGE,
        Decimal(-5),
        app_id,
        reason,
    )
    assert entry.metadata == {"reservationId": str(reserved.reservation_id)}
    assert entries(engine, "anna")[0] == entry
    found = balance(engine, "anna")
    assert [found.balance, found.held, found.total_spent] == [7, 0, 5]
    assert row(engine, reserved.reservation_id) == ("committed", False, NOW + HOUR)


def test_a_commit_may_have_a_description_of_its_own(engine: Engine) -> None:
    post(engine, give("anna", 12))
    assert commit(engine, reserve(engine), description="an answer").description == "an answer"
    assert commit(engine, reserve(engine), description="").description == ""


def test_a_refund_puts_it_back_and_makes_no_entry(engine: Engine) -> None:
    post(engine, give("anna", 12))
    reserved = reserve(engine)
    assert refund(engine, reserved) == 12
    found = balance(engine, "anna")
    assert [found.balance, found.held, found.total_earned, found.total_spent] == [12, 0, 12, 0]
    assert len(entries(engine, "anna")) == 1
    assert row(engine, reserved.reservation_id) == ("refunded", False, NOW + HOUR)


def test_a_reservation_ends_once(engine: Engine) -> None:
    post(engine, give("anna", 12))
    committed, refunded = reserve(engine), reserve(engine)
    commit(engine, committed)
    refund(engine, refunded)
    for reserved, status in ((committed, "committed"), (refunded, "refunded")):
        for action, end in (("commit", commit), ("refund", refund)):
            with pytest.raises(ReservationNotOpen) as refusal:
                end(engine, reserved)
            assert (refusal.value.action, refusal.value.status) == (action, status)
    assert balance(engine, "anna").balance == 7


def test_a_reservation_that_is_not_there(engine: Engine) -> None:
    reserved = Reserved(reservation_id=new_id(NOW), balance=Decimal(0), expires_at=NOW)
    for end in (commit, refund):
        with pytest.raises(ReservationNotFound):
            end(engine, reserved)
    with transaction(engine) as connection, pytest.raises(ReservationNotFound):
        reservations.owner(connection, reserved.reservation_id)


def test_a_reservation_belongs_to_who_made_it(engine: Engine) -> None:
    post(engine, give("ben", 12))
    with transaction(engine) as connection:
        assert reservations.owner(connection, reserve(engine, "ben").reservation_id) == "ben"


@pytest.mark.parametrize(
    ("wanted", "lifetime"),
    [
        (None, timedelta(hours=24)),
        (timedelta(seconds=1), timedelta(seconds=1)),
        (timedelta(days=30), timedelta(days=30)),
        (timedelta(days=31), timedelta(days=30)),
    ],
)
def test_a_reservation_lives_a_day_unless_told_and_a_month_at_most(
    engine: Engine, wanted: timedelta | None, lifetime: timedelta
) -> None:
    post(engine, give("anna", 12))
    reserved = reserve(engine) if wanted is None else reserve(engine, lifetime=wanted)
    assert reserved.expires_at == NOW + lifetime
    stored = scalar(engine, "SELECT expires_at FROM credits.reservations")
    assert stored == reserved.expires_at
    just_before = lifetime - timedelta(milliseconds=1)
    assert sweep(engine, after=just_before) == 0
    assert sweep(engine, after=lifetime) == 1


@pytest.mark.parametrize("end", [commit, refund])
def test_an_end_after_the_time_is_refused_and_releases_it_at_once(engine: Engine, end: object) -> None:
    post(engine, give("anna", 12))
    reserved = reserve(engine)
    assert callable(end)
    with pytest.raises(ReservationExpired) as refusal:
        end(engine, reserved, after=timedelta(hours=24))
    assert refusal.value.status == "refunded"
    assert row(engine, reserved.reservation_id) == ("refunded", True, A_DAY_LATER)
    found = balance(engine, "anna")
    assert [found.balance, found.held] == [12, 0]
    with pytest.raises(ReservationNotOpen):
        end(engine, reserved, after=timedelta(hours=24))
    assert balance(engine, "anna").balance == 12


def test_a_commit_in_the_last_moment_counts(engine: Engine) -> None:
    post(engine, give("anna", 12))
    reserved = reserve(engine)
    commit(engine, reserved, after=timedelta(hours=24) - timedelta(milliseconds=1))
    assert sweep(engine, after=timedelta(hours=25)) == 0
    assert balance(engine, "anna").balance == 7


def test_the_sweep_releases_what_is_due_and_nothing_else(engine: Engine) -> None:
    post(engine, give("anna", 100), give("ben", 100))
    due = [reserve(engine), reserve(engine), reserve(engine, "ben")]
    long = reserve(engine, lifetime=timedelta(days=2))
    commit(engine, reserve(engine))
    refund(engine, reserve(engine))
    assert sweep(engine, after=timedelta(hours=24)) == 3
    assert sweep(engine, after=timedelta(hours=24)) == 0
    assert [row(engine, one.reservation_id) for one in due] == [("refunded", True, A_DAY_LATER)] * 3
    assert row(engine, long.reservation_id) == ("reserved", False, None)
    found = balance(engine, "anna")
    assert [found.balance, found.held] == [90, 5]
    assert balance(engine, "ben").balance == 100


def test_the_sweep_works_in_chunks_oldest_first(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "EXPIRED_PER_CALL_MAX", 3)
    post(engine, give("anna", 100))
    held = [reserve(engine, lifetime=timedelta(hours=hours)) for hours in (7, 1, 4, 2, 3, 6, 5)]
    assert one_step(engine, after=timedelta(hours=8)) == 3
    assert [row(engine, one.reservation_id)[0] for one in held] == [
        "reserved",
        "refunded",
        "reserved",
        "refunded",
        "refunded",
        "reserved",
        "reserved",
    ]
    assert [one_step(engine, after=timedelta(hours=8)) for _ in range(3)] == [3, 1, 0]
    assert balance(engine, "anna").balance == 100


def test_the_sweep_leaves_what_somebody_is_ending_to_them(engine: Engine) -> None:
    post(engine, give("anna", 100), give("ben", 100))
    ending, left = reserve(engine), reserve(engine, "ben")
    with transaction(engine) as connection:
        reservations.commit(connection, ending.reservation_id, now=NOW + HOUR)
        assert sweep(engine, after=timedelta(hours=25)) == 1  # meanwhile, without waiting
    assert row(engine, ending.reservation_id)[0] == "committed"
    assert row(engine, left.reservation_id)[0] == "refunded"


def test_what_is_left_beside_a_hold_can_be_spent(engine: Engine) -> None:
    post(engine, give("anna", 12))
    reserve(engine)
    assert words(post(engine, take("anna", 8), take("anna", "7"))) == ["insufficient", "posted"]
    assert words(post(engine, take("anna", "0.001"))) == ["insufficient"]


def test_a_hold_of_somebody_in_debt_still_comes_back_and_pays(engine: Engine) -> None:
    post(engine, give("anna", 12))
    reserved = reserve(engine)
    post(engine, take("anna", 10, type=EntryType.PURCHASE, may_overdraw=True))
    assert balance(engine, "anna").balance == -3
    assert refund(engine, reserved) == 2


def test_a_hold_can_be_committed_in_debt(engine: Engine) -> None:
    post(engine, give("anna", 12))
    reserved = reserve(engine)
    post(engine, take("anna", 10, type=EntryType.PURCHASE, may_overdraw=True))
    assert commit(engine, reserved).balance_after == -3


def test_a_script_that_writes_the_balance_leaves_holds_alone(engine: Engine) -> None:
    post(engine, give("anna", 12))
    reserved = reserve(engine)
    execute(engine, "UPDATE credits.balances SET balance = 100, total_earned = 100 WHERE user_id = 'anna'")
    assert refund(engine, reserved) == 105


def test_what_does_not_fit_its_balance_keeps_no_other_from_being_released(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "EXPIRED_PER_CALL_MAX", 3)
    people = [f"user-{number}" for number in range(9)]
    for minute, user_id in enumerate(people):
        post(engine, give(user_id, 5))
        reserve(engine, user_id, lifetime=timedelta(minutes=minute + 1))
    tampered = {"user-0", "user-1", "user-2", "user-5"}
    names = ", ".join(f"'{user_id}'" for user_id in tampered)
    execute(engine, f"UPDATE credits.reservations SET amount = 99 WHERE user_id IN ({names})")
    with capture_logs() as said:
        assert sweep(engine, after=timedelta(days=1)) == len(people) - len(tampered)
    for user_id in people:
        assert balance(engine, user_id).balance == (0 if user_id in tampered else 5), user_id
    assert [line["event"] for line in said] == ["reservation_not_released"] * len(tampered)
    execute(engine, f"UPDATE credits.reservations SET amount = 5 WHERE user_id IN ({names})")
    assert sweep(engine, after=timedelta(days=1)) == len(tampered)
