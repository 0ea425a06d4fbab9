"""The page behind a gift's link, as browsers and robots get it.  How it looks: tests/browser."""

from __future__ import annotations

from typing import Any

import pytest

from domain.gifts.codes import new_code
from tests.support.service import Service
from tests.web.giving import Giving
from web import routes
from web.deductions import Outage
from web.gift_page.page import CONTENT_SECURITY_POLICY, STYLE
from web.gift_page.texts import ENGLISH, GERMAN, texts_for


@pytest.fixture
async def giving(service: Service) -> Giving:
    (await service.grant("anna", 100)).ok()
    return Giving(service)


async def test_it_may_load_nothing_be_framed_by_nobody_and_stays_out_of_caches_and_searches(
    giving: Giving,
) -> None:
    gift = await giving.create()
    for code, status in ((gift["code"], 200), (new_code(), 404), ("%00", 404), ("x" * 300, 404)):
        page = await giving.service.call("GET", f"/g/{code}")
        assert (page.status, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert page.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert page.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert b'<meta name="robots" content="noindex, nofollow">' in page.raw
        assert b"<script" not in page.raw
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "url(" not in STYLE


async def test_head_tells_whether_there_is_such_a_gift(giving: Giving) -> None:
    gift = await giving.create()
    for code, status in ((gift["code"].lower(), 200), (new_code(), 404)):
        page = await giving.service.call("HEAD", f"/g/{code}")
        assert (page.status, page.raw) == (status, b"")


async def test_an_outage_is_a_page_that_says_try_again(
    giving: Giving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_database(*_: Any) -> None:
        raise Outage("no connection")

    monkeypatch.setattr(routes.gift_page, "_look_up", no_database)
    page = await giving.service.call("GET", f"/g/{new_code()}")
    assert (page.status, page.headers["Retry-After"]) == (503, "1")
    assert b"We cannot look just now" in page.raw


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("", ENGLISH),
        ("de", GERMAN),
        ("de-AT,de;q=0.9,en;q=0.8", GERMAN),
        ("en-GB,en;q=0.9,de;q=0.8", ENGLISH),
        ("en;q=0.5, DE;q=0.7", GERMAN),
        ("fr-FR, fr;q=0.9, de;q=0.5", GERMAN),
        ("fr, *;q=0.5", ENGLISH),
        ("de;q=0", ENGLISH),
        ("de;q=abc, ,;;,=", ENGLISH),
        ("x" * 10_000 + ",de", ENGLISH),
    ],
)
def test_the_reader_is_spoken_to_in_german_where_that_is_preferred(header: str, texts: object) -> None:
    assert texts_for(header) is texts


def test_both_languages_know_every_state() -> None:
    assert GERMAN.ended.keys() == ENGLISH.ended.keys()
    assert len(GERMAN.ended) == 4
    assert len(GERMAN.months) == len(ENGLISH.months) == 12
