"""What is kept of a failed attempt, and when the next one is due."""

from __future__ import annotations

import random
import traceback
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.exc import DBAPIError

BACKOFF_FIRST: Final = timedelta(seconds=1)

BACKOFF_SHARE_OF_HORIZON: Final = 12
"""The longest pause is this share of the horizon: a dozen tries at least, however long the horizon is."""

TRIES_MIN: Final = 5
"""Failed attempts before a job may fail for good, half a minute of them at least: a horizon that passed because the
clock was set forward, or because nobody worked, is no reason to give up."""

ERRORS_KEPT_MAX: Final = 10
"""Failed attempts described in a row, the newest."""

ERROR_LENGTH_MAX: Final = 500
FRAMES_KEPT_MAX: Final = 8


def backoff(attempt: int, horizon: timedelta) -> timedelta:
    """The pause after the failed `attempt` (1, 2, …): doubling, capped, and each between half and one and a half.

    The jitter keeps jobs that failed together (Stripe was down) from coming back together.
    """
    longest = max(horizon / BACKOFF_SHARE_OF_HORIZON, BACKOFF_FIRST)
    doublings = min(attempt - 1, 30)  # beyond it a timedelta overflows; the cap rules long before
    pause: timedelta = min(BACKOFF_FIRST * 2**doublings, longest)
    return pause * random.uniform(0.5, 1.5)  # noqa: S311 - nobody gains by guessing it  # nosec B311


def describe(error: BaseException) -> str:
    """The error's class and message, without the values of a statement, which may be personal data."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        diagnosis = getattr(error.orig, "diag", None)
        message = getattr(diagnosis, "message_primary", None) or str(error.orig).partition("\n")[0]
        return f"{type(error.orig).__name__}: {message}"[:ERROR_LENGTH_MAX]
    return f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX]


def error_entry(error: BaseException, *, attempt: int, now: datetime) -> dict[str, Any]:
    """One entry of a row's `errors` (domain.jobs.read.JobError)."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_KEPT_MAX:]
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"at": now, "attempt": attempt, "error": describe(error), "where": where}
