"""The relay: what it sends, how often, and what it leaves in the table."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import Engine, text

from devkit.valkey import Valkey
from devkit.waiting import wait_until
from domain.database import transaction
from domain.jobs import add_job
from domain.jobs.due import RESEND_AFTER
from nudges import NudgeBroker, make_broker
from tests.support.jobs import HANDLERS, NOW, Write, add, engine_on, row_of
from workers.relay import QUEUE_ROOM, TRICKLE, Relay

LATER = NOW + timedelta(seconds=5)
SECONDS_MAX = 60.0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the relay does now and then is done with every sweep."""
    monkeypatch.setattr("workers.relay.SWEEP_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("workers.relay.BRING_FORWARD_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("domain.heartbeats.BEAT_EVERY", timedelta(seconds=0.05))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


@pytest.fixture
def broker(redis_url: str) -> Iterator[NudgeBroker]:
    broker = make_broker(redis_url)
    yield broker
    broker.close()


def relay_of(engine: Engine, broker: NudgeBroker, now: datetime = LATER) -> Relay:
    return Relay(engine, broker, HANDLERS, lambda: now)


def add_many(engine: Engine, count: int) -> None:
    with transaction(engine) as connection:
        for number in range(count):
            add_job(connection, Write(key=str(number)), now=NOW)


def test_it_sends_what_nobody_was_told_of_and_again_after_a_while(
    engine: Engine, broker: NudgeBroker
) -> None:
    add_many(engine, 3)
    assert relay_of(engine, broker).sweep() == 3
    assert relay_of(engine, broker).sweep() == 0
    assert relay_of(engine, broker, LATER + RESEND_AFTER).sweep() == 3
    assert broker.waiting("money") == 6


def test_several_relays_send_each_job_once(engine: Engine, broker: NudgeBroker) -> None:
    add_many(engine, 400)
    relay = relay_of(engine, broker)
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda _: relay.sweep(), range(4)))
    assert sum(sent) == broker.waiting("money") == 400


def test_it_leaves_alone_what_another_relay_or_a_worker_has_locked(
    engine: Engine, broker: NudgeBroker
) -> None:
    add_many(engine, 3)
    with engine.connect() as another:
        another.execute(text("SELECT FROM ops.jobs ORDER BY id LIMIT 1 FOR UPDATE"))
        assert relay_of(engine, broker).sweep() == 2
    assert relay_of(engine, broker).sweep() == 1


def test_while_no_worker_takes_messages_redis_does_not_fill_and_the_oldest_still_trickle(
    engine: Engine, broker: NudgeBroker
) -> None:
    add_many(engine, QUEUE_ROOM + 50)
    now = LATER
    for _ in range(20):
        relay_of(engine, broker, now).sweep()
        now += RESEND_AFTER
    assert broker.waiting("money") == QUEUE_ROOM + 19 * TRICKLE


@pytest.mark.usefixtures("impatient")
def test_after_the_clock_was_set_back_it_beats_on_and_sends_what_would_wait_until_then(
    engine: Engine, broker: NudgeBroker
) -> None:
    clock = [NOW]
    relay = Relay(engine, broker, HANDLERS, lambda: clock[0])
    relay.start()
    try:
        assert wait_until(lambda: seen_at(engine) == NOW, SECONDS_MAX)
        add_many(engine, 3)
        clock[0] = NOW - timedelta(hours=1)
        assert wait_until(lambda: broker.waiting("money") == 3, SECONDS_MAX)
        assert wait_until(lambda: seen_at(engine) == clock[0], SECONDS_MAX)
    finally:
        relay.stop()


def seen_at(engine: Engine) -> datetime | None:
    with transaction(engine) as connection:
        seen: datetime | None = connection.execute(text("SELECT seen_at FROM ops.heartbeats")).scalar()
        return seen


def test_it_sends_only_what_its_workers_can_do(engine: Engine, broker: NudgeBroker) -> None:
    job_id = add(engine, Write(key="a"))
    with transaction(engine) as connection:
        connection.execute(text("UPDATE ops.jobs SET kind = 'of_a_newer_version'"))
    assert relay_of(engine, broker).sweep() == 0
    assert row_of(engine, job_id).sent_at is None


def test_while_redis_is_down_nothing_counts_as_sent(engine: Engine, own_valkey: Callable[[], Valkey]) -> None:
    server = own_valkey()
    broker = make_broker(server.url())
    server.stop()
    job_id = add(engine, Write(key="a"))
    with pytest.raises(redis.ConnectionError):
        relay_of(engine, broker).sweep()
    assert row_of(engine, job_id).sent_at is None
    server.start()
    assert relay_of(engine, broker).sweep() == 1
    broker.close()


def test_a_message_carries_the_id_of_its_job_and_nothing_else(
    engine: Engine, broker: NudgeBroker, redis_url: str
) -> None:
    job_id = add(engine, Write(key="anna@example.com"), now=datetime.now(UTC) - timedelta(minutes=1))
    relay_of(engine, broker, datetime.now(UTC)).sweep()
    with redis.Redis.from_url(redis_url) as client:
        [message] = client.hvals("jobs:money.msgs")
    assert str(job_id).encode() in message
    assert b"anna" not in message
