"""`verify_webhook` of the Python client, against what the service signs: what fits, and all that must not."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from domain.webhooks import signing
from mana_credits_client import WebhookNotVerified, verify_webhook
from mana_credits_client.webhooks import SIGNATURES_MAX, TOLERANCE_SECONDS

NOW = datetime(2026, 11, 22, 15, 28, 32, tzinfo=UTC)
SECONDS = NOW.timestamp()
SECRET, NEXT, STRANGE = (signing.new_secret() for _ in range(3))
BODY = b'{"id":"7","type":"balance.low","sequence":3,"data":{"userId":"anna","balance":0.1}}'


def signed(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    return signing.headers(secrets or (SECRET,), UUID(int=7), body, now=NOW)


def refused(
    headers: Mapping[str, str], body: bytes = BODY, *, secrets: Any = SECRET, now: float = SECONDS
) -> str:
    with pytest.raises(WebhookNotVerified) as found:
        verify_webhook(secrets, headers, body, now=now)
    return str(found.value)


def test_what_the_service_signs_is_verified_and_read_with_exact_amounts() -> None:
    event = verify_webhook(SECRET, signed(), BODY, now=SECONDS)
    assert (event["type"], event["sequence"]) == ("balance.low", 3)
    assert event["data"]["balance"] == Decimal("0.1")


def test_the_specifications_own_example_is_verified() -> None:
    """libraries/javascript/src/webhook.test.ts of standard-webhooks: "sign function works"."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    assert verify_webhook(secret, headers, body, now=1614265330) == {"test": 2432232314}


def test_names_of_headers_are_taken_in_any_case() -> None:
    verify_webhook(SECRET, {name.title(): value for name, value in signed().items()}, BODY, now=SECONDS)


@pytest.mark.parametrize(
    "known",
    [SECRET, NEXT, [STRANGE, SECRET], [NEXT, STRANGE]],
    ids=["the old one", "the next one", "the old one among several", "the next one among several"],
)
def test_while_a_secret_is_replaced_one_signature_that_fits_one_secret_is_enough(known: Any) -> None:
    verify_webhook(known, signed(NEXT, SECRET), BODY, now=SECONDS)


def test_another_secret_verifies_nothing() -> None:
    assert refused(signed(), secrets=[STRANGE, NEXT]) == "no signature fits"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda h: h | {"webhook-id": str(UUID(int=8))},
        lambda h: h | {"webhook-timestamp": str(int(SECONDS) + 1)},
        lambda h: h | {"webhook-signature": h["webhook-signature"].replace("v1,", "v1a,")},
        lambda h: h | {"webhook-signature": h["webhook-signature"].removeprefix("v1,")},
        lambda h: h | {"webhook-signature": "v1, v1,é v1,%% ,"},
        lambda h: (
            h | {"webhook-signature": " ".join(["v1,AAAA"] * SIGNATURES_MAX + [h["webhook-signature"]])}
        ),
    ],
)
def test_what_was_changed_or_is_no_signature_fits_nothing(
    spoil: Callable[[dict[str, str]], dict[str, str]],
) -> None:
    assert refused(spoil(signed())) == "no signature fits"


def test_a_changed_body_fits_nothing() -> None:
    assert refused(signed(), BODY.replace(b"0.1", b"0.2")) == "no signature fits"
    assert refused(signed(), json.dumps(json.loads(BODY)).encode()) == "no signature fits"


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_not_there_is_named(missing: str) -> None:
    assert refused({**signed(), missing: ""}) == f"there is no {missing}"
    assert refused({name: value for name, value in signed().items() if name != missing}).endswith(missing)


@pytest.mark.parametrize("way", [-1, 1])
def test_five_minutes_away_is_taken_and_more_is_not(way: int) -> None:
    verify_webhook(SECRET, signed(), BODY, now=SECONDS + way * TOLERANCE_SECONDS)
    assert "five minutes" in refused(signed(), now=SECONDS + way * (TOLERANCE_SECONDS + 1))


def test_without_a_time_given_it_is_that_of_the_clock() -> None:
    with pytest.raises(WebhookNotVerified):
        verify_webhook(
            SECRET, signing.headers([SECRET], UUID(int=7), BODY, now=datetime(2020, 1, 1, tzinfo=UTC)), BODY
        )
    now = signing.headers([SECRET], UUID(int=7), BODY, now=datetime.now(UTC))
    assert verify_webhook(SECRET, now, BODY)["id"] == "7"


@pytest.mark.parametrize("timestamp", ["soon", "-1", "1e3", "٣", "9" * 5000])
def test_a_time_that_is_none_is_refused_even_when_it_is_signed(timestamp: str) -> None:
    key_signed = f"7.{timestamp}.".encode() + BODY
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    made = base64.b64encode(hmac.digest(key, key_signed, "sha256")).decode()
    headers = {"webhook-id": "7", "webhook-timestamp": timestamp, "webhook-signature": f"v1,{made}"}
    assert refused(headers) == "webhook-timestamp is no time"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    assert "body" in refused(signed(body=body), body)


def test_signatures_are_compared_in_constant_time_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []
    compare = hmac.compare_digest

    def counting(one: Any, other: Any) -> bool:
        compared.append(compare(one, other))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", counting)
    verify_webhook([SECRET, STRANGE], signed(SECRET, NEXT), BODY, now=SECONDS)
    assert compared == [True, False, False, False]


@pytest.mark.parametrize("secrets", ["", "whsec_", "whsec_%%", [], [SECRET, "whsec_ä"]])
def test_a_secret_that_is_none_is_an_error_that_does_not_tell_it(secrets: Any) -> None:
    with pytest.raises(ValueError, match="secret") as found:
        verify_webhook(secrets, signed(), BODY, now=SECONDS)
    assert "%%" not in str(found.value)


def test_a_body_that_was_read_as_text_is_an_error() -> None:
    with pytest.raises(TypeError):
        verify_webhook(SECRET, signed(), BODY.decode(), now=SECONDS)  # type: ignore[arg-type]
