"""Parallel callers of the ledger: each gets its answer, and what may happen once happens once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from domain import ledger, reservations, spending
from domain.database import make_async_pool, transaction
from domain.errors import InsufficientCredits, ReservationExpired, ReservationNotOpen
from domain.ids import new_id
from domain.ledger import Entry, NoBalance, Outcome, Posted, Posting, Replayed
from domain.spending import Grant, Granted
from tests.support.ledger import (
    NOW,
    at_once,
    balance,
    entries,
    execute,
    give,
    post,
    scalar,
    set_aside,
    take,
    words,
)

CALLERS = 8


def test_first_opens_at_once_make_one_balance_and_no_error(engine: Engine) -> None:
    def open_it() -> int:
        with transaction(engine) as connection:
            return ledger.open_balance(connection, "anna", now=NOW).version

    assert at_once(*[open_it] * CALLERS) == [0] * CALLERS
    assert scalar(engine, "SELECT count(*) FROM credits.balances") == 1


def test_equal_grants_at_once_to_a_new_person_give_once_and_answer_alike(engine: Engine) -> None:
    wanted = Grant(user_id="anna", amount=Decimal(50), reason="review", reference_id="review-1")

    def grant() -> Granted:
        with transaction(engine) as connection:
            return spending.grant(connection, wanted, now=NOW)

    granted = at_once(*[grant] * CALLERS)
    assert Counter(one.already for one in granted) == {False: 1, True: CALLERS - 1}
    assert {one.entry.id for one in granted} == {entries(engine, "anna")[0].id}
    assert {one.entry.balance_after for one in granted} == {50}
    assert balance(engine, "anna").balance == 50


def test_equal_keys_at_once_on_a_new_person_take_effect_once_and_answer_alike(engine: Engine) -> None:
    outcomes = at_once(
        *[lambda: post(engine, give("anna", 5, posting_key="grant:k"), take("anna", 1, posting_key="use:k"))]
        * CALLERS
    )
    assert Counter(word for outcome in outcomes for word in words(outcome)) == {
        "posted": 2,
        "replayed": 2 * (CALLERS - 1),
    }
    for at in range(2):
        answers = [answer_of(outcome[at]) for outcome in outcomes]
        assert answers == [answers[0]] * CALLERS
    assert balance(engine, "anna").balance == 4


def answer_of(outcome: Outcome) -> Entry | None:
    assert isinstance(outcome, Posted | Replayed)
    return outcome.entry


async def test_equal_keys_at_once_through_the_fronts_door_take_effect_once(
    engine: Engine, database_url: str
) -> None:
    post(engine, give("anna", 5))
    async with make_async_pool(database_url, size=CALLERS) as pool:

        async def one() -> list[Outcome]:
            async with pool.connection() as connection:
                return await ledger.post_async(connection, [take("anna", 1, posting_key="use:k")], now=NOW)

        outcomes = await asyncio.gather(*[one() for _ in range(CALLERS)])
    assert Counter(words([outcome for [outcome] in outcomes])) == {"posted": 1, "replayed": CALLERS - 1}
    assert {answer_of(outcome) for [outcome] in outcomes} == {entries(engine, "anna")[0]}


def test_parallel_uses_never_overspend(engine: Engine) -> None:
    post(engine, give("anna", 10))
    outcomes = at_once(*[lambda: post(engine, take("anna", 1), take("anna", 1))] * CALLERS)
    assert Counter(word for outcome in outcomes for word in words(outcome)) == {
        "posted": 10,
        "insufficient": 2 * CALLERS - 10,
    }
    assert balance(engine, "anna").balance == 0


def hold(engine: Engine, user_id: str = "anna", amount: int = 5) -> reservations.Reserved:
    with transaction(engine) as connection:
        return reservations.reserve(
            connection, user_id=user_id, amount=Decimal(amount), reason="chat:answer", now=NOW
        )


def test_parallel_reservations_never_set_more_aside_than_there_is(engine: Engine) -> None:
    post(engine, give("anna", 12))

    def reserve() -> str:
        try:
            hold(engine)
        except InsufficientCredits:
            return "refused"
        return "reserved"

    assert Counter(at_once(*[reserve] * CALLERS)) == {"reserved": 2, "refused": CALLERS - 2}


def test_a_reservation_committed_by_a_hundred_callers_is_spent_once(engine: Engine) -> None:
    post(engine, give("anna", 10))
    reservation_id = hold(engine).reservation_id

    def commit() -> str:
        try:
            with transaction(engine) as connection:
                reservations.commit(connection, reservation_id, now=NOW)
        except ReservationNotOpen as refusal:
            return refusal.status
        return "done"

    assert Counter(at_once(*[commit] * 100)) == {"done": 1, "committed": 99}
    assert balance(engine, "anna").total_spent == 5


def test_sweep_commit_and_refund_of_one_reservation_at_once_have_one_winner(engine: Engine) -> None:
    """Hammered: each reservation is due, and all three go for it at the same moment."""
    post(engine, give("anna", 1_000))
    winners: Counter[str] = Counter()

    def attempt(name: str, work: Callable[[], bool]) -> str:
        try:
            return name if work() else "nobody"
        except ReservationExpired:
            return "sweep"  # released on the spot, by whoever saw first that it was due
        except ReservationNotOpen:
            return "nobody"

    for _ in range(40):
        reserved = hold(engine)

        def commit(reserved: reservations.Reserved = reserved) -> bool:
            with transaction(engine) as connection:
                # A caller whose clock says that there is time left.
                reservations.commit(connection, reserved.reservation_id, now=NOW)
            return True

        def refund(reserved: reservations.Reserved = reserved) -> bool:
            with transaction(engine) as connection:
                reservations.refund(connection, reserved.reservation_id, now=NOW)
            return True

        def late(reserved: reservations.Reserved = reserved) -> bool:
            with transaction(engine) as connection:
                reservations.commit(connection, reserved.reservation_id, now=reserved.expires_at)
            return True

        def sweep(reserved: reservations.Reserved = reserved) -> bool:
            with transaction(engine) as connection:
                nothing = reservations.Released()
                return reservations.release_expired(connection, nothing, now=reserved.expires_at)[0].count > 0

        attempts = [("commit", commit), ("refund", refund), ("sweep", sweep), ("late commit", late)]
        random.shuffle(attempts)
        round_winners = Counter(
            at_once(*[lambda name=name, work=work: attempt(name, work) for name, work in attempts])
        )
        del round_winners["nobody"]
        if not round_winners:
            # All saw another one's lock or its end; the sweep may skip a locked row and come again.
            round_winners["sweep"] = int(sweep())
        assert sum(round_winners.values()) == 1
        winners += round_winners
    print(f"won: {dict(winners)}")
    assert scalar(engine, "SELECT count(*) FROM credits.reservations WHERE status = 'reserved'") == 0
    committed = scalar(engine, "SELECT count(*) FROM credits.reservations WHERE status = 'committed'")
    assert balance(engine, "anna").balance == 1_000 - 5 * committed
    assert committed == winners["commit"]


@pytest.mark.parametrize("creates", ["nobody", "everybody", "some"])
def test_lists_in_opposite_orders_never_deadlock(engine: Engine, creates: str) -> None:
    users = [f"user-{number:02}" for number in range(12)]
    if creates == "nobody":
        post(engine, *[give(user_id, 1_000) for user_id in users])
    elif creates == "some":
        post(engine, *[give(user_id, 1_000) for user_id in users[::2]])

    def one(caller: int) -> list[str]:
        chance = random.Random(caller)
        seen = []
        for round_number in range(12):
            order = users if caller % 2 else users[::-1]
            if caller == 2:
                chance.shuffle(order)
            fresh = [f"new-{round_number}-{number}" for number in range(4)]
            postings = [posting_for(user_id, chance) for user_id in [*order, *fresh[:: caller % 2 * 2 - 1]]]
            seen += words(post(engine, *postings))
        return seen

    def posting_for(user_id: str, chance: random.Random) -> Posting:
        may_create = {"nobody": False, "everybody": True, "some": chance.random() < 0.5}[creates]
        return give(user_id, 1, creates_balance=may_create)

    done = Counter(word for seen in at_once(*[lambda n=n: one(n) for n in range(CALLERS)]) for word in seen)
    assert set(done) <= {"posted", "no_balance"}
    assert done["posted"] > 0


def test_equal_lists_through_the_front_and_through_jobs_never_deadlock(engine: Engine) -> None:
    users = [f"user-{number}" for number in range(6)]
    post(engine, *[give(user_id, 1_000) for user_id in users])

    def sweep_and_reserve(caller: int) -> int:
        for user_id in users if caller % 2 else users[::-1]:
            hold(engine, user_id, 1)
            with transaction(engine) as connection:
                late = NOW + reservations.LIFETIME_MAX
                reservations.release_expired(connection, reservations.Released(), now=late)
            post(engine, *[take(one, 1) for one in (users[::-1] if caller % 2 else users)])
        return caller

    assert at_once(*[lambda n=n: sweep_and_reserve(n) for n in range(CALLERS)]) == list(range(CALLERS))


@contextmanager
def stopped_where(engine: Engine, app_id: str) -> Iterator[None]:
    """Whoever writes an entry of this app waits, from here to the end of the block."""
    execute(
        engine,
        f"""CREATE FUNCTION public.wait_here() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.app_id = '{app_id}' THEN PERFORM pg_advisory_xact_lock_shared(42); END IF;
                RETURN NEW;
            END $$""",
        """CREATE TRIGGER wait_here BEFORE INSERT ON credits.transactions
           FOR EACH ROW EXECUTE FUNCTION public.wait_here()""",
    )
    with engine.connect() as gate:
        gate.execute(text("SELECT pg_advisory_lock(42)"))
        try:
            yield
        finally:
            gate.execute(text("SELECT pg_advisory_unlock(42)"))


def wait_until(engine: Engine, question: str, number: int = 1) -> None:
    """Until that many sessions of the test's database are as asked."""
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {question}"
    deadline = time.monotonic() + 10
    while scalar(engine, query) != number:
        assert time.monotonic() < deadline, f"never {number} session(s) with {question}"
        time.sleep(0.01)


