"""What surrounds every page: who is signed in, the form's word, what went wrong in words, the live part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote

from aiohttp import web
from sqlalchemy import Connection

from domain.telemetry.metrics import DEFECTS
from web.batches import Overloaded
from web.bodies import BODY_BYTES_MAX, BadRequest, bad_field
from web.deductions import Outage
from web.defects import tell_defect
from web.errors import DEFECT, Wrong, wrong_of
from web.operators import flash, render
from web.operators.asked import Asked
from web.operators.session import NotSignedIn, SignedIn, WrongCsrfToken, sessions_key
from web.routing import Services, read_bytes, services_key

READ_SECONDS_MAX: Final = 8.0
"""How long a page waits for PostgreSQL: then it says that there is no answer."""

FORM_FIELDS_MAX: Final = 100
"""Several times the fields of the longest form."""

T = TypeVar("T")


@dataclass
class Visit:
    """One request of somebody who is signed in.  `form` is empty but for a POST whose word was checked."""

    request: web.Request
    services: Services
    signed_in: SignedIn
    form: Asked = field(default_factory=lambda: Asked({}))

    @property
    def asked(self) -> Asked:
        """The query."""
        return Asked(self.request.query)

    async def read(self, work: Callable[[Connection, datetime], T]) -> T:
        """Ask the database.  Raises Outage, the domain's refusals."""
        return await in_time(self.services.bridge.run(work))

    def show(self, template: str, *, status: int = 200, **facts: Any) -> web.Response:
        """A page, or the live part of it when that was asked for."""
        if render.is_fragment(self.request) and status == 200:
            return render.fragment(template, {**self._always(), **facts}, self.request)
        said = flash.said(self.request, self.signed_in.token)
        response = render.page(template, {**self._always(), "said": said, **facts}, status=status)
        if said is not None:
            flash.forget(response)
        return response

    def go(self, url: str, said: str) -> web.Response:
        """On to another of our pages, which says what was done."""
        response = moved(url)
        is_secure = not self.services.settings.is_development
        flash.say(response, said, token=self.signed_in.token, is_secure=is_secure)
        return response

    def _always(self) -> dict[str, Any]:
        operator = self.signed_in.operator
        return {
            "operator": operator,
            "may_act": operator.may_act,
            "csrf": self.signed_in.csrf_token,
            "path": self.request.path,
            "asked": self.asked,
            "said": None,
            "page_now": "",
        }


PageHandler = Callable[[Visit], Awaitable[web.StreamResponse]]
AnyHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def page(handler: PageHandler, *, viewers_may_post: bool = False) -> AnyHandler:
    """The handler of a page, for who is signed in; whatever goes wrong is a page too."""

    async def handle(request: web.Request) -> web.StreamResponse:
        visit = None
        try:
            visit = await _visit(request)
            if request.method == "POST":
                await _check_post(visit, viewers_may_post=viewers_may_post)
            return await handler(visit)
        except NotSignedIn:
            return _to_sign_in(request)
        except Exception as error:
            if isinstance(error, web.HTTPException) and error.status < 400:
                raise
            return trouble(request, error, visit)

    return handle


def open_page(handler: AnyHandler) -> AnyHandler:
    """The handler of a page that nobody has to be signed in for."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - told by trouble
            return trouble(request, error, None)

    return handle


async def in_time(waiting: Awaitable[T]) -> T:
    """What is awaited, unless it takes too long.  Raises Outage."""
    try:
        async with asyncio.timeout(READ_SECONDS_MAX):
            return await waiting
    except TimeoutError as error:
        raise Outage("no answer in time") from error


def moved(url: str) -> web.Response:
    """See the other page (303).  `url` is a path of ours, put together by us."""
    return web.Response(status=303, headers={**render.HEADERS, "Location": url})


def check_same_origin(request: web.Request) -> None:
    """A form of another site is refused before it is read, where the browser says whose it is."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise WrongCsrfToken


async def read_form(request: web.Request) -> Asked:
    """The form that was posted, bounded: as our pages' forms are sent, whatever its Content-Type says.

    Raises HTTPRequestEntityTooLarge, BadRequest.
    """
    raw = await read_bytes(request, BODY_BYTES_MAX)
    try:
        fields = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX
        )
    except ValueError:
        raise bad_field("body", "must be a form of these pages") from None
    return Asked(dict(reversed(fields)))  # of two with one name the first counts


async def _visit(request: web.Request) -> Visit:
    sessions = request.app[sessions_key]
    services = request.app[services_key]
    try:
        signed_in = await in_time(sessions.signed_in(request))
    except (Outage, Overloaded):
        remembered = sessions.remembered(request)
        # Without the database somebody known may go on looking at what is wrong, and do nothing.
        if remembered is None or request.method == "POST":
            raise
        signed_in = remembered
    return Visit(request, services, signed_in)


async def _check_post(visit: Visit, *, viewers_may_post: bool) -> None:
    check_same_origin(visit.request)
    visit.form = await read_form(visit.request)
    visit.signed_in.check_csrf(visit.form.text("csrf"))
    if not viewers_may_post:
        visit.signed_in.check_may_act()


def _to_sign_in(request: web.Request) -> web.Response:
    if render.is_fragment(request):
        return web.Response(status=401, headers=render.HEADERS)
    wanted = request.path_qs if request.method == "GET" else "/ops"
    return moved("/ops/sign-in" if wanted == "/ops" else f"/ops/sign-in?next={quote(wanted, safe='')}")


def trouble(request: web.Request, error: Exception, visit: Visit | None) -> web.Response:
    """What went wrong, as a page; a defect of ours is told to the log."""
    wrong = _wrong(error)
    if wrong is None:
        resource = request.match_info.route.resource
        route = "unknown" if resource is None else resource.canonical
        DEFECTS.labels(route).inc()
        tell_defect(error, route=route)
        wrong = DEFECT
    details = (
        [f"{one['field']} {one['message']}" for one in wrong.details] if isinstance(error, BadRequest) else []
    )
    facts = {"wrong": wrong, "details": details}
    if visit is None:
        response = render.page("trouble_alone.html", facts, status=wrong.status)
    else:
        response = visit.show("trouble.html", status=wrong.status, **facts)
    response.headers.update(wrong.headers or {})
    return response


def _wrong(error: Exception) -> Wrong | None:
    if isinstance(error, WrongCsrfToken):
        message = (
            "This form is not one of your session's. Nothing was done; go back, reload the page, try again"
        )
        return Wrong(403, message, "wrong_csrf_token")
    return wrong_of(error)
