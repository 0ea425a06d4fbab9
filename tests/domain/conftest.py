"""A ledger whose books must add up when the test is over."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.support.ledger import checked_engine
from tests.support.payments import shop

__all__ = ["engine", "shop"]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's own database; the invariants are checked at its end."""
    with checked_engine(database_url) as engine:
        yield engine