def test_a_balance_that_came_into_being_after_the_locks_were_taken_is_left_alone(engine: Engine) -> None:
    """Its lock is not ours: a change made meanwhile would be overwritten."""
    post(engine, give("anna", 10))
    outcomes: list[Outcome] = []

    def hold_for_zoe_while_anna_is_locked() -> None:
        outcomes.extend(post(engine, take("anna", 1, app_id="slow"), set_aside("zoe", 10)))

    slow = threading.Thread(target=hold_for_zoe_while_anna_is_locked)
    with stopped_where(engine, "slow"):
        with engine.begin() as locking:
            locking.execute(text("SELECT FROM credits.balances WHERE user_id = 'anna' FOR UPDATE"))
            slow.start()
            wait_until(engine, "wait_event_type = 'Lock' AND wait_event = 'transactionid'")
            post(engine, give("zoe", 100))  # after the list looked for its balances
        wait_until(engine, "wait_event_type = 'Lock' AND wait_event = 'advisory'")
        post(engine, take("zoe", 60))  # after the list decided
    slow.join(timeout=10)
    assert isinstance(outcomes[0], Posted)
    assert outcomes[1] == NoBalance()
    assert balance(engine, "zoe").balance == 40


def test_a_key_committed_while_we_waited_for_the_lock_is_seen(engine: Engine) -> None:
    post(engine, give("anna", 10))
    wanted = take("anna", 1, posting_key="use:k")
    outcomes: list[Outcome] = []
    waiting = threading.Thread(target=lambda: outcomes.extend(post(engine, wanted)))
    with transaction(engine) as connection:
        ledger.post(connection, [take("anna", 1, posting_key="use:k")], now=NOW)
        waiting.start()
        wait_until(engine, "wait_event_type = 'Lock'")
    waiting.join(timeout=10)
    assert words(outcomes) == ["replayed"]


def test_a_key_rolled_back_while_we_waited_for_the_lock_is_free(engine: Engine) -> None:
    post(engine, give("anna", 10))
    outcomes: list[Outcome] = []
    waiting = threading.Thread(
        target=lambda: outcomes.extend(post(engine, take("anna", 1, posting_key="use:k")))
    )
    with engine.connect() as connection:
        ledger.post(connection, [take("anna", 1, posting_key="use:k", id=new_id(NOW))], now=NOW)
        waiting.start()
        wait_until(engine, "wait_event_type = 'Lock'")
        connection.rollback()
    waiting.join(timeout=10)
    assert words(outcomes) == ["posted"]


def test_a_balance_written_by_hand_waits_for_the_posting_before_it(engine: Engine) -> None:
    post(engine, give("anna", 10))
    writing = threading.Thread(
        target=lambda: execute(engine, "UPDATE credits.balances SET balance = balance + 5")
    )
    with transaction(engine) as connection:
        ledger.post(connection, [take("anna", 1)], now=NOW)
        writing.start()
        wait_until(engine, "wait_event_type = 'Lock'")
    writing.join(timeout=10)
    assert [entry.version for entry in entries(engine, "anna")] == [3, 2, 1]
    assert balance(engine, "anna").balance == 14
