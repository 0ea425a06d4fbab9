"""Why a request's token was not accepted."""

from typing import Final, Literal

Reason = Literal[
    "missing_header",
    "malformed_header",
    "too_large",
    "malformed_token",
    "wrong_algorithm",
    "unsupported_header",
    "unknown_key",
    "bad_signature",
    "malformed_claims",
    "wrong_issuer",
    "wrong_audience",
    "expired",
    "not_yet_valid",
]
"""In the order in which they are looked for: a token with several faults is refused for the first."""

_FAULTS_OF_THE_HEADER: Final = frozenset({"missing_header", "malformed_header"})


class NotAuthenticated(Exception):
    """The request does not prove who calls.

    `reason` is for logs and metrics.  The caller is told `message` and no more: which check failed would
    help a forger alone.  Neither holds any part of the token.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def message(self) -> str:
        """What the wire contract tells the caller."""
        if self.reason in _FAULTS_OF_THE_HEADER:
            return "Missing or invalid Authorization header"
        return "Invalid or expired token"


class KeysUnavailable(Exception):
    """The token names a key that is not known, and mana-auth cannot be asked for it now.

    The token may be good, so this is an outage and no refusal.  A new try is useful after
    `retry_after_seconds` (a whole number, at least 1).
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"mana-auth's keys cannot be fetched; asked again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
