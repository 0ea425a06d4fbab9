"""All workers killed, for real: the overview says so and stays up, and is calm again when they are back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.heartbeats import SILENT_AFTER
from tests.support.books import Books
from tests.support.crew import Crew
from tests.support.ops_pages import LOGINS, Browser
from tests.support.service import serving_in_this_loop

DEAD = "No worker is alive"

PASSED = SILENT_AFTER - timedelta(seconds=4)
"""This much of their silence is told to the database; the rest is real."""

SECONDS_MORE = 20.0
"""For a loaded machine, and for the seconds that an overview is shown again."""


@pytest.fixture
def crew(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Crew]:
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    crew = Crew("workers", "worker_ready", environment, tmp_path / "workers.log")
    yield crew
    crew.kill()


async def shows(browser: Browser, is_so: Callable[[str], bool], seconds: float) -> bool:
    """Look at the overview, as its page does, until it is so; it must always answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer, body = await browser.get("/ops")
        assert answer.status == 200
        if is_so(body):
            return True
        await asyncio.sleep(0.5)
    return False


async def test_all_workers_dead_is_said_on_the_overview_which_stays_up(
    database_url: str, redis_url: str, crew: Crew
) -> None:
    await asyncio.to_thread(crew.start)
    async with serving_in_this_loop(database_url, redis_url, more=LOGINS) as service:
        browser = Browser(service)
        async with browser.session:
            await browser.sign_in()
            assert await shows(browser, lambda body: DEAD not in body, SECONDS_MORE)
            crew.kill()
            Books(database_url).rows("UPDATE ops.heartbeats SET seen_at = seen_at - %s", PASSED)
            silent = SILENT_AFTER.total_seconds() + SECONDS_MORE
            assert await shows(browser, lambda body: DEAD in body, silent)
            for path in ("/ops/jobs", "/ops/queues", "/ops/person?id=sam", "/ops/ledger"):
                answer, _ = await browser.get(path)
                assert answer.status == 200
            await asyncio.to_thread(crew.start)
            assert await shows(browser, lambda body: DEAD not in body, SECONDS_MORE)
