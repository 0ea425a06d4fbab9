"""When what was not delivered is tried again, and when it is given up."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Final

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""After the first failure, the second, and so on: the schedule of the Standard Webhooks specification."""

JITTER: Final = 0.1
"""The part of a pause that is left to chance, so that what failed together does not come back together."""

TRIED_FOR: Final = timedelta(days=3)
"""From the first failure to the last attempt; for what happened while its lane failed, from then on, so that a lane is
never further behind.  Workers that were down meanwhile use it up, and still try once."""

RETRY_AFTER_MAX: Final = PAUSES[-1]
"""An endpoint may ask for a longer pause than ours, up to the longest of ours."""

DISABLED_AFTER: Final = timedelta(days=5)
"""An endpoint that took nothing for so long, while it was tried, is disabled: longer than anything is tried."""

DISABLED_WITH: Final = timedelta(days=1)
"""For so long what it refuses then has been tried.  It may have had nothing to take between, for weeks."""


def is_given_up(tried_since: datetime, now: datetime) -> bool:
    """Whether a failure at `now` is the last one of what is tried since then."""
    return now >= tried_since + TRIED_FOR


def is_disabled(failing_since: datetime, tried_since: datetime, now: datetime) -> bool:
    """Whether an endpoint that takes nothing since then is disabled, for a failure at `now` of what is tried since."""
    return now >= failing_since + DISABLED_AFTER and now >= tried_since + DISABLED_WITH


def next_attempt(failures: int, tried_since: datetime, now: datetime) -> datetime:
    """When what failed for the `failures`-th time in a row is tried again: at the end of TRIED_FOR, at the latest."""
    pause = PAUSES[min(failures, len(PAUSES)) - 1]
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - nobody gains by guessing it  # nosec B311
    return min(now + pause * spread, max(tried_since + TRIED_FOR, now + PAUSES[0]))
