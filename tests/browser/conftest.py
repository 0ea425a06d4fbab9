"""The browser: Debian's Chromium or another of its kind, found on the machine."""

import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

PROGRAMS = (
    *("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)
"""The first that is there: without a window it takes less than half of the machine."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser, started once for all tests of this process, which share its event loop.

    Where there is none the test is skipped, by name and with what to install; `BROWSER_TESTS=required`, as CI sets,
    makes that a failure.
    """
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        missing = (
            "no Chromium on this machine: `apt-get install chromium-headless-shell` and these tests run too"
        )
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """The browser without a page: what a test opens has cookies and a cache of its own, and is closed after it."""
    assert not chromium.contexts
    yield chromium
    for context in chromium.contexts:
        await context.close()
