"""The service under test, and a way to it that can be made bad."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.rig.proxy import Link
from tests.support.service import Service, own_service, service, service_variables, workers

__all__ = ["link", "own_service", "service", "service_variables", "workers"]


async def mended_after_a_loss(link: Link) -> None:
    """Wait until an answer was lost on the way, then make the way good."""
    async with asyncio.timeout(30):
        while not link.answers_lost:
            await asyncio.sleep(0.01)
    link.heal()


@pytest.fixture
async def link(service: Service) -> AsyncIterator[Link]:
    """A network between an app and the service."""
    link = Link("app>web", [int(service.url.rpartition(":")[2])])
    await link.open()
    try:
        yield link
    finally:
        link.heal()
        await link.close()
