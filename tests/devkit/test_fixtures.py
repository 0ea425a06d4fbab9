"""The fixtures that every other test stands on."""

from collections.abc import Callable

import psycopg
import pytest
import redis

from devkit.postgres import Postgres
from devkit.valkey import Valkey


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_has_a_migrated_database_without_rows(database_url: str, attempt: int) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM credits.balances").fetchone() == (0,)
        connection.execute("INSERT INTO credits.balances (user_id) VALUES ('someone')")


def test_an_empty_database_has_no_schema(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('credits.balances')").fetchone() == (None,)


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_has_an_empty_redis(redis_url: str, attempt: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_a_server_of_ones_own_keeps_what_was_committed_through_kill_9(
    own_postgres: Callable[[], Postgres],
) -> None:
    server = own_postgres()
    with psycopg.connect(server.url()) as connection:
        connection.execute("INSERT INTO credits.balances (user_id) VALUES ('someone')")
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url())
    server.start()
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT user_id FROM credits.balances").fetchone() == ("someone",)


def test_a_valkey_of_ones_own_can_be_stopped_and_started(own_valkey: Callable[[], Valkey]) -> None:
    server = own_valkey()
    with redis.Redis.from_url(server.url()) as client:
        client.set("kept", "1")
    server.stop()
    with redis.Redis.from_url(server.url()) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    server.start()
    with redis.Redis.from_url(server.url()) as client:
        assert client.get("kept") == b"1"
