"""A scheduler that does nothing but lead: says so when it does.  `takeover` runs two of them."""

from __future__ import annotations

import sys
import time

import structlog

from domain import database
from domain.database import make_engine
from scheduler.leadership import Leadership

TRY_EVERY_SECONDS = 0.1


def main(url: str, silence_seconds: int) -> None:
    """Try for ever; `silence_seconds` instead of the usual ones, so that a test need not wait for those."""
    database.SILENCE_SECONDS = silence_seconds  # type: ignore[misc]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stdout))
    leadership = Leadership(make_engine(url, pool_size=1))
    while True:
        leadership.hold()
        time.sleep(TRY_EVERY_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
