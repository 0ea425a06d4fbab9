"""Whatever is asked of an operators' page or sent to one of its forms: an answer of 5xx it is never."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.support.ops_pages import LOGINS, Browser
from tests.support.service import serving_in_this_loop
from web.operators.doing import DOINGS
from web.routes.ops import PAGES

NAMES = (
    *(
        "action",
        "actor",
        "amount",
        "before",
        "days",
        "direction",
        "event",
        "format",
        "handled",
        "id",
        "intent",
    ),
    *("job", "key", "kind", "limit", "may_overdraw", "message", "next", "offset", "problem", "purchase", "q"),
    *("queue", "reason", "since", "state", "status", "subject", "type", "typed", "until", "user"),
)

NONSENSE = (
    *("", " ", "x", "-1", "0", "9" * 30, "1e400", "NaN", "Infinity", "5.0001", "true", "\x00", "\u202e"),
    *(
        "x" * 3_000,
        "%",
        "%zz",
        "'; DROP TABLE ops.jobs; --",
        "\ufffd",
        str(uuid4()),
        "00000000-0000-0000-0000",
    ),
    *(
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-02-30",
        "2026-11-22T24:00",
        "10000-01-01",
    ),
)


@pytest.fixture
async def browser(database_url: str, redis_url: str) -> AsyncIterator[Browser]:
    """An operator's, signed in; the service counts what it answers 500, and fails the test for it at the end."""
    async with serving_in_this_loop(database_url, redis_url, more=LOGINS) as service:
        browser = Browser(service)
        async with browser.session:
            await browser.sign_in()
            yield browser


async def test_no_page_and_no_form_breaks_whatever_it_is_asked(browser: Browser) -> None:
    wrong = []
    csrf = await browser.csrf()
    for value in NONSENSE:
        fields = dict.fromkeys(NAMES, value)
        for method, path, _ in PAGES:
            if path == "/sign-out" or "{id" in path or "{list" in path:
                continue
            for action in DOINGS if "{action}" in path else ("",):
                url = "/ops" + path.replace("{action}", action)
                if method == "GET":
                    answer, _ = await browser.get(f"{url}?{urlencode(fields)}")
                else:
                    answer, _ = await browser.post(url, csrf=csrf, **fields)
                if answer.status >= 500:
                    wrong.append(f"{method} {url} {value[:40]!r}: {answer.status}")
    assert not wrong, "\n".join(wrong)
