"""Calls the service as its callers do, over HTTP."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from simulators.auth import AuthSimulator

SERVICE_KEY = "service-key-of-the-tests"

USER = "/api/v1/credits"
INTERNAL = "/api/v1/internal/credits"

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer.  `raw` is the body as it was sent, for what a JSON parser would hide."""

    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body; a number with a fraction or an exponent is a Decimal, so that `5.0` is no `5`."""
        return json.loads(self.raw, parse_float=Decimal)

    @property
    def brief(self) -> str:
        """Status and body, for the message of a failed test."""
        return f"{self.status} {self.raw[:300]!r}"

    def ok(self) -> Any:
        """The body of an answer that must be a success."""
        assert self.status == 200, self.brief
        return self.json

    def refused(self, status: int, message: str) -> Any:
        """The body of an answer that must be this error, in the contract's envelope."""
        assert self.status == status, self.brief
        assert self.headers["Content-Type"].startswith("application/json")
        body = self.json
        assert (body["statusCode"], body["message"]) == (status, message), self.brief
        return body


@dataclass
class Client:
    """Somebody who has the service's address, tokens of any user, and the service key."""

    url: str
    session: aiohttp.ClientSession
    auth: AuthSimulator
    tokens: dict[str, str] = field(default_factory=dict)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: Any = None,
        headers: Headers | None = None,
    ) -> Reply:
        """Send `body` as JSON, or `raw` as it is.  The path goes out as it is written."""
        data = raw if body is None else json.dumps(body).encode()
        sent = CIMultiDict(headers or {})
        sent.setdefault("Content-Type", "application/json")
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, data=data, headers=sent) as response:
            return Reply(response.status, response.headers, await response.read())

    def at(self, url: str) -> "Client":
        """The same caller with another address of the service."""
        return replace(self, url=url)

    def as_user(self, user_id: str) -> dict[str, str]:
        """The headers of a user's request."""
        if user_id not in self.tokens:
            self.tokens[user_id] = self.auth.mint(user_id)
        return {"Authorization": f"Bearer {self.tokens[user_id]}"}

    async def user(
        self, user_id: str, method: str, path: str, body: object = None, *, headers: Headers | None = None
    ) -> Reply:
        """A user's call of `/api/v1/credits` + path."""
        return await self.call(
            method, USER + path, body, headers={**self.as_user(user_id), **(headers or {})}
        )

    async def internal(
        self, method: str, path: str, body: object = None, *, headers: Headers | None = None
    ) -> Reply:
        """Another service's call of `/api/v1/internal/credits` + path."""
        return await self.call(
            method, INTERNAL + path, body, headers={"X-Service-Key": SERVICE_KEY, **(headers or {})}
        )

    async def use(
        self, user_id: str, amount: float = 1, *, headers: Headers | None = None, **body: Any
    ) -> Reply:
        """A user spends."""
        wanted = {"amount": amount, "appId": "chat", "description": "AI message", **body}
        return await self.user(user_id, "POST", "/use", wanted, headers=headers)

    async def grant(self, user_id: str, amount: int, reference: str = "welcome", **body: Any) -> Reply:
        """Another service gives credits."""
        wanted = {"userId": user_id, "amount": amount, "reason": "test", "referenceId": reference, **body}
        return await self.internal("POST", "/grant", wanted)

    async def reserve(self, user_id: str, amount: int, **body: Any) -> Reply:
        """Another service sets credits aside."""
        wanted = {"userId": user_id, "amount": amount, "reason": "research:run-7", **body}
        return await self.internal("POST", "/reserve", wanted)

    async def figures(self, user_id: str) -> tuple[Any, Any, Any]:
        """What a user has: balance, total earned, total spent."""
        body = (await self.user(user_id, "GET", "/balance")).ok()
        return body["balance"], body["totalEarned"], body["totalSpent"]
