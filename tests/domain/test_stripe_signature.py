"""Webhook signatures, against the SDK's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import stripe

from domain.stripe_signature import is_signed
from simulators.stripe import sign

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
BODY = '{"id": "evt_1", "ü": "€"}'.encode()
OURS = ("whsec_new", "whsec_old")


def signed(*secrets: str, at: int = AT, body: bytes = BODY) -> str:
    return sign(body, secrets, at)


@pytest.mark.parametrize("secret", OURS)
def test_any_of_our_secrets_will_do_while_one_replaces_the_other(secret: str) -> None:
    assert is_signed(BODY, signed(secret), OURS, now=NOW)
    assert is_signed(BODY, signed("whsec_unknown", secret), OURS, now=NOW)


def test_what_the_sdk_signs_is_signed() -> None:
    header = stripe.WebhookSignature.generate_signature_header(BODY.decode(), OURS[0], AT)
    assert is_signed(BODY, header, OURS, now=NOW)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, True), (300, True), (301, False), (86_400, False), (-30, True)]
)
def test_a_signature_older_than_its_tolerance_is_a_recording(seconds: int, expected: bool) -> None:
    header = signed(OURS[0])
    assert is_signed(BODY, header, OURS, now=NOW + timedelta(seconds=seconds)) is expected


@pytest.mark.parametrize("secrets", [(), ("",), (" ",)])
def test_without_a_secret_nothing_is_signed(secrets: tuple[str, ...]) -> None:
    assert not is_signed(BODY, signed(""), secrets, now=NOW)
    assert not is_signed(BODY, signed(" "), secrets, now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "t=,v1=",
        f"t={AT}",
        f"t={AT},v1=",
        f"t={AT},v1=00",
        f"t={AT},v1=é",
        f"t={AT}," + signed(OURS[0]).partition(",")[2].replace("v1=", "v0="),
        f"t={AT + 1}," + signed(OURS[0]).partition(",")[2],
        f"t=-{AT}," + signed(OURS[0]).partition(",")[2],
        f"t={AT}.0," + signed(OURS[0]).partition(",")[2],
        "t=" + "9" * 30 + ",v1=00",
        f"t=1,t={AT}," + signed(OURS[0]).partition(",")[2],
        signed("whsec_forged"),
        signed(OURS[0]) + ",v1=" + "0" * 5000,
        signed(OURS[0], body=BODY + b" "),
    ],
)
def test_a_forged_or_broken_header_is_no_signature(header: str) -> None:
    assert not is_signed(BODY, header, OURS, now=NOW)


def test_a_body_that_is_no_text_is_compared_byte_by_byte() -> None:
    body = b"\xff\xfe{}"
    assert is_signed(body, signed(OURS[0], body=body), OURS, now=NOW)
    assert not is_signed(body + b"\xff", signed(OURS[0], body=body), OURS, now=NOW)
