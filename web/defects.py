"""How a defect of ours is told to the log: where it happened and what it was, without people's data."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Final

import psycopg
import structlog
from sqlalchemy.exc import DBAPIError

log: Final = structlog.get_logger()


def tell_defect(error: BaseException, **facts: str | None) -> None:
    """Write the error and what is known of the request to the log."""
    log.error("defect", error=_described(error), **facts)


def _described(error: BaseException) -> str:
    """The tracebacks of the error and of what caused it, first cause first.

    Of a database's error it has the first words alone: the rest quotes the row, with what people wrote.
    """
    parts = [
        "".join(traceback.format_tb(each.__traceback__)) + f"{type(each).__name__}: {_words(each)}"
        for each in _causes(error)
    ]
    return "\n".join(reversed(parts))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _words(error: BaseException) -> str:
    match error:
        case psycopg.Error():
            return error.diag.message_primary or str(error).partition("\n")[0]
        case DBAPIError(orig=BaseException() as original):
            return _words(original)
        case _:
            return str(error)
