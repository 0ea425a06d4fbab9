"""Secrets are replaced as docs/production.md says, under a running service: nobody who has a right is refused."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from devkit.waiting import wait_until
from simulators.stripe import sign
from tests.servers import SharedPostgres
from tests.support.process import WebProcess, running_process

FRONTS = 2
SECONDS = 30.0


@dataclass
class Front:
    """`python -m web` with two processes, its secrets in files; and how callers fare with it."""

    process: WebProcess
    secrets: Path

    def write(self, name: str, value: str) -> None:
        (self.secrets / name).write_text(f"{value}\n")

    def reload(self) -> None:
        """What `systemctl reload` does; returns when the new processes serve alone."""
        before = self._children()
        os.kill(self.process.pid, signal.SIGHUP)
        assert wait_until(
            lambda: len(self._children()) == FRONTS and not self._children() & before, SECONDS
        ), self.process.log.read_text()

    def _children(self) -> set[str]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(path.read_text().split())

    def asked(self, path: str, body: bytes | None = None, **headers: str) -> int:
        """The status that every one of the processes answers with: several connections are tried."""
        found = {self._ask(path, body, headers) for _ in range(8)}
        assert len(found) == 1, found
        return found.pop()

    def _ask(self, path: str, body: bytes | None, headers: dict[str, str]) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.process.url + path, body, named)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def with_key(self, key: str) -> int:
        return self.asked("/api/v1/internal/credits/balance/anna", X_Service_Key=key)

    def signed_with(self, *secrets: str) -> int:
        event = {
            "id": f"evt_{time.monotonic_ns()}",
            "object": "event",
            "type": "product.created",
            "created": int(time.time()),
            "livemode": False,
            "data": {"object": {}},
        }
        body = json.dumps(event).encode()
        return self.asked(
            "/api/v1/webhooks/stripe", body, Stripe_Signature=sign(body, secrets, int(time.time()))
        )


@pytest.fixture
def front(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Front]:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    values = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MANA_SERVICE_KEY": "old-key",
        "STRIPE_WEBHOOK_SECRET": "whsec_old",
    }
    environment = {f"{name}_FILE": str(secrets / name) for name in values}
    for name, value in values.items():
        (secrets / name).write_text(value)
    with running_process({**environment, "WEB_PROCESSES": str(FRONTS)}, tmp_path / "web.log") as process:
        assert wait_until(lambda: process.log.read_text().count("web_starts") == FRONTS, SECONDS)
        yield Front(process, secrets)


@pytest.fixture
def owner(postgres: SharedPostgres, database_url: str) -> Iterator[Callable[[str], str]]:
    """A role with a password that can be changed; gives the URL with it."""
    url = make_url(database_url)
    role = f"rotating_{(url.database or '')[-8:]}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(role)))

        def set_password(password: str) -> str:
            admin.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            )
            return url.set(username=role, password=password).render_as_string(hide_password=False)

        yield set_password
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_secrets_are_replaced_and_nobody_who_has_a_right_is_refused(
    front: Front, owner: Callable[[str], str]
) -> None:
    """One story, because each reload starts processes anew."""
    assert (front.with_key("old-key"), front.with_key("new-key")) == (200, 401)
    front.write("MANA_SERVICE_KEY", "old-key,new-key")
    front.write("STRIPE_WEBHOOK_SECRET", "whsec_old,whsec_new")
    front.write("DATABASE_URL", owner("first"))
    front.reload()
    assert (front.with_key("old-key"), front.with_key("new-key")) == (200, 200)
    assert front.signed_with("whsec_old") == 200
    assert front.signed_with("whsec_new") == 200
    assert front.signed_with("whsec_old", "whsec_new") == 200, "as Stripe signs while it rolls a secret"

    front.write("DATABASE_URL", owner("second"))
    assert front.with_key("new-key") == 200, "connections that stand are not asked again"
    front.write("MANA_SERVICE_KEY", "new-key")
    front.write("STRIPE_WEBHOOK_SECRET", "whsec_new")
    front.reload()
    assert (front.with_key("old-key"), front.with_key("new-key")) == (401, 200)
    assert front.signed_with("whsec_old") == 400
    assert front.signed_with("whsec_new") == 200

    front.write("MANA_SERVICE_KEY", "")
    os.kill(front.process.pid, signal.SIGHUP)
    assert wait_until(lambda: "process_not_replaced" in front.process.log.read_text(), SECONDS)
    assert front.with_key("new-key") == 200, "who could not take over left the old ones in their place"
