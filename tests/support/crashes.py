"""A process that dies before its n-th statement or commit: for every n, until it lives to the end.

The death is that of kill -9 as the database sees it: nothing more is sent, the session ends, what was not
committed is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from domain.database import make_engine


class Killed(BaseException):
    """No Exception: nothing that lives through errors may live through this."""


class Countdown:
    """Counts what an engine sends: statements and commits."""

    def __init__(self, dies_before: int | None) -> None:
        self.count = 0
        self._dies_before = dies_before

    def __call__(self, *_arguments: Any) -> None:
        self.count += 1
        # Once dead it stays so: clearing up after the error must not reach the database either.
        if self._dies_before is not None and self.count >= self._dies_before:
            raise Killed


@contextmanager
def engine_that_dies(database_url: str, before: int | None = None) -> Iterator[Engine]:
    """An engine that dies before its statement or commit number `before` (from 1); None: never."""
    engine = make_engine(database_url, pool_size=2)
    countdown = Countdown(before)
    sessions: list[Any] = []
    event.listen(engine, "connect", lambda session, _record: sessions.append(session))
    event.listen(engine, "before_cursor_execute", countdown)
    event.listen(engine, "commit", countdown)
    try:
        yield engine
    finally:
        for session in sessions:
            _end(session)
        engine.dispose()


def _end(session: Any) -> None:
    """What the server does when the session is gone: done when this returns, not a moment later."""
    if not session.closed:
        session.rollback()
        session.execute("SELECT pg_advisory_unlock_all()")
        session.close()


def at_every_statement(
    databases: Callable[[], str], work: Callable[[Engine], object], recover: Callable[[str], object]
) -> int:
    """Kill `work` before each of its statements, in a new database each time; how often that was.

    `databases` makes a database ready for the work; `recover` does what happens after a crash, and checks.
    The last round is that of a work which lives to its end.
    """
    deaths = 0
    while True:
        url = databases()
        has_died = False
        with engine_that_dies(url, deaths + 1) as engine:
            try:
                work(engine)
            except Killed:
                has_died = True
        recover(url)
        if not has_died:
            return deaths
        deaths += 1
