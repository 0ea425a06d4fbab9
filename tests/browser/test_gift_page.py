"""In a browser: the page behind a gift's link, in every state, on a desk and on a phone.

Screenshots go to the directory BROWSER_SHOTS, where it is set.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from domain.gifts.codes import new_code
from tests.support.service import serving_in_this_loop
from tests.web.giving import Giving
from web.throttle import MISSES_PER_MINUTE

pytestmark = pytest.mark.asyncio(loop_scope="session")  # in which the browser lives

SHOTS = os.environ.get("BROWSER_SHOTS")
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
NARROWEST = {"width": 280, "height": 650}

MESSAGE = "Happy birthday, Ben!\nSpend it on something <b>nice</b> & useless.\n— A."
LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrentenauszahlungsstelle " * 6


@dataclass
class Visit:
    """A browser beside the service."""

    browser: Browser
    giving: Giving

    async def opened(self, code: str, name: str, **options: Any) -> Page:
        """The page of a code in a new context; what the browser complains of fails the test."""
        context: BrowserContext = await self.browser.new_context(
            **{"viewport": DESK, "locale": "en-GB", "java_script_enabled": False, **options}
        )
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{self.giving.service.url}/g/{code}")
        shown = [one for one in complaints if "the server responded with a status of" not in one]
        assert shown == []
        assert [one for one in asked if not one.startswith("data:")] == [page.url]
        if SHOTS:
            await page.screenshot(path=f"{SHOTS}/gift-{name}.png", full_page=True)
        return page


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, database_url: str, redis_url: str) -> AsyncIterator[Visit]:
    more = {"APP_URL": "https://app.example.com"}
    async with serving_in_this_loop(database_url, redis_url, more=more) as service:
        (await service.grant("anna", 20_000)).ok()
        yield Visit(browser, Giving(service))


async def test_a_gift_says_who_gives_how_much_and_where_to_go(visit: Visit) -> None:
    gift = await visit.giving.create(total_credits=250, message=MESSAGE)
    for viewport, scheme in ((DESK, "light"), (DESK, "dark"), (PHONE, "light"), (PHONE, "dark")):
        name = f"open-{viewport['width']}-{scheme}"
        page = await visit.opened(gift["code"], name, viewport=viewport, color_scheme=scheme)
        await expect(page.get_by_role("heading")).to_have_text("anna gives you 250 credits")
        await expect(page.locator("blockquote")).to_have_text(MESSAGE, use_inner_text=True)
        link = page.get_by_role("link", name="Redeem in the app")
        await expect(link).to_have_attribute("href", f"https://app.example.com/redeem?code={gift['code']}")
        await expect(page.locator("strong")).to_have_text(gift["code"])
        await expect(page.locator("time")).to_contain_text("Good until")
        assert await page.title() == "A gift of 250 credits"


async def test_the_longest_of_everything_fits_the_narrowest_screen(visit: Visit) -> None:
    gift = await visit.giving.send(
        "anna",
        "POST",
        "",
        {"totalCredits": 10_000, "message": LONG, "targetEmail": "ben@example.com"},
        headers=visit.giving.token("anna", "a" * 120 + "@example.com"),
    )
    for viewport in (DESK, NARROWEST):
        page = await visit.opened(
            gift.json["code"], f"long-{viewport['width']}", viewport=viewport, java_script_enabled=True
        )
        await expect(page.get_by_role("heading")).to_contain_text("10,000 credits")
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_a_reserved_gift_says_so_and_not_for_whom(visit: Visit) -> None:
    gift = await visit.giving.create(targetEmail="ben@example.com", total_credits=1)
    page = await visit.opened(gift["code"], "reserved", viewport=PHONE)
    await expect(page.get_by_role("heading")).to_have_text("anna gives you 1 credit")
    await expect(page.locator(".reserved")).to_contain_text("Sign in with that address.")
    assert "ben" not in await page.content()
    assert "example.com" not in (await page.content()).replace("https://app.example.com", "")


async def test_ended_gifts_say_how_and_offer_nothing_to_redeem(visit: Visit) -> None:
    giving = visit.giving
    used, cancelled, over = [await giving.create(message=MESSAGE) for _ in range(3)]
    (await giving.redeem("ben", used["code"])).ok()
    (await giving.cancel("anna", cancelled["id"])).ok()
    giving.is_over(over)
    for gift, headline in (
        (used, "This gift was redeemed"),
        (cancelled, "This gift was cancelled"),
        (over, "This gift has expired"),
    ):
        page = await visit.opened(gift["code"], headline.rpartition(" ")[2], viewport=PHONE)
        await expect(page.get_by_role("heading")).to_have_text(headline)
        await expect(page.get_by_role("link")).to_have_text("To the app")
        await expect(page.get_by_role("link")).to_have_attribute("href", "https://app.example.com")
        assert gift["code"] not in await page.content()
        assert "ben" not in (await page.content()).replace("Ben!", "")


async def test_an_unknown_code_and_a_guesser_get_a_page_too(visit: Visit) -> None:
    page = await visit.opened(new_code(), "unknown", viewport=PHONE)
    await expect(page.get_by_role("heading")).to_have_text("We know no such gift")
    for _ in range(MISSES_PER_MINUTE):
        await visit.giving.look_up(new_code())
    page = await visit.opened(new_code(), "too-many", viewport=PHONE)
    await expect(page.get_by_role("heading")).to_have_text("One moment, please")


async def test_germans_read_german(visit: Visit) -> None:
    gift = await visit.giving.create(total_credits=1_250, message="Alles Gute!")
    page = await visit.opened(gift["code"], "german", viewport=PHONE, locale="de-DE")
    await expect(page.get_by_role("heading")).to_have_text("anna schenkt dir 1.250 Credits")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(page.get_by_role("link")).to_have_text("In der App einlösen")


async def test_what_people_write_is_text_never_markup(visit: Visit) -> None:
    evil = (
        "</blockquote><script>document.title = 'taken over'</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
    )
    gift = await visit.giving.send(
        "anna",
        "POST",
        "",
        {"totalCredits": 5, "message": evil},
        headers=visit.giving.token("anna", "<script>alert(1)</script>@example.com"),
    )
    page = await visit.opened(gift.json["code"], "evil", java_script_enabled=True)
    await expect(page.locator("blockquote")).to_have_text(evil)
    await expect(page.get_by_role("heading")).to_contain_text("<script>alert(1)</script>")
    assert await page.title() == "A gift of 5 credits"
    assert await page.locator("script, img").count() == 0
