"""Signatures of the Standard Webhooks specification, version 1.0.0 (github.com/standard-webhooks/standard-webhooks).

`v1` is HMAC-SHA256 over the event's id, the attempt's time and the body, joined by dots, under the endpoint's
secret.  While a secret is replaced by another, both sign.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

PREFIX: Final = "whsec_"

SECRET_BYTES: Final = 32
"""As long as what SHA-256 makes; the specification asks for 24 to 64."""

RETIRED_MAX: Final = 4
"""Replaced secrets that sign at once, the newest: whoever rotates again and again does not grow the header."""


def new_secret() -> str:
    """A secret as it is shown: random bytes in base64 behind the prefix."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, event_id: UUID | str, timestamp: int, body: bytes) -> str:
    """One signature, `v1,…`, with a secret as `new_secret` writes it; `timestamp` in Unix seconds."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(known_secrets: Sequence[str], event_id: UUID, body: bytes, *, now: datetime) -> dict[str, str]:
    """The three headers of an attempt made at `now`: a signature for each secret, the newest first."""
    timestamp = int(now.timestamp())
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(one, event_id, timestamp, body) for one in known_secrets),
    }


def signing_secrets(secret: str, retired: Sequence[Mapping[str, str]], *, now: datetime) -> tuple[str, ...]:
    """The secrets that sign at `now`, the newest first; `retired` are as `retire` keeps them."""
    return (secret, *(one["secret"] for one in _still_signing(retired, now)))


def retire(
    secret: str, retired: Sequence[Mapping[str, str]], *, until: datetime, now: datetime
) -> list[Mapping[str, str]]:
    """What is kept of secrets that were replaced, when `secret` is and signs on `until` then."""
    newest = {"secret": secret, "until": until.isoformat()}
    return [newest, *_still_signing(retired, now)][:RETIRED_MAX]


def signing_until(retired: Sequence[Mapping[str, str]], *, now: datetime) -> datetime | None:
    """Until when a replaced secret signs too; None when none does."""
    ends = [datetime.fromisoformat(one["until"]) for one in _still_signing(retired, now)]
    return max(ends, default=None)


def _still_signing(retired: Sequence[Mapping[str, str]], now: datetime) -> list[Mapping[str, str]]:
    return [one for one in retired if datetime.fromisoformat(one["until"]) > now]
