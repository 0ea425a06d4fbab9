"""The front goes on saying that it is alive, whatever kept it from saying so once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from domain import heartbeats
from web.batches import Overloaded
from web.deductions import Outage
from web.heartbeat import beating
from web.routing import services_key


@pytest.mark.parametrize("trouble", [Overloaded(), Outage("OperationalError")])
async def test_it_beats_on_after_a_crowd_or_an_outage_and_ends_in_peace(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "BEAT_EVERY", timedelta(milliseconds=1))
    beats = 0
    was_heard = asyncio.Event()

    async def run(_work: Any) -> None:
        nonlocal beats
        beats += 1
        if beats == 1:
            raise trouble
        was_heard.set()

    app = web.Application()
    services: Any = SimpleNamespace(bridge=SimpleNamespace(run=run))
    app[services_key] = services
    life = beating(app)
    await anext(life)
    async with asyncio.timeout(10):
        await was_heard.wait()
    with pytest.raises(StopAsyncIteration):
        await anext(life)
