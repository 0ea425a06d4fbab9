"""Signing in to /ops: who gets a session, how it ends, what a form must carry, how often one may try."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import time_machine
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from domain.errors import NotPermitted
from domain.operators.audit import Operator, Role
from domain.operators.sessions import LIFETIME, Session
from domain.settings import read_settings
from simulators import serving
from simulators.auth import AuthSimulator
from tests.support.books import Books
from tests.support.ops_pages import quick_hash
from tests.support.service import environment, new_session
from web.app import make_app
from web.operators.session import (
    REMEMBERED_MAX,
    NotSignedIn,
    Sessions,
    SignInRefused,
    WrongCsrfToken,
    sessions_key,
)
from web.throttle import TooManyRequests

PASSWORD = "correct horse battery"
HASH = quick_hash(PASSWORD)
USERS = f"otto:operator:{HASH},vera:viewer:{HASH}"


@dataclass
class Door:
    """Two web processes on one database, with pages that do nothing but sign in and look and act."""

    urls: list[str]
    session: aiohttp.ClientSession
    auth: AuthSimulator
    books: Books
    cookie: str = "mana-ops"
    headers: dict[str, str] = field(default_factory=dict)

    async def call(
        self, path: str, at: int = 0, cookie: str | None = None, **form: str
    ) -> tuple[int, str, str]:
        """Status, body, and the header Set-Cookie."""
        headers = {} if cookie is None else {"Cookie": f"{self.cookie}={cookie}"}
        async with self.session.post(self.urls[at] + path, data=form, headers=headers) as response:
            return response.status, await response.text(), response.headers.get("Set-Cookie", "")

    async def signed_in(self, name: str = "otto") -> tuple[str, str]:
        """The cookie's token and the form's word."""
        status, csrf, cookie = await self.call("/t/in", name=name, password=PASSWORD)
        assert status == 200, csrf
        return cookie.partition("=")[2].partition(";")[0], csrf


async def _sign_in(request: web.Request) -> web.Response:
    doors, form = request.app[sessions_key], await request.post()
    try:
        if "token" in form:
            signed_in = await doors.sign_in_with_token(request, str(form["token"]))
        else:
            signed_in = await doors.sign_in(request, str(form["name"]), str(form["password"]))
    except SignInRefused:
        return web.Response(status=403)
    except TooManyRequests as error:
        return web.Response(status=429, text=str(error.retry_after_seconds))
    response = web.Response(text=signed_in.csrf_token)
    doors.set_cookie(response, signed_in)
    return response


async def _look(request: web.Request) -> web.Response:
    try:
        return web.Response(text=(await request.app[sessions_key].signed_in(request)).operator.name)
    except NotSignedIn:
        return web.Response(status=401)


async def _act(request: web.Request) -> web.Response:
    form = await request.post()
    try:
        signed_in = await request.app[sessions_key].signed_in(request)
        signed_in.check_csrf(str(form["csrf"]) if "csrf" in form else None)
        signed_in.check_may_act()
    except NotSignedIn:
        return web.Response(status=401)
    except WrongCsrfToken:
        return web.Response(status=400)
    except NotPermitted:
        return web.Response(status=403)
    return web.Response()


async def _sign_out(request: web.Request) -> web.Response:
    await request.app[sessions_key].sign_out(request)
    response = web.Response()
    request.app[sessions_key].clear_cookie(response)
    return response


async def _remembered(request: web.Request) -> web.Response:
    known = request.app[sessions_key].remembered(request)
    return web.Response(status=401) if known is None else web.Response(text=known.operator.name)


def _app(variables: dict[str, str]) -> web.Application:
    app = make_app(read_settings(variables))
    handlers = {"in": _sign_in, "look": _look, "act": _act, "out": _sign_out, "remembered": _remembered}
    for path, handler in handlers.items():
        app.router.add_post(f"/t/{path}", handler)
    return app


@pytest.fixture
async def door(database_url: str, redis_url: str, patient_throttle: None) -> AsyncIterator[Door]:
    async with AuthSimulator().running() as auth, new_session() as session:
        variables = environment(database_url=database_url, redis_url=redis_url, auth_url=auth.url)
        variables["OPS_USERS"] = USERS
        async with (
            serving.in_this_loop(_app(variables)) as one,
            serving.in_this_loop(_app(variables)) as other,
        ):
            yield Door([one, other], session, auth, Books(database_url))


async def test_a_login_signs_in_to_every_web_process(door: Door) -> None:
    token, _ = await door.signed_in()
    for at in (0, 1):
        assert (await door.call("/t/look", at, token))[:2] == (200, "login:otto")


async def test_an_administrators_token_signs_in_and_no_other_token_does(door: Door) -> None:
    status, _, cookie = await door.call("/t/in", token=door.auth.mint("boss", role="admin"))
    assert status == 200
    token = cookie.partition("=")[2].partition(";")[0]
    assert (await door.call("/t/look", 1, token))[1] == "admin:boss"
    for bad in (
        door.auth.mint("anna"),
        door.auth.mint("boss", role="admin", ttl_seconds=-5),
        door.auth.mint("boss", role="admin")[:-6] + "AAAAAA",
        "",
        "x",
    ):
        assert (await door.call("/t/in", token=bad))[0] == 403


@pytest.mark.parametrize(
    ("name", "password"),
    [("otto", "wrong"), ("otto", ""), ("nobody", PASSWORD), ("", ""), ("otto\x00", PASSWORD)],
)
async def test_nobody_else_signs_in(door: Door, name: str, password: str) -> None:
    status, _, cookie = await door.call("/t/in", name=name, password=password)
    assert (status, cookie) == (403, "")
    assert door.books.one("SELECT count(*) FROM ops.operator_sessions") == 0


async def test_no_script_reads_the_cookie_and_no_other_site_sends_it(door: Door) -> None:
    _, _, cookie = await door.call("/t/in", name="otto", password=PASSWORD)
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "secure" not in parts


def test_outside_development_the_cookie_is_secure() -> None:
    variables = {"MANA_SERVICE_KEY": "a-key-of-its-own", "STRIPE_WEBHOOK_SECRET": "whsec_own"}
    from web.operators.session import Sessions

    door = Sessions(read_settings(variables), None, None, None)  # type: ignore[arg-type]
    response = web.Response()
    door.clear_cookie(response)
    [morsel] = response.cookies.values()
    assert morsel["secure"] is True
    assert morsel.key.startswith("__Host-")
    assert (morsel["path"], morsel["domain"]) == ("/", "")


async def test_a_forged_an_idle_and_an_expired_session_are_refused(door: Door) -> None:
    token, _ = await door.signed_in()
    for forged in ("", "x", token[:-1] + ("A" if token[-1] != "A" else "B"), token + "x", "x" * 300):
        assert (await door.call("/t/look", 0, forged))[0] == 401
    door.books.rows("UPDATE ops.operator_sessions SET seen_at = now() - interval '31 minutes'")
    assert (await door.call("/t/look", 0, token))[0] == 401
    token, _ = await door.signed_in()
    door.books.rows("UPDATE ops.operator_sessions SET expires_at = now() - interval '1 second'")
    assert (await door.call("/t/look", 1, token))[0] == 401


async def test_signing_out_ends_the_session_everywhere(door: Door) -> None:
    token, csrf = await door.signed_in()
    _, _, cookie = await door.call("/t/out", 0, token)
    assert 'mana-ops=""' in cookie
    for at in (0, 1):
        assert (await door.call("/t/look", at, token))[0] == 401
        assert (await door.call("/t/act", at, token, csrf=csrf))[0] == 401


async def test_a_form_needs_the_word_of_its_own_session(door: Door) -> None:
    token, csrf = await door.signed_in()
    other_token, other_csrf = await door.signed_in()
    assert (await door.call("/t/act", 1, token, csrf=csrf))[0] == 200
    assert (await door.call("/t/act", 0, token))[0] == 400
    for wrong in ("", "x", other_csrf, csrf[:-1], "ä"):
        assert (await door.call("/t/act", 0, token, csrf=wrong))[0] == 400
    assert (await door.call("/t/act", 0, other_token, csrf=other_csrf))[0] == 200


async def test_a_viewer_sees_and_may_not_act(door: Door) -> None:
    token, csrf = await door.signed_in("vera")
    assert (await door.call("/t/look", 0, token))[1] == "login:vera"
    assert (await door.call("/t/act", 0, token, csrf=csrf))[0] == 403


async def test_a_login_whose_role_was_changed_or_that_is_gone_is_out(door: Door) -> None:
    token, _ = await door.signed_in("vera")
    door.books.rows("UPDATE ops.operator_sessions SET role = 'operator'")
    assert (await door.call("/t/look", 0, token))[0] == 401
    door.books.rows("UPDATE ops.operator_sessions SET role = 'viewer', actor = 'login:gone'")
    assert (await door.call("/t/look", 0, token))[0] == 401


async def test_tries_are_counted_over_all_processes_and_the_right_password_does_not_help_then(
    door: Door,
) -> None:
    statuses = [(await door.call("/t/in", n % 2, name="otto", password="wrong"))[0] for n in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    status, seconds, cookie = await door.call("/t/in", 1, name="otto", password=PASSWORD)
    assert (status, cookie) == (429, "")
    assert 0 < int(seconds) <= 300


async def test_a_session_is_remembered_by_the_process_that_saw_it_and_by_no_other(door: Door) -> None:
    token, _ = await door.signed_in()
    assert (await door.call("/t/remembered", 0, token))[:2] == (200, "login:otto")
    assert (await door.call("/t/remembered", 1, token))[0] == 401
    await door.call("/t/look", 1, token)
    assert (await door.call("/t/remembered", 1, token))[:2] == (200, "login:otto")
    for forged in ("", "x", token + "x", "x" * 300):
        assert (await door.call("/t/remembered", 0, forged))[0] == 401


@pytest.mark.parametrize(
    "ended",
    [
        "DELETE FROM ops.operator_sessions",
        "UPDATE ops.operator_sessions SET seen_at = now() - interval '31 minutes'",
        "UPDATE ops.operator_sessions SET role = 'viewer'",
    ],
)
async def test_a_session_that_was_refused_is_forgotten(door: Door, ended: str) -> None:
    token, _ = await door.signed_in()
    door.books.rows(ended)
    assert (await door.call("/t/look", 0, token))[0] == 401
    assert (await door.call("/t/remembered", 0, token))[0] == 401


async def test_who_signs_out_is_forgotten(door: Door) -> None:
    token, _ = await door.signed_in()
    await door.call("/t/out", 0, token)
    assert (await door.call("/t/remembered", 0, token))[0] == 401


async def test_a_session_is_remembered_until_it_expires(door: Door) -> None:
    token, _ = await door.signed_in()
    with time_machine.travel(datetime.now(UTC) + LIFETIME - timedelta(seconds=30)):
        assert (await door.call("/t/remembered", 0, token))[0] == 200
    with time_machine.travel(datetime.now(UTC) + LIFETIME):
        assert (await door.call("/t/remembered", 0, token))[0] == 401


def test_no_more_sessions_are_remembered_than_there_is_room_for() -> None:
    sessions = Sessions(read_settings({"ENV": "development"}), None, None, None)  # type: ignore[arg-type]
    until = datetime.now(UTC) + LIFETIME
    session = Session(operator=Operator(name="x", role=Role.VIEWER), created_at=until, expires_at=until)
    tokens = [f"token-{number}" for number in range(REMEMBERED_MAX + 1)]
    for token in tokens:
        sessions._remember(token, session)  # a thousand sign-ins would take minutes
    known = [
        sessions.remembered(make_mocked_request("GET", "/ops", headers={"Cookie": f"mana-ops={token}"}))
        for token in (tokens[0], tokens[1], tokens[-1])
    ]
    assert [one is not None for one in known] == [False, True, True]
