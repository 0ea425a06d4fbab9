"""The application: its routes, what surrounds them, what they work with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import lru_cache, partial
from typing import Final

import aiohttp
from aiohttp import web

from domain.settings import Settings
from domain.stripe_gateway import gateway_of
from nudges.nudger import Nudger
from web.auth import JwksCache, ServiceKeys, TokenVerifier
from web.bodies import BATCH_BODY_BYTES_MAX
from web.bridge import Bridge
from web.frame import Frame, frame_key
from web.heartbeat import beating
from web.inbox import Inbox
from web.job_waiter import JobWaiter
from web.operators.queues import dramatiq_queues
from web.operators.session import operator_sessions
from web.outside import Outside
from web.reference import Published, Reference, published, reference_key
from web.routes import (
    admin_jobs,
    admin_overview,
    admin_packages,
    admin_payments,
    admin_people,
    admin_sync,
    admin_webhooks,
    gift_page,
    gifts,
    health,
    internal,
    internal_gifts,
    internal_sync,
    jobs,
    reference,
    stripe_webhooks,
    sync,
)
from web.routes import credits as credits_routes
from web.routes import purchases as purchase_routes
from web.routes.ops import add_pages
from web.routing import Operation, Services, register, services_key
from web.scrape import scraping
from web.throttle import Throttle

ROOMS: Final = (
    health.routes,
    credits_routes.routes,
    gifts.routes,
    gift_page.routes,
    purchase_routes.routes,
    stripe_webhooks.routes,
    sync.routes,
    internal.routes,
    internal_gifts.routes,
    internal_sync.routes,
    admin_packages.routes,
    admin_sync.routes,
    admin_overview.routes,
    admin_jobs.routes,
    admin_payments.routes,
    admin_people.routes,
    admin_webhooks.routes,
    jobs.routes,
    reference.routes,
)


def operations() -> list[Operation]:
    """Every route of the service."""
    return [operation for room in ROOMS for operation in room.operations]


@lru_cache(maxsize=8)
def _published(base_url: str) -> dict[str, Published]:
    """The description of the API, which is the same for every application at this address."""
    return published(operations(), base_url)


def make_app(settings: Settings) -> web.Application:
    """The application for an event loop to run."""
    app = web.Application(client_max_size=BATCH_BODY_BYTES_MAX)
    frame = app[frame_key] = Frame(settings.cors_origins)
    app[reference_key] = Reference(partial(_published, settings.base_url))
    for operation in operations():
        register(app, operation, frame)

    async def services(app: web.Application) -> AsyncIterator[None]:
        nudger = Nudger(settings.redis_url)
        bridge = Bridge(settings, nudger)
        await bridge.open()
        inbox = Inbox(settings.database_url, bridge, nudger)
        await inbox.open()
        outside = Outside(bridge, gateway_of(settings))
        throttle = Throttle(settings.redis_url)
        async with aiohttp.ClientSession() as session:
            jwks = JwksCache(settings.auth_url, session)
            jwks.refresh_if_due()
            app[services_key] = Services(
                settings=settings,
                bridge=bridge,
                inbox=inbox,
                job_waiter=JobWaiter(bridge),
                outside=outside,
                tokens=TokenVerifier(settings, jwks),
                service_keys=ServiceKeys(settings.service_keys),
                throttle=throttle,
            )
            yield
            await jwks.close()
        await throttle.close()
        await outside.close()
        await inbox.close()
        await bridge.close()
        await asyncio.to_thread(nudger.close)

    app.cleanup_ctx.append(services)
    app.cleanup_ctx.append(operator_sessions)
    app.cleanup_ctx.append(dramatiq_queues)
    app.cleanup_ctx.append(scraping)
    app.cleanup_ctx.append(beating)
    add_pages(app, frame)
    frame.add_to_the_rest(app)
    return app
