"""Work on many people at once that one of them cannot stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from psycopg import errors as pg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")

_LOST_RACES: Final = (pg.DeadlockDetected, pg.SerializationFailure)


def in_parts(
    connection: Connection,
    people: Sequence[str],
    work: Callable[[Sequence[str]], T],
    give_up: Callable[[str, Exception], T],
) -> list[T]:
    """The results of `work` over all people: in one go, or in parts around those with whom it fails.

    A part that fails is undone and halved, down to the single person, who is given to `give_up`.  An outage
    (no connection, a time-out, a lost race) is nobody's fault: it is raised.
    Parts are worked on in the order of `people`, so that balances are locked in that order: sort them.
    """
    if not people:
        return []
    savepoint = connection.begin_nested()
    try:
        result = work(people)
    except Exception as error:
        if _is_outage(error):
            raise
        savepoint.rollback()
        if len(people) == 1:
            return [give_up(people[0], error)]
        middle = len(people) // 2
        return [
            *in_parts(connection, people[:middle], work, give_up),
            *in_parts(connection, people[middle:], work, give_up),
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
