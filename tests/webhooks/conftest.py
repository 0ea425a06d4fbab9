"""Books that must add up when the test is over, and a deliverer without a network."""

import pytest
from sqlalchemy import Engine

from tests.support.payments import shop
from tests.support.webhooks import Post

__all__ = ["shop"]


@pytest.fixture
def post_office(engine: Engine) -> Post:
    """Sends what waits, at the time that the test says."""
    return Post(engine)
