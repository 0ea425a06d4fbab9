"""The operators' pages of webhooks, with endpoints and deliveries of every state on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.support.jobs import engine_on
from tests.support.ops_pages import LOGINS, Browser
from tests.support.service import serving_in_this_loop
from tests.support.webhooks import Rows, fill

EVIL = "<script>alert('x')</script>"


@pytest.fixture
async def browser(database_url: str, redis_url: str) -> AsyncIterator[Browser]:
    async with serving_in_this_loop(database_url, redis_url, more=LOGINS) as service:
        browser = Browser(service)
        async with browser.session:
            yield browser


@pytest.fixture
def rows(database_url: str) -> Rows:
    with engine_on(database_url) as engine:
        return fill(engine, words=EVIL)


async def read(browser: Browser, path: str) -> str:
    answer, body = await browser.get(path)
    assert answer.status == 200, (path, body)
    assert "<script>" not in body, path
    assert "whsec_" not in body, path
    return body


async def test_the_list_has_every_endpoint_and_how_it_stands(browser: Browser, rows: Rows) -> None:
    await browser.sign_in("vera")
    body = await read(browser, "/ops/webhooks")
    for endpoint_id in (rows.works, rows.fails, rows.paused, rows.disabled):
        assert f'href="/ops/webhooks/{endpoint_id}"' in body
    for words in ("failing", "paused", "disabled", "below 10", "&lt;script&gt;"):
        assert words in body
    assert f'href="/ops/webhooks/{rows.works}?state=failed"' in body


async def test_an_endpoints_page_says_what_is_wrong_and_offers_what_mends_it(
    browser: Browser, rows: Rows
) -> None:
    await browser.sign_in()
    for endpoint_id, says, offers, offers_not in (
        (rows.works, "replaced; the old one signs too until", ("test_webhook", "pause_webhook"), ()),
        (rows.fails, "It took nothing since", ("test_webhook", "enable_webhook"), ()),
        (rows.paused, "Paused", ("enable_webhook",), ("test_webhook", "pause_webhook")),
        (rows.disabled, "answered 410: it is gone", ("enable_webhook",), ("pause_webhook", "redeliver")),
    ):
        body = await read(browser, f"/ops/webhooks/{endpoint_id}")
        assert says in body
        assert [f"/ops/do/{action}" in body for action in offers] == [True] * len(offers), body
        assert not any(f"/ops/do/{action}" in body for action in offers_not), body
        assert '<details class="panel fold" open>' in body, "closed, a desktop could not open it"


async def test_an_endpoints_deliveries_are_listed_and_filtered(browser: Browser, rows: Rows) -> None:
    await browser.sign_in()
    page = f"/ops/webhooks/{rows.works}"
    for query, shown in (
        ("", {"waiting", "delivered", "failed"}),
        ("?state=failed", {"failed"}),
        ("?user=anna&type=reservation.expired", {"delivered"}),
        ("?type=balance.low", set()),
        (f"?before={rows.deliveries['waiting']}", {"delivered", "failed"}),
    ):
        body = await read(browser, page + query)
        for state, delivery_id in rows.deliveries.items():
            assert (f'href="/ops/webhooks/deliveries/{delivery_id}"' in body) is (state in shown), query


async def test_a_deliverys_page_has_its_attempts_and_what_is_told(browser: Browser, rows: Rows) -> None:
    await browser.sign_in()
    for state, says in (
        ("delivered", ('"Answer"><span>204', "Delivered")),
        ("failed", ("503", "Given up", "answered 503", "&lt;script&gt;", "Send again")),
        ("waiting", ("503", "Next attempt", "Send now")),
    ):
        body = await read(browser, f"/ops/webhooks/deliveries/{rows.deliveries[state]}")
        for words in ("reservation.expired", "reservationId", "2.5", *says):
            assert words in body, state


async def test_a_viewer_sees_the_same_without_buttons(browser: Browser, rows: Rows) -> None:
    await browser.sign_in("vera")
    for path in (str(rows.works), str(rows.disabled), f"deliveries/{rows.deliveries['failed']}"):
        assert "/ops/do/" not in await read(browser, f"/ops/webhooks/{path}")


async def test_what_is_not_there_is_a_page_that_says_so(browser: Browser) -> None:
    await browser.sign_in()
    for path in (str(uuid4()), f"deliveries/{uuid4()}"):
        answer, body = await browser.get(f"/ops/webhooks/{path}")
        assert answer.status == 404
        assert "not found" in body


async def test_each_button_leads_to_a_page_that_asks_and_a_form_that_does_it(
    browser: Browser, rows: Rows
) -> None:
    await browser.sign_in()
    csrf = await browser.csrf()
    since = "2026-01-01T00:00:00+00:00"
    for action, form in (
        ("redeliver_webhook", {"delivery": str(rows.deliveries["failed"])}),
        ("redeliver_failed_webhooks", {"endpoint": str(rows.works), "since": since}),
        ("test_webhook", {"endpoint": str(rows.works)}),
        ("pause_webhook", {"endpoint": str(rows.works)}),
        ("enable_webhook", {"endpoint": str(rows.disabled)}),
    ):
        async with browser.session.get(f"{browser.service.url}/ops/do/{action}", params=form) as asking:
            assert asking.status == 200, (action, await asking.text())
        answer, body = await browser.post(f"/ops/do/{action}", csrf=csrf, reason=f"why {action}", **form)
        assert answer.status == 303, (action, body)
        assert f"why {action}" in await read(browser, "/ops/audit")
