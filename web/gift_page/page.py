"""The page as bytes, with what a browser needs to trust it."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import quote

import jinja2
import msgspec
from aiohttp import web
from markupsafe import Markup

from domain.gifts import Gift, GiftStatus, GiftType
from web.gift_page.texts import Texts, texts_for

HERE: Final = Path(__file__).parent
STYLE: Final = HERE.joinpath("gift.css").read_text("utf-8")

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own style and its icon, and nothing else: no script, no other host."""

HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",  # the state changes, and a code is nobody's to keep
    "Referrer-Policy": "no-referrer",  # the address has the code in it
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}

NAME_CHARACTERS_MAX: Final = 60
"""A longer name is cut: nobody is called so, and the page is about the gift."""

_environment: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Outcome(Enum):
    """What is shown when there is no gift to show, with the status of the answer."""

    UNKNOWN = 404
    TOO_MANY = 429
    UNAVAILABLE = 503


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the template shows.  Texts are plain: the template escapes them."""

    language: str
    title: str
    headline: str
    advice: str
    app_url: str
    to_the_app: str
    is_open: bool = False
    amount: str = ""
    message: str = ""
    reserved: str = ""
    code_label: str = ""
    code: str = ""
    until: str = ""
    until_iso: str = ""


def page_response(
    shown: Gift | Outcome, *, app_url: str, accept_language: str, retry_after_seconds: int | None = None
) -> web.Response:
    """The page about a gift, or about why there is none to see, in the reader's language."""
    texts = texts_for(accept_language)
    if isinstance(shown, Outcome):
        view, status = _without_gift(shown, texts, app_url), shown.value
    else:
        view, status = _of_gift(shown, texts, app_url), 200
    headers = dict(HEADERS)
    if retry_after_seconds is not None:
        headers["Retry-After"] = str(retry_after_seconds)
    return web.Response(
        text=render(view), status=status, content_type="text/html", charset="utf-8", headers=headers
    )


def render(view: View) -> str:
    """The page, as HTML."""
    # The style is our own file, and the policy's digest is of just these bytes.
    return _environment.get_template("gift.html").render(view=view, style=Markup(STYLE))  # noqa: S704  # nosec B704


def _without_gift(outcome: Outcome, texts: Texts, app_url: str) -> View:
    words = {
        Outcome.UNKNOWN: texts.unknown,
        Outcome.TOO_MANY: texts.too_many,
        Outcome.UNAVAILABLE: texts.unavailable,
    }
    headline, advice = words[outcome]
    return View(
        language=texts.language,
        title=headline,
        headline=headline,
        advice=advice,
        app_url=app_url,
        to_the_app=texts.to_the_app,
    )


def _of_gift(gift: Gift, texts: Texts, app_url: str) -> View:
    name = _shortened(gift.creator_name) if gift.creator_name else texts.somebody
    amount = _credits(gift.total_credits, texts)
    if gift.status is not GiftStatus.ACTIVE:
        headline, advice = texts.ended[gift.status]
        return View(
            language=texts.language,
            title=headline,
            headline=headline,
            advice=advice,
            app_url=app_url,
            to_the_app=texts.to_the_app,
            amount=f"{name} · {amount}",
            message=gift.message or "",
        )
    return View(
        language=texts.language,
        title=texts.title.format(credits=amount),
        headline=texts.gives_you.format(name=name),
        advice=texts.how,
        app_url=f"{app_url}/redeem?code={quote(gift.code, safe='')}",
        to_the_app=texts.redeem,
        is_open=True,
        amount=amount,
        message=gift.message or "",
        reserved=texts.reserved if gift.type is GiftType.PERSONALIZED else "",
        code_label=texts.code,
        code=gift.code,
        until="" if gift.expires_at is None else texts.until.format(date=_date(gift.expires_at, texts)),
        until_iso="" if gift.expires_at is None else gift.expires_at.isoformat(),
    )


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS_MAX else name[: NAME_CHARACTERS_MAX - 1] + "…"


def _credits(count: int, texts: Texts) -> str:
    if count == 1:
        return texts.credits_one
    return texts.credits_many.format(count=f"{count:,}".replace(",", texts.thousands))


def _date(instant: datetime, texts: Texts) -> str:
    return texts.date.format(day=instant.day, month=texts.months[instant.month - 1], year=instant.year)
