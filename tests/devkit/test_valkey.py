"""The embedded Valkey, started for real and treated badly."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from devkit.errors import DevError
from devkit.valkey import Valkey


def test_what_was_written_survives_kill_9(own_valkey: Callable[[], Valkey]) -> None:
    server = own_valkey()
    with redis.Redis.from_url(server.url()) as client:
        client.set("kept", "1")
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url()) as client:
        assert client.get("kept") == b"1"


def test_it_forgets_nothing_by_itself_and_listens_to_this_machine_alone(
    own_valkey: Callable[[], Valkey],
) -> None:
    with redis.Redis.from_url(own_valkey().url()) as client:
        expected = {"maxmemory-policy": "noeviction", "appendonly": "yes", "bind": "127.0.0.1"}
        assert {name: client.config_get(name)[name] for name in expected} == expected


def test_the_password_is_needed(own_valkey: Callable[[], Valkey]) -> None:
    assert own_valkey().ask("PING\r\n").startswith("-NOAUTH")


def test_a_second_server_on_a_directory_is_refused_and_does_not_hurt_the_first(
    server_home: Callable[[str], Path],
) -> None:
    first = Valkey(server_home("valkey"))
    first.start()
    try:
        with pytest.raises(DevError, match="already runs on"):
            Valkey(first.home, lock_wait_seconds=0.1).start()
        assert first.is_ready(0)
    finally:
        first.stop()
