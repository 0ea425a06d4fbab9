"""The service as a process of its own, with clients in the test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulators.auth import AuthSimulator
from tests.faults.load import Load
from tests.support.books import Books
from tests.support.client import Client
from tests.support.process import WebProcess, running_process
from tests.support.service import environment, new_session, own_service, service, service_variables, workers

__all__ = ["own_service", "service", "service_variables", "workers"]


@dataclass
class House:
    """A service's process, its clients, and its books."""

    process: WebProcess
    client: Client
    load: Load
    books: Books


Open = Callable[[str, str], AbstractAsyncContextManager[House]]


@pytest.fixture
def open_house(tmp_path: Path) -> Open:
    """Run the service on a database and a Redis, as a process of its own."""

    @asynccontextmanager
    async def open_it(database_url: str, redis_url: str) -> AsyncIterator[House]:
        async with AuthSimulator().running() as auth, new_session() as session:
            variables = environment(database_url=database_url, redis_url=redis_url, auth_url=auth.url)
            with running_process(variables, tmp_path / "web.log") as process:
                client = Client(process.url, session, auth)
                yield House(process, client, Load(client), Books(database_url))

    return open_it
