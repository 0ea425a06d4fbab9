"""In a browser: an operator signs in, retries, requeues, adjusts, searches, exports; on a desktop and a phone.

With LARGE_BOOKS set it is done on 200,000 entries and 50,000 jobs.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from dramatiq.common import current_millis
from playwright.async_api import Browser, Page, expect

from domain.jobs import job_details
from domain.nudge import AddedJob
from nudges.broker import make_broker, message_for
from tests.browser import large_books
from tests.browser.test_checkout import WAIT_MS
from tests.support.jobs import engine_on
from tests.support.ops_pages import LOGINS, PASSWORD, failed_job, in_database
from tests.support.service import Service, serving_in_this_loop
from tests.support.webhooks import fill

pytestmark = pytest.mark.asyncio(loop_scope="session")  # in which the browser lives

IS_LARGE = bool(os.environ.get("LARGE_BOOKS"))

PAGES = (
    "/ops", "/ops/jobs", "/ops/queues", "/ops/purchases", "/ops/events", "/ops/people", "/ops/person?id=sam",
    "/ops/subscriptions", "/ops/webhooks", "/ops/ledger", "/ops/audit", "/ops/do/gift_sync?user=sam",
)  # fmt: skip


@dataclass
class Desk:
    """An operator at a browser; `said` is what the console complained of."""

    page: Page
    service: Service
    said: list[str]

    async def go(self, path: str) -> None:
        await self.page.goto(self.service.url + path)

    async def sign_in(self) -> None:
        await self.go("/ops")
        await self.page.get_by_label("Name").fill("anna")
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(self.page.get_by_role("heading", name="Overview")).to_be_visible(timeout=WAIT_MS)

    async def confirm(self, reason: str, button: str) -> None:
        await self.page.get_by_label("Reason").fill(reason)
        await self.page.get_by_role("button", name=button).click()

    async def reads(self, words: str) -> None:
        await expect(self.page.get_by_text(words).first).to_be_visible(timeout=WAIT_MS)


@pytest_asyncio.fixture(loop_scope="session")
async def desk(browser: Browser, database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    if IS_LARGE:
        large_books.fill(database_url)
    async with serving_in_this_loop(database_url, redis_url, more=LOGINS) as service:
        await service.grant("sam", 10)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
        desk = Desk(page, service, said)
        await desk.sign_in()
        yield desk
        await page.close()
        assert not said


async def test_a_failed_job_is_retried_with_a_reason(desk: Desk, database_url: str) -> None:
    job_id = failed_job(database_url)
    await desk.go("/ops/jobs?state=failed&kind=sample")
    await desk.page.get_by_role("link", name="Retry", exact=True).click()
    await desk.confirm("ticket 7", "Run it again")
    await desk.reads("Done: sample runs again, it was failed")
    state = in_database(database_url, lambda connection: job_details(connection, job_id).state.value)
    assert state == "waiting"
    await desk.go("/ops/audit")
    await desk.reads("ticket 7")


async def test_all_failed_jobs_of_a_kind_are_retried(desk: Desk, database_url: str) -> None:
    for _ in range(3):
        failed_job(database_url)
    await desk.go("/ops/jobs?kind=sample")
    await desk.page.get_by_role("link", name="Retry all 3 failed").click()
    await desk.reads("3 failed jobs would run again")
    await desk.confirm("the provider is back", "Run them all again")
    await desk.reads("Done: 3 failed jobs run again")


async def test_what_an_app_was_not_told_is_sent_again_and_its_endpoint_enabled(
    desk: Desk, database_url: str
) -> None:
    with engine_on(database_url) as engine:
        rows = fill(engine)
    await desk.go("/ops/webhooks")
    await desk.page.get_by_role("link", name="chat").click()
    await desk.page.get_by_role("link", name="Send again 1 given up").click()
    await desk.confirm("their deployment is mended", "Send them all again")
    await desk.reads("1 failed deliveries are sent again")
    await desk.go(f"/ops/webhooks/deliveries/{rows.deliveries['delivered']}")
    await desk.page.get_by_role("link", name="Send again").click()
    await desk.confirm("they lost it", "Send it again")
    await desk.reads("is sent again, it was delivered")
    await desk.go(f"/ops/webhooks/{rows.disabled}")
    await desk.reads("Disabled")
    await desk.page.get_by_role("link", name="Enable").click()
    await desk.confirm("it works again", "Enable it")
    await desk.reads("enabled")
    states = "SELECT DISTINCT state FROM ops.webhook_deliveries WHERE endpoint_id = %s"
    assert desk.service.books.rows(states, rows.works) == [("waiting",)]
    state = "SELECT state FROM ops.webhook_endpoints WHERE id = %s"
    assert desk.service.books.one(state, rows.disabled) == "active"


async def test_a_dead_letter_is_requeued(desk: Desk, database_url: str, redis_url: str) -> None:
    job_id = failed_job(database_url)
    broker = make_broker(redis_url)
    message = message_for(AddedJob(job_id, "sample", "upkeep"))
    message = message.copy(options={"redis_message_id": message.message_id})
    key = f"{broker.namespace}:upkeep.XQ"
    broker.client.hset(f"{key}.msgs", message.message_id, message.encode())
    broker.client.zadd(key, {message.message_id: current_millis()})
    await desk.go("/ops/queues")
    await desk.page.get_by_role("link", name="Requeue").click()
    await desk.confirm("a worker was killed", "Requeue it")
    await desk.reads(f"Dead letter: requeued, job {job_id}")
    assert broker.waiting("upkeep") == 1
    broker.close()


async def test_credits_are_adjusted_and_the_audit_tells(desk: Desk) -> None:
    await desk.go("/ops/person?id=sam")
    await desk.page.get_by_label("Credits").fill("2.5")
    await desk.page.get_by_role("button", name="Preview").click()
    await desk.reads("12.5")
    await desk.confirm("lost a picture", "Adjust the credits")
    await desk.reads("Done: +2.5 credits, balance 12.5")
    await desk.reads("lost a picture")
    assert (await desk.service.figures("sam"))[0] == float("12.5")


async def test_a_person_is_found_from_anywhere(desk: Desk) -> None:
    await desk.page.keyboard.press("/")
    await desk.page.keyboard.type("sam")
    await desk.page.keyboard.press("Enter")
    await expect(desk.page.get_by_role("heading", name="sam", exact=True)).to_be_visible(timeout=WAIT_MS)


async def test_entries_are_exported(desk: Desk, tmp_path: Path) -> None:
    await desk.go("/ops/person?id=sam")
    async with desk.page.expect_download() as waiting:
        await desk.page.get_by_role("button", name="CSV").click()
    download = await waiting.value
    saved = tmp_path / "entries.csv"
    await download.save_as(saved)
    assert len(saved.read_text().splitlines()) == 2


async def test_the_overview_lives_without_being_loaded_again(desk: Desk) -> None:
    await desk.page.evaluate("window.isTheSame = true")
    await desk.service.use("sam", 3)
    await expect(desk.page.locator("#live")).to_contain_text("1 in the last 5 min", timeout=15_000)
    assert await desk.page.evaluate("window.isTheSame")


async def test_no_page_is_wider_than_a_phone(desk: Desk, database_url: str) -> None:
    job_id = failed_job(database_url, note="x" * 300, error="E" * 300)
    await desk.page.set_viewport_size({"width": 390, "height": 844})
    for path in (*PAGES, f"/ops/jobs/{job_id}", f"/ops/do/retry_job?job={job_id}"):
        await desk.go(path)
        assert await desk.page.evaluate("document.documentElement.scrollWidth") <= 390, path
    await desk.go("/ops")
    await desk.page.get_by_role("button", name="Menu").click()
    await desk.page.get_by_role("link", name="Audit", exact=True).click()
    await expect(desk.page.get_by_role("heading", name="Audit")).to_be_visible(timeout=WAIT_MS)


async def test_the_keyboards_focus_is_seen_wherever_it_goes(desk: Desk) -> None:
    for _ in range(14):
        await desk.page.keyboard.press("Tab")
        width = await desk.page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        style = await desk.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid", await desk.page.evaluate("document.activeElement.outerHTML")
        assert width >= 2
