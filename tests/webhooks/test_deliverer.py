"""The deliverer, with real endpoints: nobody waits for another, everything arrives whoever is killed."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from devkit.postgres import Postgres
from domain.database import transaction
from domain.webhooks import ReservationExpired, tell
from domain.webhooks.addresses import AddressRules
from domain.webhooks.lanes import AT_ONCE_MAX, CLAIMED_FOR, Attempt, Sending
from tests.support.crew import Crew, eventually
from tests.support.endpoints import LocalApp, local_app
from tests.support.jobs import engine_on
from tests.support.ledger import scalar
from tests.support.webhooks import listen, right_signature
from workers.deliverer import Deliverer
from workers.webhook_door import WebhookDoor

LOCAL = AddressRules(allows_http=True, allows_local=True)


def utc_now() -> datetime:
    return datetime.now(UTC)


def happen(engine: Engine, people: list[str], *, times: int = 1, start: int = 0) -> None:
    """So many events of each person, in turn; one transaction."""
    with transaction(engine) as connection:
        events = [
            ReservationExpired(user_id=user, reservation_id=UUID(int=n), amount=Decimal(n), app_id=None)
            for n in range(start, start + times)
            for user in people
        ]
        tell(connection, events, now=utc_now())


def amounts(app: LocalApp) -> dict[str, list[int]]:
    """Each person's events as they came, the first time of each."""
    found: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for event in app.events:
        if event["id"] not in seen:
            seen.add(event["id"])
            found[event["data"]["userId"]].append(event["data"]["amount"])
    return dict(found)


@pytest.fixture
def plain_engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


@contextmanager
def delivering(engine: Engine, door: WebhookDoor | None = None) -> Iterator[Deliverer]:
    deliverer = Deliverer(engine, door or WebhookDoor(LOCAL), utc_now)
    deliverer.start()
    yield deliverer
    deliverer.stop()


def waiting(engine: Engine) -> int:
    count: int = scalar(engine, "SELECT count(*) FROM ops.webhook_deliveries WHERE state = 'waiting'")
    return count


def test_an_event_arrives_within_moments_signed(plain_engine: Engine) -> None:
    with local_app() as app, delivering(plain_engine):
        made = listen(plain_engine, url=app.url)
        happen(plain_engine, ["anna"])
        took = eventually(lambda: len(app.heard) == 1, "delivered", 10)
        eventually(lambda: waiting(plain_engine) == 0, "recorded", 10)
    headers = {name.lower(): value for name, value in app.heard[0].headers.items()}
    expected = right_signature(
        made.secret, headers["webhook-id"], headers["webhook-timestamp"], app.heard[0].body
    )
    assert headers["webhook-signature"] == expected
    print(f"delivered {took:.2f} s after the commit")


class BrokenDoor(WebhookDoor):
    """Has a defect."""

    async def post(self, sent: Sending, *, now: datetime) -> Attempt:
        raise LookupError(f"{sent.event_id} at {now}")


def test_a_defect_of_the_door_is_an_attempt_that_failed_and_pauses_follow(plain_engine: Engine) -> None:
    listen(plain_engine)
    happen(plain_engine, ["anna"])
    with delivering(plain_engine, BrokenDoor(LOCAL)):
        eventually(lambda: scalar(plain_engine, ATTEMPTS) >= 1, "recorded", 10)
    assert scalar(plain_engine, "SELECT last_error FROM ops.webhook_deliveries") == "no answer: LookupError"
    assert scalar(plain_engine, "SELECT failures FROM ops.webhook_lanes WHERE claim IS NULL") >= 1


ATTEMPTS = "SELECT attempts FROM ops.webhook_deliveries"


def test_a_thousand_events_for_a_slow_endpoint_delay_no_other(plain_engine: Engine) -> None:
    with local_app(delay_seconds=5) as slow, local_app() as quick, delivering(plain_engine):
        listen(plain_engine, url=slow.url)
        listen(plain_engine, url=quick.url)
        people = [f"user-{number}" for number in range(1_000)]
        happen(plain_engine, people)
        took = eventually(lambda: len(quick.heard) == 1_000, "the quick one told", 60)
        assert slow.at_once_max == AT_ONCE_MAX
        assert len(slow.heard) <= AT_ONCE_MAX * (took / 5 + 2)
        began = time.monotonic()
        happen(plain_engine, ["anna"])
        eventually(lambda: len(quick.heard) == 1_001, "told", 10)
        print(f"1,000 in {took:.1f} s; one beside 1,000 slow ones in {time.monotonic() - began:.2f} s")


