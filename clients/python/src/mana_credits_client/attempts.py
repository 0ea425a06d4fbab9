"""How often a call is sent, and what its answers mean.  Nothing is sent here: the two clients do what this asks of
them, so that there is one rule for both.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from mana_credits_client.errors import Unconfirmed, refusal
from mana_credits_client.requests import Request

T = TypeVar("T")

logger: Final = logging.getLogger("mana_credits_client")

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers of a service, or of a proxy before it, after which the same request may be answered otherwise."""

NOT_BEGUN: Final = frozenset({408, 425, 429})
"""Those of them that say that nothing was done."""

NOT_LET_IN: Final = frozenset({401, 403})
"""Answers about who asks: they say nothing of what an attempt before did, whose answer was lost."""

PAUSE_SECONDS_MAX: Final = 5.0
"""Where doubling ends: a service that restarts is back sooner."""


@dataclass(frozen=True)
class Patience:
    """How long is waited: for one answer, before the second attempt (then doubling), and for all together."""

    timeout_seconds: float = 5.0
    first_pause_seconds: float = 0.1
    deadline_seconds: float = 20.0

    def __post_init__(self) -> None:
        """Raises ValueError for a time that is not above zero."""
        if min(self.timeout_seconds, self.first_pause_seconds, self.deadline_seconds) <= 0:
            raise ValueError("times are above zero")


@dataclass(frozen=True)
class Send:
    """Send the request, and wait at most so long for it."""

    timeout_seconds: float


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Received:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Lost:
    """No whole answer came.  `was_sent` is False where there was no connection to send it on."""

    error: Exception
    was_sent: bool


Step = Send | Pause
Result = Received | Lost | None


def attempts(request: Request[T], patience: Patience) -> Generator[Step, Result, T]:
    """Ask to send and to pause until the call is answered; returns what the answer says.

    Raises Refused when the service says no, Unconfirmed when the deadline comes first.
    """
    ends_at = time.monotonic() + patience.deadline_seconds
    may_have_taken_effect = False
    defects = 0
    count = 0
    while True:
        count += 1
        left = ends_at - time.monotonic()
        result = yield Send(max(0.05, min(patience.timeout_seconds, left)))
        is_stranger = isinstance(result, Received) and result.status in NOT_LET_IN and may_have_taken_effect
        if isinstance(result, Received) and result.status not in RETRIED and not is_stranger:
            return _read(request, result, count)
        problem, wait_seconds = _look_at(result)
        may_have_taken_effect |= request.method != "GET" and _may_have_begun(result)
        defects += isinstance(result, Received) and result.status == 500
        backoff = min(PAUSE_SECONDS_MAX, patience.first_pause_seconds * 2.0 ** min(count - 1, 20))
        # Between half of it and all of it: callers who failed together do not come back together.
        pause = max(wait_seconds, backoff * random.uniform(0.5, 1.0))  # noqa: S311 - no secret  # nosec B311
        if is_stranger or defects > 1 or time.monotonic() + pause >= ends_at:
            raise Unconfirmed(
                f"{request.name}: {problem}",
                key=request.key,
                attempts=count,
                may_have_taken_effect=may_have_taken_effect,
            ) from (result.error if isinstance(result, Lost) else None)
        logger.warning("%s: %s; attempt %d follows in %.2f s", request.name, problem, count + 1, pause)
        yield Pause(pause)


def _may_have_begun(result: Result) -> bool:
    return result.status not in NOT_BEGUN if isinstance(result, Received) else _was_sent(result)


def _was_sent(result: Result) -> bool:
    return isinstance(result, Lost) and result.was_sent


def _look_at(result: Result) -> tuple[str, float]:
    """What went wrong, without anything that the request held, and the seconds that the service asked for."""
    if isinstance(result, Received):
        return f"the service answered {result.status}", retry_after_seconds(result.headers.get("retry-after"))
    return f"no answer ({type(result.error).__name__})" if result else "no answer", 0.0


def retry_after_seconds(said: str | None) -> float:
    """The seconds of a `Retry-After`, in either of its forms (RFC 9110, 10.2.3); 0 for none that can be read."""
    if said is None:
        return 0.0
    if said.strip().isdecimal():
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _read(request: Request[T], received: Received, count: int) -> T:
    body = _json(received.body)
    if 400 <= received.status < 500:
        raise refusal(received.status, body, received.headers.get("x-request-id"))
    if 200 <= received.status < 300:
        try:
            return request.read(body)
        except (KeyError, TypeError, ValueError, AttributeError):
            pass  # said below: what answered is not this service
    raise Unconfirmed(
        f"{request.name}: what answered {received.status} is not the credit service",
        key=request.key,
        attempts=count,
        may_have_taken_effect=request.method != "GET",
    )


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_float=Decimal)
    except ValueError:
        return None
