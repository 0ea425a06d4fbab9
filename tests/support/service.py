"""The web application on a free port, with real servers behind it: shared by tests, or a test's own."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import pytest
from sqlalchemy import Engine, make_url

from domain.settings import read_settings
from domain.telemetry.metrics import DEFECTS
from simulators import serving
from simulators.auth import AuthSimulator
from tests.support.books import Books, KeptBooks
from tests.support.clean_database import CleanDatabase
from tests.support.client import SERVICE_KEY, Client
from tests.support.jobs import run_waiting
from tests.support.pooler import THROUGH_POOLER
from tests.support.shared_service import SharedService
from web.app import make_app
from workers.actors import all_handlers
from workers.parts import Parts

WORK_PAUSE_SECONDS = 0.01


@dataclass
class Service(Client):
    """A running service, its callers' means, and a look into its books."""

    books: Books = field(kw_only=True)
    has_defects: bool = False
    """Set by a test that provokes an error of ours (500); all others may see none."""
    has_books: bool = True
    """Unset by a test whose books were never meant to add up."""


def environment(*, database_url: str, redis_url: str, auth_url: str) -> dict[str, str]:
    """The variables of a service under test; in some runs with a pooler in front of its cold paths."""
    database = {"DATABASE_URL": database_url}
    if port := os.environ.get(THROUGH_POOLER):
        pooled = make_url(database_url).set(port=int(port)).render_as_string(hide_password=False)
        database = {"DATABASE_URL": pooled, "DATABASE_DIRECT_URL": database_url}
    return {
        "ENV": "development",
        **database,
        "REDIS_URL": redis_url,
        "MANA_AUTH_URL": auth_url,
        "MANA_SERVICE_KEY": SERVICE_KEY,
        "CORS_ORIGINS": "https://mana.how, https://app.mana.how",
    }


@asynccontextmanager
async def serving_in_this_loop(
    database_url: str, redis_url: str, *, has_books: bool = True, more: Mapping[str, str] | None = None
) -> AsyncIterator[Service]:
    """Run the application until the block ends; then the books must add up, and no defect may have shown.

    `more` are further variables of its environment.
    """
    before = _defects()
    async with AuthSimulator().running() as auth:
        variables = environment(database_url=database_url, redis_url=redis_url, auth_url=auth.url)
        app = make_app(read_settings({**variables, **(more or {})}))
        async with serving.in_this_loop(app) as url, new_session() as session:
            service = Service(url, session, auth, books=Books(database_url))
            yield service
    if has_books:
        service.books.assert_they_add_up()
    assert service.has_defects or _defects() == before, "the service answered 500"


def new_session() -> aiohttp.ClientSession:
    """A client with as many connections at once as a test asks for."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
    )


@pytest.fixture
def service_variables() -> Mapping[str, str]:
    """Further variables of the service's environment: a module that needs some has this fixture, too."""
    return {}


@pytest.fixture
async def service(
    lent_database: CleanDatabase, redis_url: str, service_variables: Mapping[str, str]
) -> AsyncIterator[Service]:
    """The service, on a database of the test's own; at the end its books must add up.

    The application is started once for all tests with the same variables, and stays.  A test that ends it, stops its
    clock, or counts what it does takes `own_service`.
    """
    before = _defects()
    variables = environment(database_url=lent_database.url, redis_url=redis_url, auth_url="")
    shared = lent_database.resident(lambda: SharedService({**variables, **service_variables}))
    async with new_session() as session:
        service = Service(shared.url, session, shared.auth, books=KeptBooks(lent_database))
        yield service
    await asyncio.to_thread(shared.is_quiet)  # while this loop takes leave of its connections
    if service.has_books:
        assert lent_database.violations() == []
    assert service.has_defects or _defects() == before, "the service answered 500"


@pytest.fixture
async def own_service(
    database_url: str, redis_url: str, service_variables: Mapping[str, str]
) -> AsyncIterator[Service]:
    """The service in the test's own event loop, started for it alone."""
    async with serving_in_this_loop(database_url, redis_url, more=service_variables) as running:
        yield running


@contextmanager
def working(engine: Engine, redis_url: str) -> Iterator[None]:
    """Do the service's jobs on a thread as soon as they are due: workers without their queue."""
    stop = threading.Event()
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = read_settings(environment(database_url=url, redis_url=redis_url, auth_url=""))

    def work() -> None:
        handlers = all_handlers(Parts(settings, engine))
        while not stop.wait(WORK_PAUSE_SECONDS):
            run_waiting(engine, handlers, lambda: datetime.now(UTC))

    thread = threading.Thread(target=work, name="workers")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def workers(lent_database: CleanDatabase, redis_url: str) -> Iterator[None]:
    """The service's jobs are done while the test runs."""
    with working(lent_database.engine, redis_url):
        yield


def _defects() -> float:
    return sum(
        sample.value
        for metric in DEFECTS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )
