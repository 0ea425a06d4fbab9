"""Whether a webhook came from the service: signatures of Standard Webhooks 1.0.0 (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

_PREFIX: Final = "whsec_"

TOLERANCE_SECONDS: Final = 300
"""How far a webhook's time may be from now, before or after: what the specification's own libraries take."""

SIGNATURES_MAX: Final = 20
"""The service sends a handful; whoever sends thousands wants us to compare."""


class WebhookNotVerified(Exception):
    """The request is not a webhook of the service, or not one of now: answer 400 and do nothing."""


def verify_webhook(
    secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes, *, now: float | None = None
) -> dict[str, Any]:
    """The event, once a signature fits: `id`, `type`, `timestamp`, `sequence`, `data`; amounts are `int` or `Decimal`.

    `secrets` are the endpoint's, `whsec_…`: one, or several while one replaces another; one that fits is enough.
    `body` are the raw bytes as they came, `headers` those of the request, in any case.  `now`, in Unix seconds, is
    the machine's clock unless given.
    Raises WebhookNotVerified; ValueError for a secret that is none, TypeError for a body that is not bytes.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError("body must be the raw bytes of the request")
    raw = bytes(body)
    keys = [_key(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    if not keys:
        raise ValueError("no secret was given")
    given = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = _header(given, "webhook-id"), _header(given, "webhook-timestamp")
    signatures = _signatures(_header(given, "webhook-signature"))
    signed = f"{event_id}.{timestamp}.".encode() + raw
    expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    # All are compared, each in a time that says nothing of where it differs.
    fits = [hmac.compare_digest(one, other) for one in expected for other in signatures]
    if not any(fits):
        raise WebhookNotVerified("no signature fits")
    _check_time(timestamp, time.time() if now is None else now)
    return _event(raw)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        # Without `from`: what was given may be a secret with a slip in it.
        raise ValueError("a secret is whsec_ and base64, as the service told it") from None
    return key


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise WebhookNotVerified(f"there is no {name}")
    return value


def _signatures(value: str) -> list[bytes]:
    """Those of version 1; others, of versions to come, are passed over."""
    found = []
    for one in value.split(" ")[:SIGNATURES_MAX]:
        version, _, encoded = one.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _check_time(timestamp: str, now: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise WebhookNotVerified("webhook-timestamp is no time")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise WebhookNotVerified("webhook-timestamp is more than five minutes away")


def _event(raw: bytes) -> dict[str, Any]:
    try:
        event = json.loads(raw, parse_float=Decimal)
    except ValueError:
        raise WebhookNotVerified("the body is no JSON") from None
    if not isinstance(event, dict):
        raise WebhookNotVerified("the body is no event")
    return event
