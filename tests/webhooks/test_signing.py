"""Signatures as the specification has them; during a rotation two secrets sign."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Engine

from domain.database import transaction
from domain.webhooks import ReservationExpired, endpoints, signing, tell
from domain.webhooks.endpoints import SECRET_KEPT
from domain.webhooks.signing import RETIRED_MAX
from tests.support.ledger import NOW
from tests.support.webhooks import Endpoint, Post, listen, right_signature


def test_the_signature_is_that_of_the_specifications_own_example() -> None:
    """libraries/javascript/src/webhook.test.ts of standard-webhooks: "sign function works"."""
    made = signing.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_random_long_enough_and_look_as_they_should() -> None:
    made = {signing.new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert re.fullmatch(r"whsec_[A-Za-z0-9+/]+=*", secret)
        assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64


def test_the_headers_name_the_event_the_moment_and_sign_both_with_the_body() -> None:
    secret, event_id = signing.new_secret(), UUID(int=7)
    now = datetime(2026, 11, 22, 15, 28, 32, 999_000, tzinfo=UTC)
    made = signing.headers([secret], event_id, b"{}", now=now)
    assert made["webhook-id"] == str(event_id)
    assert made["webhook-timestamp"] == str(int(now.timestamp()))
    assert made["webhook-signature"] == right_signature(
        secret, str(event_id), made["webhook-timestamp"], b"{}"
    )
    assert "." not in made["webhook-id"] + made["webhook-timestamp"]


def happens(engine: Engine, now: datetime) -> None:
    event = ReservationExpired(user_id="anna", reservation_id=UUID(int=1), amount=Decimal(5), app_id=None)
    with transaction(engine) as connection:
        tell(connection, [event], now=now)


def rotate(post_office: Post, made: Endpoint) -> str:
    with transaction(post_office.engine) as connection:
        secret, until = endpoints.rotate(connection, made.id, now=post_office.now)
    assert until == post_office.now + SECRET_KEPT
    return secret


def signatures(post_office: Post) -> tuple[list[str], dict[str, str], bytes]:
    """Those of the newest attempt, with its headers and body."""
    happens(post_office.engine, post_office.now)
    post_office.deliver()
    headers = dict(post_office.app.headers[-1])
    return headers["webhook-signature"].split(" "), headers, post_office.app.bodies[-1]


def fits(secret: str, found: tuple[list[str], dict[str, str], bytes]) -> bool:
    given, headers, body = found
    return right_signature(secret, headers["webhook-id"], headers["webhook-timestamp"], body) in given


def test_for_a_day_both_secrets_sign_and_then_the_new_one_alone(post_office: Post) -> None:
    made = listen(post_office.engine)
    new = rotate(post_office, made)
    found = signatures(post_office)
    assert len(found[0]) == 2
    assert fits(made.secret, found)
    assert fits(new, found)
    assert found[0][0] == signatures_of(new, found)
    post_office.now = NOW + SECRET_KEPT - timedelta(seconds=1)
    assert fits(made.secret, signatures(post_office))
    post_office.now = NOW + SECRET_KEPT
    found = signatures(post_office)
    assert len(found[0]) == 1
    assert fits(new, found)
    assert not fits(made.secret, found)


def signatures_of(secret: str, found: tuple[list[str], dict[str, str], bytes]) -> str:
    _, headers, body = found
    return right_signature(secret, headers["webhook-id"], headers["webhook-timestamp"], body)


def test_who_rotates_twice_within_a_day_breaks_nobody(post_office: Post) -> None:
    made = listen(post_office.engine)
    secrets = [made.secret, rotate(post_office, made)]
    post_office.forward(hours=1)
    secrets.append(rotate(post_office, made))
    found = signatures(post_office)
    assert all(fits(secret, found) for secret in secrets)


def test_who_rotates_all_the_time_does_not_grow_the_header(post_office: Post) -> None:
    made = listen(post_office.engine)
    secrets = [rotate(post_office, made) for _ in range(10)]
    found = signatures(post_office)
    assert len(found[0]) == RETIRED_MAX + 1
    assert all(fits(secret, found) for secret in secrets[-RETIRED_MAX - 1 :])


def test_each_endpoint_signs_with_its_own_secret(post_office: Post) -> None:
    one = listen(post_office.engine, url="https://one.example/")
    two = listen(post_office.engine, url="https://two.example/")
    assert one.secret != two.secret
    happens(post_office.engine, NOW)
    post_office.deliver()
    urls = [url for url, _ in post_office.app.asked]
    for made in (one, two):
        at = urls.index(made.url)
        headers, body = post_office.app.headers[at], post_office.app.bodies[at]
        expected = right_signature(made.secret, headers["webhook-id"], headers["webhook-timestamp"], body)
        assert headers["webhook-signature"] == expected


def test_no_text_of_what_is_sent_shows_a_secret(post_office: Post) -> None:
    made = listen(post_office.engine)
    happens(post_office.engine, NOW)
    [sent] = post_office.claim()
    assert made.secret not in repr(sent)
    assert made.secret.removeprefix("whsec_")[:20] not in repr(sent)
