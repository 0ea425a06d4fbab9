"""Many connections post whatever comes to mind; the books must add up, and something must have been done."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import count
from threading import Lock

import pytest
from sqlalchemy import Engine

from domain import ledger, reservations, usage_stats
from domain.database import transaction
from domain.errors import Refusal
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posted, Posting
from tests.support.ledger import NOW, at_once, checked_engine, execute, give, post, scalar, set_aside, take

CONNECTIONS = 6
SECONDS = 2.0
USERS = [f"user-{number}" for number in range(5)]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """As many connections as threads."""
    with checked_engine(database_url, pool_size=CONNECTIONS) as engine:
        yield engine


def any_posting(chance: random.Random) -> Posting:
    """A grant, a use, a refund or a purchase taken back, mostly with a key that others use too."""
    user_id = chance.choice(USERS)
    amount = Decimal(chance.randint(1, 20_000)) / 1000
    key = chance.choice([None, f"use:{chance.randint(1, 2_000)}"])
    kind = chance.choice(["give", "take", "take", "take", "refund", "take back"])
    if kind == "give":
        return give(user_id, amount, posting_key=key, creates_balance=chance.random() < 0.5)
    if kind == "take":
        return take(user_id, amount, posting_key=key)
    if kind == "refund":
        return give(
            user_id, amount, type=EntryType.REFUND, counts_as=CountsAs.RETURNED, creates_balance=False
        )
    return take(
        user_id,
        amount,
        type=EntryType.PURCHASE,
        counts_as=CountsAs.EARNED,
        may_overdraw=True,
        posting_key=key,
    )


def hammer(work: Callable[[random.Random], Counter[str]]) -> Counter[str]:
    """Do it again and again, at once, for a while; what was done, added up."""
    seeds = count(random.randrange(1 << 30))

    def one() -> Counter[str]:
        chance = random.Random(next(seeds))
        done: Counter[str] = Counter()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            done += work(chance)
        return done

    return sum(at_once(*[one] * CONNECTIONS), Counter[str]())


def test_lists_posted_at_once_keep_the_books(engine: Engine) -> None:
    def post_a_list(chance: random.Random) -> Counter[str]:
        wanted = [any_posting(chance) for _ in range(chance.choice([1, 1, 2, 8, 40]))]
        return Counter(type(outcome).__name__ for outcome in post(engine, *wanted))

    done = hammer(post_a_list)
    print(f"{CONNECTIONS} connections, {SECONDS:g} s: {dict(done)}")
    assert done["Posted"] > 0
    assert done["Replayed"] > 0
    assert scalar(engine, "SELECT count(*) FROM credits.transactions") == done["Posted"]


def test_postings_holds_sweeps_and_statistics_at_once_keep_the_books(engine: Engine) -> None:
    open_now: list[reservations.Reserved] = []
    guard = Lock()

    def reserve(chance: random.Random) -> str:
        lifetime = chance.choice([timedelta(hours=1), timedelta(0)])
        with transaction(engine) as connection:
            reserved = reservations.reserve(
                connection,
                user_id=chance.choice(USERS),
                amount=Decimal(chance.randint(1, 20)),
                reason="chat:answer",
                lifetime=lifetime,
                now=NOW - timedelta(seconds=1),
            )
        with guard:
            open_now.append(reserved)
        return "reserved"

    def end(chance: random.Random) -> str:
        with guard:
            if not open_now:
                return "nothing"
            # Not taken out at once, so that others end the same one.
            chosen = chance.choice(open_now[-10:])
        with transaction(engine) as connection:
            if chance.random() < 0.5:
                reservations.commit(connection, chosen.reservation_id, now=NOW)
                return "committed"
            reservations.refund(connection, chosen.reservation_id, now=NOW)
            return "refunded"

    def sweep(chance: random.Random) -> str:
        with transaction(engine) as connection:
            done, _ = reservations.release_expired(connection, reservations.Released(), now=NOW)
        assert not done.passed_over
        return "swept" if done.count else "nothing"

    def roll_up(chance: random.Random) -> str:
        with transaction(engine) as connection:
            return "rolled up" if usage_stats.roll_up(connection) else "nothing"

    def post_a_list(chance: random.Random) -> str:
        outcomes = post(engine, *[any_posting(chance) for _ in range(chance.choice([1, 3, 10]))])
        return "posted" if any(isinstance(outcome, Posted) for outcome in outcomes) else "nothing"

    def work(chance: random.Random) -> Counter[str]:
        actions = [reserve, reserve, end, end, sweep, roll_up, post_a_list, post_a_list]
        try:
            return Counter([chance.choice(actions)(chance)])
        except Refusal as refusal:
            return Counter([refusal.code])

    post(engine, *[give(user_id, 1_000) for user_id in USERS])
    done = hammer(work)
    print(f"{CONNECTIONS} connections, {SECONDS:g} s: {dict(done)}")
    for kind in ("reserved", "committed", "refunded", "swept", "rolled up", "posted"):
        assert done[kind] > 0, f"nothing was {kind}: {done}"
    with engine.connect() as connection:
        committed = connection.exec_driver_sql(
            "SELECT count(*) FROM credits.reservations WHERE status = 'committed'"
        ).scalar_one()
    assert committed == done["committed"]


def test_direct_writes_beside_postings_keep_the_books(engine: Engine) -> None:
    """Scripts of other teams write balances while the service runs."""

    def work(chance: random.Random) -> Counter[str]:
        user_id = chance.choice(USERS)
        match chance.choice(["upsert", "update", "post", "post"]):
            case "upsert":
                execute(
                    engine,
                    f"""INSERT INTO credits.balances (user_id, balance, total_earned, version)
                        VALUES ('{user_id}', 500, 500, {chance.randint(0, 3)})
                        ON CONFLICT (user_id) DO UPDATE
                        SET balance = excluded.balance, version = excluded.version""",
                )
                return Counter(["upserted"])
            case "update":
                execute(
                    engine, f"UPDATE credits.balances SET balance = balance + 1 WHERE user_id = '{user_id}'"
                )
                return Counter(["updated"])
            case _:
                outcomes = post(engine, *[any_posting(chance) for _ in range(3)])
                return Counter(type(outcome).__name__ for outcome in outcomes)

    done = hammer(work)
    print(f"{CONNECTIONS} connections, {SECONDS:g} s: {dict(done)}")
    assert done["Posted"] > 0
    assert done["upserted"] > 0


def test_holds_made_and_released_by_the_door_alone_end_at_nothing_held(engine: Engine) -> None:
    """The same credits go to and fro on all connections: no change is lost."""
    post(engine, *[give(user_id, 1_000_000) for user_id in USERS])

    def to_and_fro(chance: random.Random) -> Counter[str]:
        user_id = chance.choice(USERS)
        amount = Decimal(chance.randint(1, 5_000)) / 1000
        with transaction(engine) as connection:
            ledger.post(connection, [set_aside(user_id, amount, id=new_id(NOW))], now=NOW)
        with transaction(engine) as connection:
            ledger.post(connection, [set_aside(user_id, -amount, id=new_id(NOW))], now=NOW)
        return Counter(["moved"])

    done = hammer(to_and_fro)
    print(f"{CONNECTIONS} connections, {SECONDS:g} s: {dict(done)}")
    assert done["moved"] > 0
    assert scalar(engine, "SELECT sum(held) FROM credits.balances") == 0
    assert scalar(engine, "SELECT sum(version) FROM credits.balances") == len(USERS) + 2 * done["moved"]
