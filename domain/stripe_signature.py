"""Whether a webhook comes from Stripe: the signature over its raw bytes.

The scheme is `v1` of docs.stripe.com/webhooks/signature: HMAC-SHA256, under the endpoint's secret, of the
header's timestamp, a dot and the body.  Written here and not taken from the SDK, since that reads the clock
itself, breaks on a header that is not ASCII, and would hold several secrets' failures as exceptions.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

TOLERANCE: Final = timedelta(seconds=300)
"""How old a signature may be (contract, section 3); an older one may be somebody's recording."""

_SCHEME: Final = "v1"
_HEADER_LENGTH_MAX: Final = 4096


def is_signed(body: bytes, header: str, secrets: Sequence[str], *, now: datetime) -> bool:
    """Whether one of the signatures in the header is right for one of the secrets, and recent.

    Several secrets are accepted at once while one replaces another.  Without a secret nothing is signed.
    """
    signed_at, signatures = _parse(header)
    if signed_at is None or int(signed_at) < (now - TOLERANCE).timestamp():
        return False
    signed = signed_at.encode() + b"." + body
    found = False
    for secret in secrets:
        if secret.strip():
            expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
            for signature in signatures:
                found |= hmac.compare_digest(expected, signature)
    return found


def _parse(header: str) -> tuple[str | None, list[bytes]]:
    """The timestamp, as it is written, and the signatures; None when the header is not Stripe's."""
    if len(header) > _HEADER_LENGTH_MAX or not header.isascii():
        return None, []
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not times[0].isdigit() or len(times[0]) > 12:
        return None, []
    return times[0], [value.encode() for name, _, value in parts if name == _SCHEME]