def test_different_people_go_side_by_side_and_one_persons_events_one_after_the_other(
    plain_engine: Engine,
) -> None:
    on_their_way: defaultdict[str, int] = defaultdict(int)
    worst: defaultdict[str, int] = defaultdict(int)

    async def take(_request: web.Request, body: bytes) -> web.StreamResponse:
        user_id = json.loads(body)["data"]["userId"]
        on_their_way[user_id] += 1
        worst[user_id] = max(worst[user_id], on_their_way[user_id])
        await asyncio.sleep(0.05)
        on_their_way[user_id] -= 1
        return web.Response()

    with local_app(answer=take) as app, delivering(plain_engine), delivering(plain_engine):
        listen(plain_engine, url=app.url)
        people = [f"user-{number}" for number in range(6)]
        happen(plain_engine, people, times=8)
        eventually(lambda: waiting(plain_engine) == 0, "all delivered", 30)
    assert amounts(app) == {user_id: list(range(8)) for user_id in people}
    assert len(app.heard) == 48
    assert set(worst.values()) == {1}
    assert app.at_once_max > 1


def test_an_endpoint_whose_name_or_machine_is_gone_delays_no_other(plain_engine: Engine) -> None:
    with local_app() as app, delivering(plain_engine):
        listen(plain_engine, url="https://nowhere.invalid/hooks")
        # TEST-NET-1, which answers nobody: no connection for as long as one is tried.
        listen(plain_engine, url="https://192.0.2.1/hooks")
        listen(plain_engine, url=app.url)
        happen(plain_engine, [f"user-{number}" for number in range(20)])
        eventually(lambda: len(app.heard) == 20, "told", 20)


def test_stopping_lets_what_is_under_way_end_and_begins_nothing_more(plain_engine: Engine) -> None:
    with local_app(delay_seconds=0.5) as app:
        listen(plain_engine, url=app.url)
        with delivering(plain_engine):
            happen(plain_engine, ["anna", "ben"], times=5)
            eventually(lambda: len(app.heard) >= 2, "begun", 10)
        heard = len(app.heard)
        assert waiting(plain_engine) == 10 - heard
        due = "SELECT count(*) FROM ops.webhook_lanes WHERE next_at <= now() AND claim IS NULL"
        assert scalar(plain_engine, due) == 2, "given back at once"
        with delivering(plain_engine):
            eventually(lambda: waiting(plain_engine) == 0, "the rest", 20)
    assert amounts(app) == {"anna": list(range(5)), "ben": list(range(5))}
    assert len(app.heard) == 10


def test_an_attempt_that_does_not_end_is_broken_off_and_made_again(
    plain_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.deliverer.STOP_SECONDS", 0.2)
    with local_app(delay_seconds=12) as app:
        listen(plain_engine, url=app.url)
        with delivering(plain_engine):
            happen(plain_engine, ["anna"])
            eventually(lambda: len(app.heard) == 1, "begun", 10)
        app.delay_seconds = 0
        with delivering(plain_engine):
            eventually(lambda: waiting(plain_engine) == 0, "made again", 10)
    assert [event["id"] for event in app.events] == [app.events[0]["id"]] * 2
    assert scalar(plain_engine, "SELECT attempts FROM ops.webhook_deliveries") == 1


def test_while_the_database_is_away_it_waits_and_then_goes_on(
    own_postgres: Callable[[], Postgres],
) -> None:
    server = own_postgres()
    url = server.url("mana_credits")
    with engine_on(url) as engine, local_app() as app, delivering(engine) as deliverer:
        listen(engine, url=app.url)
        happen(engine, ["anna"])
        eventually(lambda: waiting(engine) == 0, "told, and that written", 15)
        server.stop()
        time.sleep(1.5)
        assert deliverer.is_alive
        server.start()
        eventually(lambda: _tell(engine), "telling again", 20)
        eventually(lambda: len(app.heard) >= 2, "told again", 20)
        assert deliverer.is_alive


def _tell(engine: Engine) -> bool:
    try:
        happen(engine, ["anna"], start=1)
    except SQLAlchemyError:
        return False
    return True


def test_workers_killed_again_and_again_deliver_everything_in_order(
    plain_engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """kill -9 of whole worker processes while they are at it; two at a time."""
    people = [f"user-{number}" for number in range(8)]
    with local_app(delay_seconds=0.02) as app:
        listen(plain_engine, url=app.url)
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "WORKER_THREADS": "1",
            "WEBHOOKS_TO_LOCAL": "on",
        }
        crews = [
            Crew("workers", "worker_ready", environment, tmp_path / f"workers-{number}.log")
            for number in range(2)
        ]
        for crew in crews:
            crew.start()
        for turn in range(4):
            happen(plain_engine, people, times=10, start=turn * 10)
            before = len(app.heard)
            eventually(lambda n=before: len(app.heard) > n + 10, "under way", 40)  # type: ignore[misc]
            crew = crews[turn % 2]
            crew.kill()
            crew.start()
        # What a killed worker had claimed is free again when its claim has ended.
        most = CLAIMED_FOR.total_seconds() + 40
        eventually(lambda: waiting(plain_engine) == 0, "all delivered", most)
        for crew in crews:
            crew.kill()
    assert amounts(app) == {user_id: list(range(40)) for user_id in people}
    repeats = len(app.heard) - 320
    print(f"320 events, {repeats} of them sent again")
    assert repeats <= 4 * AT_ONCE_MAX
    with plain_engine.connect() as connection:
        states = connection.execute(text("SELECT DISTINCT state FROM ops.webhook_deliveries")).scalars().all()
    assert states == ["delivered"]
