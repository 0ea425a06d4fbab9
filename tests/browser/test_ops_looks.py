"""Every page of the operators' on large books: answered within its time, and its picture taken to be looked at.

`LARGE_BOOKS=1 PICTURES=/tmp/pictures ./dev test tests/browser/test_ops_looks.py` leaves a picture of each page, for
a desktop and a phone, dark and light.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Chromium

from domain import heartbeats, ledger_checks
from domain.database import transaction
from tests.browser import large_books
from tests.support import webhooks
from tests.support.jobs import engine_on
from tests.support.ops_pages import LOGINS, PASSWORD, Browser
from tests.support.service import Service, serving_in_this_loop

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),  # in which the browser lives
    pytest.mark.skipif(
        not os.environ.get("LARGE_BOOKS"), reason="LARGE_BOOKS is not set: filling takes half a minute"
    ),
]

SECONDS_MAX = 0.3
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
SOMEBODY = "user-00007"


def make_books(database_url: str) -> None:
    """Large books, processes that are alive, a ledger check."""
    large_books.fill(database_url)
    with engine_on(database_url) as engine:
        webhooks.fill(engine)
        checked = ledger_checks.check(engine)
        with transaction(engine) as connection:
            now = datetime.now(UTC)
            ledger_checks.record(connection, checked, now=now)
            heartbeats.beat(connection, "worker", started_at=now, now=now)
            heartbeats.beat(connection, "scheduler", started_at=now, now=now, leads=True)


def pages_of(service: Service) -> dict[str, str]:
    """The addresses of all pages by name."""
    one = service.books.one
    failed: UUID = one("SELECT id FROM ops.jobs WHERE state = 'failed' ORDER BY id LIMIT 1")
    endpoint: UUID = one("SELECT id FROM ops.webhook_endpoints WHERE app_id = 'chat'")
    given_up: UUID = one("SELECT id FROM ops.webhook_deliveries WHERE state = 'failed' LIMIT 1")
    purchase: UUID = one("SELECT id FROM credits.purchases WHERE user_id = %s", SOMEBODY)
    return {
        "overview": "/ops",
        "jobs": "/ops/jobs",
        "jobs-failed": "/ops/jobs?state=failed&kind=refund_credits",
        "jobs-of-person": f"/ops/jobs?user={SOMEBODY}",
        "job": f"/ops/jobs/{failed}",
        "queues": "/ops/queues",
        "purchases": "/ops/purchases",
        "purchase": f"/ops/purchases/{purchase}",
        "events": "/ops/events",
        "event": "/ops/events/one?id=evt_large7",
        "people": "/ops/people?q=nobody@example.com",
        "person": f"/ops/person?id={SOMEBODY}",
        "entries": f"/ops/person/entries?id={SOMEBODY}&offset=50",
        "subscriptions": "/ops/subscriptions",
        "subscriptions-paused": "/ops/subscriptions?state=paused",
        "webhooks": "/ops/webhooks",
        "webhook": f"/ops/webhooks/{endpoint}",
        "delivery": f"/ops/webhooks/deliveries/{given_up}",
        "ledger": "/ops/ledger",
        "audit": "/ops/audit",
        "do-adjust": f"/ops/do/adjust_credits?user={SOMEBODY}&direction=grant&amount=12.5",
        "do-retry-all": "/ops/do/retry_failed_jobs?kind=refund_credits",
        "do-erase": f"/ops/do/erase_person?user={SOMEBODY}",
        "do-gift": f"/ops/do/gift_sync?user={SOMEBODY}",
        "do-billing": "/ops/do/run_billing",
        "refused": "/ops/jobs?state=lost",
    }


@pytest_asyncio.fixture(loop_scope="session")
async def large(database_url: str, redis_url: str) -> AsyncIterator[Service]:
    make_books(database_url)
    async with serving_in_this_loop(database_url, redis_url, more=LOGINS) as service:
        for number in range(3):
            await service.reserve(SOMEBODY, 2, reason=f"research:run-{number}")
        for number in range(4):
            gift = {"totalCredits": 5 + number, "message": "Happy birthday, and thank you for everything"}
            await service.call("POST", "/api/v1/gifts", gift, headers=service.as_user(SOMEBODY))
        yield service


async def test_every_page_answers_in_time_also_when_nobody_asked_before(large: Service) -> None:
    slow = {}
    browser = Browser(large)
    async with browser.session:
        await browser.sign_in()
        for name, path in pages_of(large).items():
            begun = time.perf_counter()
            answer, _ = await browser.get(path)
            took = time.perf_counter() - begun
            print(f"{name}: {took * 1000:.0f} ms")
            assert answer.status == (400 if name == "refused" else 200), path
            if took > SECONDS_MAX:
                slow[name] = took
    assert not slow


async def test_a_picture_of_every_page(large: Service, browser: Chromium, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    for device, (width, height) in SIZES.items():
        page = await browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark", reduced_motion="reduce"
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(f"{large.url}/ops")
        await page.screenshot(path=folder / f"sign-in-{device}-dark.png", full_page=True)
        await page.get_by_label("Name").fill("anna")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.wait_for_selector("h1:has-text('Overview')")
        for name, path in pages_of(large).items():
            await page.goto(large.url + path)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (name, device, wide)
            for scheme in SCHEMES:
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                await page.screenshot(path=folder / f"{name}-{device}-{scheme}.png", full_page=True)
        await page.close()
    assert not said
