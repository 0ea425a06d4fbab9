"""The nudger: sends soon, never makes anybody wait, gives up what Redis does not take."""

import time
from collections.abc import Callable
from uuid import uuid4

import redis
from prometheus_client import REGISTRY

from devkit.valkey import Valkey
from domain.nudge import AddedJob
from nudges import Nudger
from nudges.nudger import WAITING_MAX


def some(count: int) -> list[AddedJob]:
    return [AddedJob(uuid4(), "test_write", "money") for _ in range(count)]


def lost() -> float:
    return REGISTRY.get_sample_value("mana_nudges_lost_total") or 0.0


def test_what_was_given_before_closing_is_sent(redis_url: str) -> None:
    nudger = Nudger(redis_url)
    nudger(some(100))
    nudger.close()
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("jobs:money") == 100


def test_with_redis_down_it_neither_raises_nor_waits_and_counts_what_was_lost(
    own_valkey: Callable[[], Valkey],
) -> None:
    server = own_valkey()
    nudger = Nudger(server.url())
    server.stop()
    before, took = lost(), []
    for _ in range(3):  # of which a busy machine may interrupt one
        jobs, began = some(1000), time.monotonic()
        nudger(jobs)
        took.append(time.monotonic() - began)
    assert min(took) < 0.1
    nudger.close()
    assert lost() - before == 3000


def test_it_sends_again_when_redis_is_back(own_valkey: Callable[[], Valkey]) -> None:
    server = own_valkey()
    nudger = Nudger(server.url())
    server.restart()
    nudger(some(1))
    nudger.close()
    with redis.Redis.from_url(server.url()) as client:
        assert client.llen("jobs:money") == 1


def test_more_than_it_can_hold_is_left_to_the_relay(own_valkey: Callable[[], Valkey]) -> None:
    server = own_valkey()
    nudger = Nudger(server.url())
    server.stop()
    before, began = lost(), time.monotonic()
    nudger(some(3 * WAITING_MAX))
    assert time.monotonic() - began < 10, "it waited for Redis"
    nudger.close()
    assert lost() - before == 3 * WAITING_MAX
