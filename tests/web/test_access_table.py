"""Every route with every kind of credential: who is let in, and that nobody reaches what is another's.

The table is made from the routes that the application declares: a new one cannot be forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pytest
from multidict import CIMultiDict
from yarl import URL

from tests.support.clean_database import CleanDatabase
from tests.support.client import SERVICE_KEY, Reply
from tests.support.ops_pages import LOGINS, Browser
from tests.support.service import Service
from tests.support.world import World, make_world
from web.app import operations
from web.openapi import make_document
from web.openapi.document import path_of
from web.openapi.responses import WEBHOOK_PATH
from web.routes.ops import PAGES
from web.routing import Access, Operation

OWNER, STRANGER = "anna", "mallory"


class Credential(StrEnum):
    """What a caller may show."""

    NONE = "none"
    GARBAGE = "garbage"
    EXPIRED = "expired token"
    USER = "token of a user"
    STRANGER = "token of another user"
    ADMIN = "token of an administrator"
    ADMIN_IN_ANOTHER_CASE = "token of role Admin"
    WRONG_KEY = "wrong service key"
    KEY = "service key"
    KEY_AS_TOKEN = "service key as a bearer token"
    TOKEN_AS_KEY = "administrator's token as a service key"
    SESSION = "operator's session"


NO_TOKEN = "Missing or invalid Authorization header"
BAD_TOKEN = "Invalid or expired token"
BAD_KEY = "Invalid or missing service key"

BEARERS = frozenset(
    {Credential.USER, Credential.STRANGER, Credential.ADMIN, Credential.ADMIN_IN_ANOTHER_CASE}
)
BAD_BEARERS = frozenset({Credential.GARBAGE, Credential.EXPIRED, Credential.KEY_AS_TOKEN})


def refusal_of(access: Access, credential: Credential) -> tuple[int, dict[str, Any]] | None:
    """The status and words with which the contract refuses, or None for who may call."""
    if access is Access.OPEN:
        return None
    if access is Access.SERVICE:
        return None if credential is Credential.KEY else (401, {"statusCode": 401, "message": BAD_KEY})
    if credential in BEARERS:
        if access is Access.ADMIN and credential is not Credential.ADMIN:
            return 403, {"error": "Forbidden", "message": "Admin access required"}
        return None
    return 401, {"statusCode": 401, "message": BAD_TOKEN if credential in BAD_BEARERS else NO_TOKEN}


@dataclass(frozen=True)
class Request:
    """One operation as it is called: with the path and the body of its own example in the OpenAPI."""

    operation: Operation
    path: str
    body: Any

    @property
    def name(self) -> str:
        return f"{self.operation.method} {self.path}"


def every_request(parts: Mapping[str, str] | None = None) -> Iterator[Request]:
    """Each operation at each of its addresses; `parts` replace parts of paths."""
    document = make_document(operations(), "https://credits.example.com")
    for operation in operations():
        described = document["paths"][path_of(operation)][operation.method.lower()]
        examples = {
            parameter["name"]: parameter["schema"]["examples"][0]
            for parameter in described["parameters"]
            if parameter["in"] == "path"
        }
        body = None
        if operation.body is not None:
            media = described["requestBody"]["content"]["application/json"]
            body = media["examples"]["example"]["value"]
        for address in (path_of(operation), operation.alias):
            if address is not None:
                path = address.format_map({**examples, **(parts or {})})
                yield Request(operation, path, body)


@dataclass
class House:
    """A service with something of everything in its books, and the headers of each credential."""

    service: Service
    world: World
    headers: dict[Credential, dict[str, str]]

    async def ask(self, credential: Credential, request: Request, **more: str) -> Reply:
        headers = {"Prefer": "respond-async", **self.headers[credential], **more}
        return await self.service.call(request.operation.method, request.path, request.body, headers=headers)

    async def as_stranger(self, method: str, path: str, body: object = None) -> Reply:
        return await self.service.call(method, path, body, headers=self.service.as_user(STRANGER))


@pytest.fixture
def service_variables() -> dict[str, str]:
    return LOGINS


@pytest.fixture
async def house(service: Service, lent_database: CleanDatabase) -> House:
    service.has_books = False
    world = make_world(lent_database.engine)
    browser = Browser(service)
    async with browser.session:
        await browser.sign_in()
        cookies = browser.session.cookie_jar.filter_cookies(URL(service.url))
    session = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())
    return House(service, world, every_credential(service, session))


def every_credential(service: Service, session: str) -> dict[Credential, dict[str, str]]:
    def bearer(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    mint = service.auth.mint
    admin = mint("root", role="admin")
    return {
        Credential.NONE: {},
        Credential.GARBAGE: bearer("garbage.garbage.garbage"),
        Credential.EXPIRED: bearer(mint("root", role="admin", ttl_seconds=-60)),
        Credential.USER: bearer(mint(OWNER)),
        Credential.STRANGER: bearer(mint(STRANGER)),
        Credential.ADMIN: bearer(admin),
        Credential.ADMIN_IN_ANOTHER_CASE: bearer(mint("root", role="Admin")),
        Credential.WRONG_KEY: {"X-Service-Key": SERVICE_KEY + "x"},
        Credential.KEY: {"X-Service-Key": SERVICE_KEY},
        Credential.KEY_AS_TOKEN: bearer(SERVICE_KEY),
        Credential.TOKEN_AS_KEY: {"X-Service-Key": admin},
        Credential.SESSION: {"Cookie": session},
    }


async def test_every_route_refuses_every_credential_that_is_not_its_own_and_writes_nothing(
    house: House,
) -> None:
    before = house.service.books.everything()
    wrong, cells = [], 0
    for request in every_request():
        for credential in Credential:
            refusal = refusal_of(request.operation.access, credential)
            if refusal is None:
                continue
            cells += 1
            reply = await house.ask(credential, request)
            status, words = refusal
            if reply.status != status or not words.items() <= reply.json.items():
                wrong.append(f"{request.name} with {credential}: {reply.brief}")
    assert not wrong, "\n".join(wrong)
    assert cells > 700
    assert house.service.books.everything() == before


async def test_every_route_lets_in_whom_it_is_for(house: House) -> None:
    wrong, cells = [], 0
    # What erases or closes comes last: it would take away what the others ask for.
    requests = sorted(
        every_request(), key=lambda one: (one.operation.method == "DELETE", "erase" in one.path)
    )
    for request in requests:
        for credential in Credential:
            if refusal_of(request.operation.access, credential) is not None:
                continue
            cells += 1
            reply = await house.ask(credential, request)
            is_refused = reply.status in (401, 403) or (reply.status >= 500 and reply.status != 503)
            if is_refused:
                wrong.append(f"{request.name} with {credential}: {reply.brief}")
    assert not wrong, "\n".join(wrong)
    assert cells > 200


async def test_no_credential_of_the_api_opens_a_page_of_operators(house: House) -> None:
    before = house.service.books.everything()
    wrong = []
    pages = {(method, re.sub(r"\{[^}]*(\{[^}]*\})?[^}]*\}", str(uuid4()), path)) for method, path, _ in PAGES}
    session = house.service.session
    for method, path in sorted(pages - {("GET", "/sign-in"), ("POST", "/sign-in")}):
        for credential in set(Credential) - {Credential.SESSION}:
            url = f"{house.service.url}/ops{path}"
            headers = house.headers[credential]
            async with session.request(method, url, headers=headers, allow_redirects=False) as answer:
                location = answer.headers.get("Location", "")
                if answer.status == 404 or (answer.status == 303 and location.startswith("/ops/sign-in")):
                    continue
                wrong.append(f"{method} /ops{path} with {credential}: {answer.status}")
    assert not wrong, "\n".join(wrong)
    assert house.service.books.everything() == before


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Service-Key", ""), ("X-Service-Key", SERVICE_KEY)],
        [("X-Service-Key", "wrong"), ("X-Service-Key", SERVICE_KEY)],
        [("X-Service-Key", SERVICE_KEY), ("X-Service-Key", "wrong")],
        [("X-Service-Key", SERVICE_KEY), ("X-Service-Key", SERVICE_KEY)],
        [("X-Service-Key", f"wrong, {SERVICE_KEY}")],
        [("X-Service-Key", f"{SERVICE_KEY},{SERVICE_KEY}")],
        [("X-Service-Key", f'"{SERVICE_KEY}"')],
        [("X-Service-Key", SERVICE_KEY.upper())],
        [("X_Service_Key", SERVICE_KEY)],
        [("X-Forwarded-Service-Key", SERVICE_KEY)],
        [("Authorization", f"X-Service-Key {SERVICE_KEY}")],
        [("Cookie", f"X-Service-Key={SERVICE_KEY}")],
    ],
)
async def test_a_service_key_counts_in_its_own_header_alone(
    service: Service, headers: list[tuple[str, str]]
) -> None:
    url = f"{service.url}/api/v1/internal/credits/balance/anna"
    async with service.session.get(url, headers=CIMultiDict(headers)) as answer:
        assert (answer.status, (await answer.json())["message"]) == (401, BAD_KEY)
    # Nor in the address, where logs would keep it.
    for name in ("X-Service-Key", "serviceKey", "key"):
        async with service.session.get(url, params={name: SERVICE_KEY}) as answer:
            assert answer.status == 401


async def test_of_two_tokens_neither_counts(service: Service) -> None:
    good = service.as_user("anna")["Authorization"]
    for pair in ((good, "Bearer garbage"), ("Bearer garbage", good), (good, good)):
        headers = CIMultiDict([("Authorization", one) for one in pair])
        async with service.session.get(f"{service.url}/api/v1/credits/balance", headers=headers) as answer:
            assert (answer.status, (await answer.json())["message"]) == (401, NO_TOKEN)


def of_access(access: Access, parts: Mapping[str, str]) -> list[Request]:
    return [request for request in every_request(parts) if request.operation.access is access]


async def test_a_strangers_id_is_answered_like_an_id_that_nobody_has(house: House) -> None:
    world = house.world
    before = anna_in_the_books(house)
    checked = 0
    for tag, known in (("Credits", world.purchase_id), ("Gifts", world.open_gift.id)):
        theirs = of_access(Access.USER, {"id": str(known), "code": "NOSUCHCODE"})
        nobodys = of_access(Access.USER, {"id": str(uuid4()), "code": "NOSUCHCODE"})
        for one, other in zip(theirs, nobodys, strict=True):
            if one.operation.tag != tag or "{id}" not in one.operation.path:
                continue
            checked += 1
            answers = [await house.ask(Credential.STRANGER, asked) for asked in (one, other)]
            assert {answer.status for answer in answers} == {404}
            assert answers[0].raw == answers[1].raw
    assert checked == 2
    assert anna_in_the_books(house) == before


async def test_no_call_of_a_stranger_changes_or_shows_anything_of_hers(house: House) -> None:
    world = house.world
    before = anna_in_the_books(house)
    ids = (world.purchase_id, world.open_gift.id, world.entry_id, world.reservation_id, world.failed_id)
    more = {
        **dict.fromkeys(("userId", "user_id", "sub", "creatorId", "redeemerUserId", "targetUserId"), OWNER),
        "role": "admin",
        "balance": 10**6,
        "totalEarned": 10**6,
        "totalSpent": 0,
        "version": 99,
        "status": "completed",
        "priceEuroCents": 0,
        "active": True,
        "gifted": True,
        "isGifted": True,
        "creatorName": "The Bank",
        "code": "AAAAAAAAAA",
        "redeemed": 0,
        "__proto__": {"role": "admin"},
    }
    asked = 0
    for one_id in ids:
        for request in of_access(Access.USER, {"id": str(one_id), "code": "NOSUCHCODE"}):
            body = None if request.body is None else {**more, **request.body, "userId": OWNER}
            path = f"{request.path}?userId={OWNER}&user_id={OWNER}&sub={OWNER}"
            reply = await house.as_stranger(request.operation.method, path, body)
            asked += 1
            assert reply.status < 500 or reply.status == 503, f"{request.name}: {reply.brief}"
            shown = reply.raw.decode()
            for secret in (*map(str, ids), world.intent_id, world.open_gift.code, "cus_world"):
                assert secret not in shown, f"{request.name} shows {secret}"
            assert f'"{OWNER}"' not in shown, f"{request.name}: {reply.brief}"
    assert asked > 80
    assert anna_in_the_books(house) == before
    # What the stranger asked to be is not what the stranger is.
    figures = await house.as_stranger("GET", "/api/v1/credits/balance")
    assert figures.ok()["balance"] == 0


async def test_fields_that_a_body_does_not_have_are_ignored_everywhere(house: House) -> None:
    """Mass assignment: what a row has and the body has not cannot be set from outside."""
    grant = {"userId": "zoe", "amount": 5, "reason": "x", "referenceId": "r", "balance": 999, "totalSpent": 7}
    key = {"X-Service-Key": SERVICE_KEY}
    reply = await house.service.call("POST", "/api/v1/internal/credits/grant", grant, headers=key)
    assert reply.ok()["newBalance"] == 5
    init = {
        "userId": "yara",
        "balance": 50,
        "totalEarned": 50,
        "version": 9,
        "createdAt": "2000-01-01T00:00:00Z",
    }
    row = (await house.service.call("POST", "/api/v1/internal/credits/init", init, headers=key)).ok()
    assert (row["balance"], row["totalEarned"], row["version"]) == (0, 0, 0)
    assert not row["createdAt"].startswith("2000")
    gift = {
        "totalCredits": 5,
        "id": str(uuid4()),
        "code": "AAAAAAAAAA",
        "creatorId": "ben",
        "status": "depleted",
    }
    made = await house.service.call(
        "POST", "/api/v1/gifts", {**gift, "redeemed": 1}, headers=house.service.as_user(OWNER)
    )
    body = made.json
    assert (made.status, body["creatorId"], body["status"], body["redeemed"]) == (201, OWNER, "active", 0)
    assert (body["id"], body["code"]) != (gift["id"], gift["code"])


async def test_a_job_is_shown_to_services_alone(house: House) -> None:
    path = f"/api/v1/internal/jobs/{house.world.failed_id}"
    for credential in Credential:
        reply = await house.service.call("GET", path, headers=house.headers[credential])
        assert reply.status == (200 if credential is Credential.KEY else 401), credential


async def test_the_webhook_takes_no_credential_for_a_signature(house: House) -> None:
    event = b'{"id": "evt_forged", "object": "event", "type": "payment_intent.succeeded"}'
    for credential in Credential:
        reply = await house.service.call("POST", WEBHOOK_PATH, raw=event, headers=house.headers[credential])
        assert (reply.status, reply.json) == (400, {"error": "Missing signature"}), credential
    assert house.service.books.one("SELECT count(*) FROM ops.stripe_events WHERE id = 'evt_forged'") == 0


def anna_in_the_books(house: House) -> list[tuple[Any, ...]]:
    """Every row that is hers or tells of her."""
    tables = house.service.books.rows(
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('credits', 'gifts')"
    )
    rows: list[tuple[Any, ...]] = []
    for (table,) in sorted(tables):
        rows += house.service.books.rows(
            f"SELECT '{table}', t::text FROM {table} t WHERE t::text LIKE '%%anna%%' ORDER BY 2"
        )
    assert len(rows) > 5
    return rows
