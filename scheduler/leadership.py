"""Who leads: the scheduler whose session holds an advisory lock of PostgreSQL."""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from domain.jobs.failing import describe

LEADER_LOCK: Final = 0x6D616E61_02
"""Advisory lock of the leading scheduler ("mana", 2)."""

log = structlog.get_logger(__name__)


class Leadership:
    """Held as long as its connection lives; PostgreSQL gives it to another when this process dies.

    A leader that was cut off may fire once more while another leads already: slots bear that.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None

    def hold(self) -> bool:
        """Whether this process leads now: takes the lock when it is free, notices when it was lost.

        Never raises: without a database nobody leads.
        """
        try:
            if self._session is None:
                self._try()
            else:
                self._session.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            if self._session is not None:
                log.warning("leadership_lost", error=describe(error))
            self._forget()
        return self._session is not None

    def release(self) -> None:
        """Let another lead, at once."""
        self._forget()

    def _try(self) -> None:
        session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            is_ours = session.execute(
                text("SELECT pg_try_advisory_lock(:key)"), {"key": LEADER_LOCK}
            ).scalar_one()
        except SQLAlchemyError:
            session.close()
            raise
        if is_ours:
            log.info("leads")
            self._session = session
        else:
            session.close()

    def _forget(self) -> None:
        if self._session is not None:
            # Not back to the pool: the lock goes with the session.
            self._session.invalidate()
            self._session.close()
            self._session = None
