"""Work on many things at once that one of them cannot stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from psycopg import errors as pg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")
One = TypeVar("One")

_LOST_RACES: Final = (pg.DeadlockDetected, pg.SerializationFailure)


def in_parts(
    connection: Connection,
    things: Sequence[One],
    work: Callable[[Sequence[One]], T],
    give_up: Callable[[One, Exception], T],
) -> list[T]:
    """The results of `work` over all things: in one go, or in parts around those with which it fails.

    A part that fails is undone and halved, down to the single thing, which is given to `give_up`.  An outage
    (no connection, a time-out, a lost race) is nobody's fault: it is raised.
    Parts are worked on in the order of `things`, so that balances are locked in that order: sort them by person.
    """
    if not things:
        return []
    savepoint = connection.begin_nested()
    try:
        result = work(things)
    except Exception as error:
        if _is_outage(error):
            raise
        savepoint.rollback()
        if len(things) == 1:
            return [give_up(things[0], error)]
        middle = len(things) // 2
        return [
            *in_parts(connection, things[:middle], work, give_up),
            *in_parts(connection, things[middle:], work, give_up),
        ]
    savepoint.commit()
    return [result]


def _is_outage(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    return (
        error.connection_invalidated
        or isinstance(error, OperationalError)
        or isinstance(error.orig, _LOST_RACES)
    )
