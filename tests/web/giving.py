"""People who give and take over HTTP."""

from __future__ import annotations

from typing import Any

from tests.support.client import SERVICE_KEY, Headers, Reply
from tests.support.service import Service

GIFTS = "/api/v1/gifts"
REDEEM_PENDING = "/api/v1/internal/gifts/redeem-pending"


def email_of(user_id: str) -> str:
    return f"{user_id}@example.com"


class Giving:
    """Calls of the gift routes; each user's token says an address."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def token(self, user_id: str, email: str | None = None) -> dict[str, str]:
        """The headers of a user with that address, their usual one when there is none."""
        address = email_of(user_id) if email is None else email
        return {"Authorization": f"Bearer {self.service.auth.mint(user_id, address)}"}

    async def send(
        self, user_id: str, method: str, path: str, body: object = None, *, headers: Headers | None = None
    ) -> Reply:
        """A user's call of `/api/v1/gifts` + path."""
        sent = {**self.token(user_id), **(headers or {})}
        return await self.service.call(method, GIFTS + path, body, headers=sent)

    async def create(self, user_id: str = "anna", total_credits: int = 10, **body: Any) -> Any:
        """A gift that must come into being."""
        reply = await self.send(user_id, "POST", "", {"totalCredits": total_credits, **body})
        assert reply.status == 201, reply.brief
        return reply.json

    async def redeem(self, user_id: str, code: str, **body: Any) -> Reply:
        return await self.send(user_id, "POST", f"/{code}/redeem", body)

    async def look_up(self, code: str, *, headers: Headers | None = None) -> Reply:
        """Anybody's call."""
        return await self.service.call("GET", f"{GIFTS}/{code}", headers=headers)

    async def cancel(self, user_id: str, gift_id: str) -> Reply:
        return await self.send(user_id, "DELETE", f"/{gift_id}")

    async def listed(self, user_id: str, which: str, *, headers: Headers | None = None) -> Any:
        """`created`, `received` or `pending`."""
        return (await self.send(user_id, "GET", f"/me/{which}", headers=headers)).ok()

    async def redeem_pending(
        self, user_id: str, email: str, *, headers: Headers | None = None, **body: Any
    ) -> Reply:
        """The registration's call."""
        sent = {"X-Service-Key": SERVICE_KEY, **(headers or {})}
        return await self.service.call(
            "POST", REDEEM_PENDING, {"userId": user_id, "email": email, **body}, headers=sent
        )

    def is_over(self, gift: Any) -> None:
        """The gift's time comes to its end."""
        self.service.books.rows(
            "UPDATE gifts.gift_codes SET expires_at = now() - interval '1 second' WHERE id = %s", gift["id"]
        )

    def attempts(self) -> list[tuple[str, str]]:
        """Who tried to redeem, and what came of it, sorted."""
        return sorted(
            self.service.books.rows("SELECT redeemer_user_id, status::text FROM gifts.gift_redemptions")
        )
