"""Clean databases, lent to one test after another."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from tests.servers import SharedPostgres
from tests.support.clean_database import CleanDatabase


class Loans:
    """The clean databases of a parallel process; `purpose` keeps apart those that different things live on."""

    def __init__(self, postgres: SharedPostgres) -> None:
        self._postgres = postgres
        self._free: dict[Hashable, list[CleanDatabase]] = {}

    @contextmanager
    def lent(self, purpose: Hashable = None) -> Iterator[CleanDatabase]:
        """A database that is the borrower's alone until the block ends."""
        free = self._free.setdefault(purpose, [])
        database = free.pop() if free else CleanDatabase(self._postgres)
        is_clean = False
        try:
            yield database
            is_clean = database.is_clean_again()
        finally:
            if is_clean:
                free.append(database)
            else:
                database.close()

    def close(self) -> None:
        """Drop them all."""
        for free in self._free.values():
            for database in free:
                database.close()
