"""Usage statistics: each use counted once, to the thousandth, whoever adds them up and when."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from domain import reservations, usage_stats
from domain.database import transaction
from domain.ids import new_id
from domain.ledger import EntryType
from domain.usage_stats import DayUsage
from tests.support.ledger import NOW, at_once, execute, give, post, scalar, take

TODAY = datetime(2026, 11, 22, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


def roll_up(engine: Engine) -> int:
    with transaction(engine) as connection:
        return usage_stats.roll_up(connection)


def rebuild(engine: Engine) -> None:
    with transaction(engine) as connection:
        usage_stats.rebuild(connection)


def usage_of(engine: Engine, user_id: str = "anna") -> list[DayUsage]:
    with engine.connect() as connection:
        return usage_stats.usage_of(connection, user_id)


def used(app_id: str, credits_used: str, day: datetime = TODAY) -> DayUsage:
    return DayUsage(app_id=app_id, day=day, credits_used=Decimal(credits_used))


def test_uses_are_added_up_by_person_app_and_day(engine: Engine) -> None:
    post(engine, give("anna", 100), give("ben", 100))
    post(engine, take("anna", "0.001"), take("anna", "0.1", app_id="sync"), take("ben", 7))
    post(engine, take("anna", "0.001"))
    assert roll_up(engine) == 4
    assert usage_of(engine) == [used("chat", "0.002"), used("sync", "0.1")]
    assert usage_of(engine, "ben") == [used("chat", "7")]


def test_later_uses_of_a_day_are_added_to_its_row(engine: Engine) -> None:
    post(engine, give("anna", 100))
    for _ in range(3):
        post(engine, take("anna", "0.333"))
        assert roll_up(engine) == 1
    assert roll_up(engine) == 0
    assert usage_of(engine) == [used("chat", "0.999")]
    assert scalar(engine, "SELECT count(*) FROM credits.usage_stats") == 1


def test_only_uses_are_counted(engine: Engine) -> None:
    post(
        engine,
        give("anna", 100),
        give("anna", 1, type=EntryType.REFUND),
        take("anna", 1, type=EntryType.GIFT),
    )
    with transaction(engine) as connection:
        reserved = reservations.reserve(
            connection, user_id="anna", amount=Decimal(5), reason="chat:x", now=NOW
        )
        reservations.refund(connection, reserved.reservation_id, now=NOW)
    assert roll_up(engine) == 0
    assert usage_of(engine) == []


def test_a_committed_reservation_is_a_use(engine: Engine) -> None:
    post(engine, give("anna", 100))
    with transaction(engine) as connection:
        reserved = reservations.reserve(
            connection, user_id="anna", amount=Decimal(5), reason="chat:x", now=NOW
        )
    with transaction(engine) as connection:
        reservations.commit(connection, reserved.reservation_id, now=NOW)
    assert roll_up(engine) == 1
    assert usage_of(engine) == [used("chat", "5")]


def test_a_refused_or_repeated_use_is_not_counted(engine: Engine) -> None:
    post(engine, give("anna", 1))
    post(engine, take("anna", 1, posting_key="use:k"), take("anna", 1, posting_key="use:k"), take("anna", 1))
    post(engine, take("anna", 1, posting_key="use:k"))
    roll_up(engine)
    assert usage_of(engine) == [used("chat", "1")]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_day_ends_at_midnight_utc_wherever_the_server_is(engine: Engine, zone: str) -> None:
    name = engine.url.database
    execute(engine, f"ALTER DATABASE \"{name}\" SET timezone = '{zone}'")
    engine.dispose()
    execute(engine, f"SET timezone = '{zone}'")
    before = MIDNIGHT - timedelta(milliseconds=1)
    post(engine, give("anna", 100))
    post(engine, take("anna", 1), now=before)
    post(engine, take("anna", 2), now=MIDNIGHT)
    with transaction(engine) as connection:
        connection.exec_driver_sql(f"SET LOCAL timezone = '{zone}'")
        usage_stats.roll_up(connection)
    expected = [used("chat", "1"), used("chat", "2", MIDNIGHT)]
    assert usage_of(engine) == expected
    with transaction(engine) as connection:
        connection.exec_driver_sql(f"SET LOCAL timezone = '{zone}'")
        usage_stats.rebuild(connection)
        assert usage_stats.usage_of(connection, "anna") == expected


def test_a_rebuild_says_the_same_and_forgets_what_waits(engine: Engine) -> None:
    post(engine, give("anna", 100), give("ben", 100))
    post(engine, take("anna", "0.1"), take("anna", "0.2"), take("ben", "0.3", app_id="sync"))
    roll_up(engine)
    post(engine, take("anna", "0.7"), now=MIDNIGHT)
    waiting = usage_of(engine)
    rebuild(engine)
    expected = [used("chat", "0.3"), used("chat", "0.7", MIDNIGHT)]
    assert waiting == expected[:1]
    assert usage_of(engine) == expected
    assert roll_up(engine) == 0
    rebuild(engine)
    assert usage_of(engine) == expected


def test_a_rebuild_mends_statistics_that_somebody_spoilt(engine: Engine) -> None:
    post(engine, give("anna", 100), take("anna", "0.1"))
    roll_up(engine)
    execute(engine, "UPDATE credits.usage_stats SET credits_used = 99")
    rebuild(engine)
    assert usage_of(engine) == [used("chat", "0.1")]


def test_rows_of_the_old_service_stay_beside_and_are_counted(engine: Engine) -> None:
    old = "INSERT INTO credits.usage_stats (user_id, app_id, credits_used, date) VALUES ('anna', 'chat', 3, '{}')"
    execute(engine, *[old.format(when) for when in ("2026-11-22 03:04:05+00", "2026-11-22 23:59:59+00")])
    post(engine, give("anna", 100), take("anna", "0.1"))
    roll_up(engine)
    assert usage_of(engine) == [used("chat", "6.1")]
    rebuild(engine)
    assert usage_of(engine) == [used("chat", "6.1")]


def test_a_roll_up_takes_so_many_and_leaves_the_rest(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_stats, "PENDING_PER_CALL_MAX", 10)
    post(engine, give("anna", 100), *[take("anna", 1, id=new_id(NOW)) for _ in range(25)])
    assert [roll_up(engine) for _ in range(4)] == [10, 10, 5, 0]
    assert usage_of(engine) == [used("chat", "25")]


def test_a_roll_up_that_fails_counts_nothing_and_loses_nothing(engine: Engine) -> None:
    post(engine, give("anna", 100), take("anna", 1))
    with engine.connect() as connection:
        assert usage_stats.roll_up(connection) == 1
        connection.rollback()
    assert usage_of(engine) == []
    roll_up(engine)
    assert usage_of(engine) == [used("chat", "1")]


def test_several_roll_ups_at_once_while_uses_go_on_count_each_use_once(engine: Engine) -> None:
    users = [f"user-{number}" for number in range(4)]
    post(engine, *[give(user_id, 1_000_000) for user_id in users])
    end = time.monotonic() + 1.5

    def use(seed: int) -> Counter[str]:
        chance = random.Random(seed)
        spent: Counter[str] = Counter()
        while time.monotonic() < end:
            thousandths = chance.randint(1, 5_000)
            user_id = chance.choice(users)
            post(engine, take(user_id, Decimal(thousandths) / 1000, app_id=chance.choice(["a", "b"])))
            spent[user_id] += thousandths
        return spent

    def keep(work: str) -> Counter[str]:
        done: Counter[str] = Counter()
        while time.monotonic() < end:
            if work == "rebuild":
                rebuild(engine)
                time.sleep(0.2)
            else:
                done[work] += roll_up(engine)
        return done

    counts = at_once(
        *[lambda seed=seed: use(seed) for seed in range(3)],
        *[lambda: keep("rolled up")] * 3,
        lambda: keep("rebuild"),
    )
    while roll_up(engine):
        pass
    done = sum(counts, Counter[str]())
    print(f"rolled up: {done.pop('rolled up', 0)} uses")
    assert sum(done.values()) > 0
    for user_id in users:
        in_books = sum(day.credits_used for day in usage_of(engine, user_id))
        assert in_books == Decimal(done[user_id]) / 1000
