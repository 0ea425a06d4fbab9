"""In a browser: buy on Stripe's page, come back, see the balance rise; decline; leave and let it expire.

The app is a page of another origin (shop.html), the page to pay on is the simulator's, webhooks are delivered
by it, and jobs are done as they come.  Screenshots go to the directory BROWSER_SHOTS, where it is set.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from simulators import serving
from simulators.stripe import DEFAULT_SECRET, StripeSimulator
from tests.support.clean_database import CleanDatabase
from tests.support.service import Service, serving_in_this_loop, working
from tests.web.shop import WEBHOOKS, Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")  # in which the browser lives

PAGE = Path(__file__).parent / "shop.html"
SHOTS = os.environ.get("BROWSER_SHOTS")
WAIT_MS = 10_000


@dataclass
class Visit:
    """A person in the app, in a browser."""

    page: Page
    stripe: StripeSimulator
    service: Service

    async def sees(self, balance: int, status: str) -> None:
        await expect(self.page.locator("#balance")).to_have_text(str(balance), timeout=WAIT_MS)
        await expect(self.page.locator("#status")).to_have_text(status, timeout=WAIT_MS)

    async def go_to_checkout(self) -> None:
        await self.page.get_by_role("button", name="Buy 550 credits for €5.00").click()
        await self.page.wait_for_url(f"{self.stripe.url}/c/pay/**", timeout=WAIT_MS)

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def shoot(self, name: str) -> None:
        if SHOTS:
            await self.page.screenshot(path=f"{SHOTS}/{name}.png")


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, lent_database: CleanDatabase, redis_url: str) -> AsyncIterator[Visit]:
    app = web.Application()

    async def answer(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    app.router.add_get("/", answer)
    async with serving.in_this_loop(app) as app_url:
        with (
            StripeSimulator(retry_seconds=0.1).on_a_thread() as stripe,
            working(lent_database.engine, redis_url),
        ):
            more = {
                "CORS_ORIGINS": app_url,
                "STRIPE_SECRET_KEY": "sk_test_browser",
                "STRIPE_API_BASE": stripe.url,
                "STRIPE_WEBHOOK_SECRET": DEFAULT_SECRET,
            }
            async with serving_in_this_loop(lent_database.url, redis_url, more=more) as service:
                stripe.send_webhooks_to(service.url + WEBHOOKS)
                await Shop(service, stripe, lent_database.engine).package()
                page = await browser.new_page(viewport={"width": 900, "height": 640})
                facts = json.dumps({"api": service.url, "token": service.auth.mint("anna")})
                await page.goto(f"{app_url}/#{quote(facts)}")
                yield Visit(page, stripe, service)
                await page.close()
                stripe.send_webhooks_to("")


async def test_a_person_pays_comes_back_and_sees_the_balance_rise(visit: Visit) -> None:
    await visit.sees(0, "none")
    await visit.shoot("1-app-before")
    await visit.go_to_checkout()
    await visit.shoot("2-checkout")
    await visit.press("Pay 5.00 EUR")
    await expect(visit.page.locator("#came")).to_have_text("Came back: paid", timeout=WAIT_MS)
    await visit.sees(550, "completed")
    await visit.shoot("3-app-after")
    assert await visit.service.figures("anna") == (550, 550, 0)


async def test_a_declined_card_may_be_followed_by_one_that_pays(visit: Visit) -> None:
    await visit.go_to_checkout()
    await visit.press("Decline")
    await expect(visit.page.get_by_role("alert")).to_be_visible(timeout=WAIT_MS)
    await visit.shoot("4-declined")
    await visit.stripe.webhooks.wait_until_delivered()
    assert await visit.service.figures("anna") == (0, 0, 0)
    await visit.press("Pay 5.00 EUR")
    await visit.sees(550, "completed")


async def test_a_person_leaves_and_the_page_expires(visit: Visit) -> None:
    await visit.go_to_checkout()
    address = visit.page.url
    await visit.press("Leave")
    await expect(visit.page.locator("#came")).to_have_text("Came back: left", timeout=WAIT_MS)
    await visit.sees(0, "pending")
    await visit.shoot("5-app-left")
    visit.stripe.advance(25 * 3600)
    await visit.sees(0, "cancelled")
    await visit.shoot("6-app-expired")
    await visit.page.goto(address)
    await expect(visit.page.get_by_text("This page has expired.")).to_be_visible(timeout=WAIT_MS)
    await visit.shoot("7-checkout-expired")


async def test_a_bank_debit_is_pending_until_the_bank_pays(visit: Visit) -> None:
    await visit.go_to_checkout()
    await visit.press("Pay by SEPA (takes days)")
    await visit.sees(0, "pending")
    await visit.shoot("8-app-debit")
    [intent] = visit.stripe.all("payment_intent")
    visit.stripe.settle(intent["id"])
    await visit.sees(550, "completed")
