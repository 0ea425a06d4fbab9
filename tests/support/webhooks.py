"""Webhooks for tests: endpoints, an app that takes what it is sent or does not, and a deliverer without a network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from devkit.waiting import wait_until
from domain.database import transaction
from domain.webhooks import EventType, ReservationExpired, endpoints, lanes, low_balances, signing, tell
from domain.webhooks.endpoints import Wanted
from domain.webhooks.lanes import Attempt, Sending
from tests.support.ledger import NOW, scalar

EVERYTHING = list(EventType)


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that was made, with the secret that was told once."""

    id: UUID
    url: str
    secret: str


def listen(
    engine: Engine,
    *events: EventType,
    url: str = "https://app.example/hooks",
    app_id: str = "chat",
    threshold: int | None = None,
    now: datetime = NOW,
) -> Endpoint:
    """Make an endpoint for these events; for all without them."""
    listens = list(events) or EVERYTHING
    if threshold is None and EventType.BALANCE_LOW in listens:
        threshold = 10
    wanted = Wanted(
        app_id=app_id,
        url=url,
        events=listens,
        low_balance_threshold=None if threshold is None else Decimal(threshold),
    )
    with transaction(engine) as connection:
        endpoint_id, secret = endpoints.create(connection, wanted, now=now)
    return Endpoint(endpoint_id, url, secret)


def right_signature(secret: str, event_id: str, timestamp: str, body: bytes) -> str:
    """By the specification's words, not by our code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, b".".join([event_id.encode(), timestamp.encode(), body]), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def commit_when_waited_for(engine: Engine, holder: Connection) -> None:
    """Commit what `holder` did as soon as another session of the database waits for it."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    assert wait_until(lambda: scalar(engine, query) == 1, 10)
    holder.commit()


Answers = Callable[[Sending, datetime], Attempt]


def answering(status: int, **more: Any) -> Answers:
    """Always this status."""
    return lambda _sent, now: Attempt(at=now, seconds=0.1, status=status, **more)


def silent(_sent: Sending, now: datetime) -> Attempt:
    """Never an answer."""
    return Attempt(at=now, seconds=15.0, error="no answer within 15 s")


@dataclass
class App:
    """Takes webhooks in memory.  `answers` says what it does, by its address; `heard` is what it took, in order."""

    answers: dict[str, Answers] = field(default_factory=dict)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str, datetime]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, sent: Sending, now: datetime) -> Attempt:
        """What a door to the outside does."""
        self.asked.append((sent.url, now))
        attempt = self.answers.get(sent.url, answering(200))(sent, now)
        self.headers.append(signing.headers(sent.secrets, sent.event_id, sent.body, now=now))
        self.bodies.append(sent.body)
        if attempt.is_success:
            self.heard.append((sent.url, json.loads(sent.body, parse_float=Decimal)))
        return attempt

    def told(self, url: str | None = None) -> list[dict[str, Any]]:
        """The events that it took, at one address or at all."""
        return [event for at, event in self.heard if url is None or at == url]

    def types(self, url: str | None = None) -> list[str]:
        return [event["type"] for event in self.told(url)]


@dataclass
class Post:
    """A deliverer: claims, sends, records, each in a transaction of its own, at the time that a test says."""

    engine: Engine
    app: App = field(default_factory=App)
    now: datetime = NOW

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)

    def claim(self) -> list[Sending]:
        with transaction(self.engine) as connection:
            return lanes.claim(connection, {}, now=self.now)

    def record(self, sent: Sending, attempt: Attempt) -> Sending | None:
        with transaction(self.engine) as connection:
            return lanes.record(connection, sent, attempt, now=self.now)

    def send(self, sent: Sending) -> Sending | None:
        return self.record(sent, self.app.take(sent, self.now))

    def deliver(self) -> int:
        """Send all that is due now; how many attempts were made."""
        count = 0
        while claimed := self.claim():
            for first in claimed:
                sent: Sending | None = first
                while sent is not None:
                    count += 1
                    sent = self.send(sent)
        return count

    def deliver_until(self, end: datetime, *, step: timedelta = timedelta(minutes=5)) -> int:
        """The same, as time goes by."""
        count = 0
        while self.now <= end:
            count += self.deliver()
            self.now += step
        return count

    def look(self, **options: Any) -> int:
        """Look for low balances."""
        with transaction(self.engine) as connection:
            return low_balances.look(connection, self.now, **options)


@dataclass(frozen=True)
class Rows:
    """Endpoints of all states, and deliveries of all states to the one that `works`, by their state."""

    works: UUID
    fails: UUID
    paused: UUID
    disabled: UUID
    deliveries: Mapping[str, UUID]


def fill(engine: Engine, *, words: str = "out of <b>order</b>") -> Rows:
    """Endpoints and deliveries to look at; an app answered `words`, which are also a description and a person's id."""
    now = datetime.now(UTC)
    post = Post(engine, now=now - timedelta(days=4))
    works, fails, paused, disabled = (
        listen(engine, url=f"https://app.example/{name}", app_id=name, now=post.now)
        for name in ("chat", "dream", "mail", "research")
    )
    with transaction(engine) as connection:
        endpoints.change(connection, works.id, endpoints.Changes(description=words), now=post.now)
        endpoints.pause(connection, paused.id, now=post.now)
    broken = answering(503, answer=words)
    post.app.answers = {works.url: broken, fails.url: silent, disabled.url: answering(410)}
    _expires(engine, words, post.now)
    post.deliver()
    post.forward(hours=73)
    post.deliver()
    post.app.answers[works.url] = answering(204)
    _expires(engine, "anna", post.now)
    post.deliver()
    post.app.answers[works.url] = broken
    with transaction(engine) as connection:
        endpoints.rotate(connection, works.id, now=now)
    post.now = now
    _expires(engine, "ben", now)
    post.deliver()
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT state, id FROM ops.webhook_deliveries WHERE endpoint_id = %s", (works.id,)
        )
        deliveries = {row.state: row.id for row in found}
    assert set(deliveries) == {"failed", "delivered", "waiting"}
    return Rows(works.id, fails.id, paused.id, disabled.id, deliveries)


def _expires(engine: Engine, user_id: str, now: datetime) -> None:
    event = ReservationExpired(
        user_id=user_id, reservation_id=UUID(int=1), amount=Decimal("2.5"), app_id="chat"
    )
    with transaction(engine) as connection:
        tell(connection, [event], now=now)
