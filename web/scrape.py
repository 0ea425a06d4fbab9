"""The page of metrics: what this front's processes count, and how the service as a whole is at this moment.

The second part is read from PostgreSQL and Redis, in bounded time; while one of them is away the page says so and
has the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Final

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from domain.jobs import Queue
from domain.telemetry import metrics, pages, vitals
from domain.telemetry.vitals import Reading
from nudges.queues import Queues
from web.batches import Overloaded
from web.bridge import Bridge
from web.deductions import Outage
from web.inbox import Inbox
from web.operators.queues import queues_key
from web.routing import services_key

SECONDS_MAX: Final = 2.0
"""How long PostgreSQL or Redis may take to say how things are: Prometheus gives up after ten."""

KEPT_SECONDS: Final = 1.0
"""For how long a reading is good for all who ask: however often that is, PostgreSQL is asked once a second."""

SAMPLE_EVERY_SECONDS: Final = 1.0


class Scrape:
    """Reads how the service is; one reading at a time, shared by all who ask meanwhile."""

    def __init__(self, bridge: Bridge, queues: Queues) -> None:
        self._bridge = bridge
        self._queues = queues
        self._reading: asyncio.Task[list[Reading]] | None = None
        self._fresh_until = 0.0

    async def page(self) -> bytes:
        """The whole page.  Never raises for a database or a Redis that is away."""
        loop = asyncio.get_running_loop()
        if self._reading is None or (self._reading.done() and loop.time() >= self._fresh_until):
            self._reading = loop.create_task(self._read())
        readings = await asyncio.shield(self._reading)
        return pages.page() + generate_latest(_Readings(readings))

    async def _read(self) -> list[Reading]:
        parts = await asyncio.gather(self._of_database(), self._of_redis())
        self._fresh_until = asyncio.get_running_loop().time() + KEPT_SECONDS
        return [reading for part in parts for reading in part]

    async def _of_database(self) -> list[Reading]:
        try:
            async with asyncio.timeout(SECONDS_MAX):
                readings = await self._bridge.run(_vitals)
        except (Outage, Overloaded, SQLAlchemyError, TimeoutError):
            return [(metrics.DATABASE_UP, (), 0.0)]
        return [(metrics.DATABASE_UP, (), 1.0), *readings]

    async def _of_redis(self) -> list[Reading]:
        names = [queue.value for queue in Queue]
        try:
            async with asyncio.timeout(SECONDS_MAX):
                seen = await asyncio.to_thread(self._queues.seen, names)
        except (RedisError, OSError):  # a TimeoutError is an OSError
            return [(metrics.REDIS_UP, (), 0.0)]
        return [
            (metrics.REDIS_UP, (), 1.0),
            *(
                (metrics.QUEUE_MESSAGES, (one.name, state), float(getattr(one, state)))
                for one in seen
                for state in ("ready", "delayed", "unacked", "dead")
            ),
        ]


def _vitals(connection: Connection, now: datetime) -> list[Reading]:
    # The thread is free again when nobody waits any more.
    connection.execute(text(f"SET LOCAL statement_timeout = '{SECONDS_MAX:g}s'"))
    return vitals.read(connection, now=now)


class _Readings:
    """Readings in the form that prometheus_client writes out."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for metric, labels, value in self._readings:
            if metric.name not in families:
                families[metric.name] = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            families[metric.name].add_metric(labels, value)
        return families.values()


def metrics_app(scrape: Scrape) -> web.Application:
    """The page alone, for a port that only Prometheus can reach."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(body=await scrape.page(), headers={"Content-Type": pages.CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", page)
    return app


scrape_key: Final = web.AppKey("scrape", Scrape)


async def scraping(app: web.Application) -> AsyncIterator[None]:
    """From the application's start to its end; made after its services and its look into the queues."""
    services = app[services_key]
    app[scrape_key] = Scrape(services.bridge, app[queues_key])
    task = asyncio.get_running_loop().create_task(_sample(services.bridge, services.inbox))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _sample(bridge: Bridge, inbox: Inbox) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + SAMPLE_EVERY_SECONDS
        bridge.tell_how_busy()
        inbox.tell_how_busy()
        await asyncio.sleep(SAMPLE_EVERY_SECONDS)
        metrics.LOOP_LAG.set(max(loop.time() - due, 0.0))
