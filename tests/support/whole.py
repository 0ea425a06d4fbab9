"""The whole service as its processes (front, workers, scheduler), with a Stripe and a mana-auth beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.auth import AuthSimulator
from simulators.stripe import StripeSimulator
from tests.support.books import Books
from tests.support.client import SERVICE_KEY, Client
from tests.support.crew import Crew
from tests.support.process import WebProcess
from tests.support.service import environment, new_session

WEBHOOK_SECRET = "whsec_of_the_whole"
SECONDS = 20.0


@dataclass(kw_only=True)
class Whole(Client):
    """A running service and the means of its callers."""

    stripe: StripeSimulator
    books: Books
    front: WebProcess
    workers: Crew
    scheduler: Crew

    async def becomes(self, query: str, wanted: object, *parameters: object) -> None:
        """Wait until the books say so."""
        seen: object = None
        for _ in range(int(SECONDS / 0.05)):
            seen = await asyncio.to_thread(self.books.one, query, *parameters)
            if seen == wanted:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{query}: {seen!r} and not {wanted!r} after {SECONDS} s\n{self.workers.tail()}")

    def admin(self) -> dict[str, str]:
        """The headers of an administrator's request."""
        return {"Authorization": f"Bearer {self.auth.mint('the-admin', role='admin')}"}


@asynccontextmanager
async def whole_service(
    database_url: str, redis_url: str, home: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[Whole]:
    """Run it until the block ends; `database_url` is PostgreSQL's own, `more` are further variables of all."""
    async with AsyncExitStack() as stack:
        auth = await stack.enter_async_context(AuthSimulator().running())
        stripe = StripeSimulator(webhook_secrets=(WEBHOOK_SECRET,))
        stack.enter_context(stripe.on_a_thread())
        variables = {
            **environment(database_url=database_url, redis_url=redis_url, auth_url=auth.url),
            "STRIPE_SECRET_KEY": "sk_test_whole",
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "WORKER_THREADS": "3",
            **(more or {}),
        }
        front = WebProcess(variables, home / "web.log")
        workers = Crew("workers", "worker_ready", variables, home / "workers.log")
        scheduler = Crew("scheduler", "scheduler_ready", variables, home / "scheduler.log")
        for part in (front, workers, scheduler):
            stack.callback(part.kill)
            await asyncio.to_thread(part.start)
        stripe.send_webhooks_to(f"{front.url}/api/v1/webhooks/stripe")
        session = await stack.enter_async_context(new_session())
        yield Whole(
            url=front.url,
            session=session,
            auth=auth,
            stripe=stripe,
            books=Books(database_url),
            front=front,
            workers=workers,
            scheduler=scheduler,
        )


async def live(whole: Whole, who: str) -> None:
    """A person's whole life with credits: bought, spent, set aside, given, received, paid for sync, given back."""
    package = {"name": who, "credits": 500, "priceEuroCents": 500}
    made = await whole.call("POST", "/api/v1/admin/packages", package, headers=whole.admin())
    assert made.status == 201, made.brief
    bought = (await whole.user(who, "POST", "/purchase", {"packageId": made.json["id"]})).ok()
    intent = bought["clientSecret"].partition("_secret")[0]
    await asyncio.to_thread(whole.stripe.pay, intent)
    await whole.becomes(
        "SELECT coalesce(sum(balance), 0)::int FROM credits.balances WHERE user_id = %s", 500, who
    )
    (await whole.use(who, 2.5, idempotencyKey="one")).ok()
    (await whole.use(who, 2.5, idempotencyKey="one")).ok()
    item = {"userId": who, "amount": 0.5, "appId": "chat", "description": "many"}
    batch = (await whole.internal("POST", "/use/batch", {"items": [item] * 5})).ok()["results"]
    assert [one["success"] for one in batch] == [True] * 5, batch
    kept = (await whole.reserve(who, 10)).ok()["reservationId"]
    (await whole.internal("POST", "/commit", {"reservationId": kept})).ok()
    refund = {"userId": who, "amount": 2, "description": "It failed", "idempotencyKey": "back"}
    assert (await whole.internal("POST", "/refund", refund)).ok()["newBalance"]["balance"] == 487
    await _give(whole, who, f"friend-of-{who}")
    await _pay_for_sync(whole, who)
    assert await whole.figures(who) == (487 - 20 - 60, 500, 500 - (487 - 20 - 60))


async def _give(whole: Whole, who: str, to: str) -> None:
    headers = whole.as_user(who)
    gift = await whole.call("POST", "/api/v1/gifts", {"totalCredits": 20}, headers=headers)
    assert gift.status == 201, gift.brief
    path = f"/api/v1/gifts/{gift.json['code']}/redeem"
    assert (await whole.call("POST", path, {}, headers=whole.as_user(to))).ok()["creditsReceived"] == 20


async def _pay_for_sync(whole: Whole, who: str) -> None:
    activated = await whole.call("POST", "/api/v1/sync/activate", {}, headers=whole.as_user(who))
    assert activated.ok()["amountCharged"] == 30
    due: Any = (
        "UPDATE credits.sync_subscriptions SET next_charge_at = now() - interval '1 hour' WHERE user_id = %s"
    )
    await asyncio.to_thread(whole.books.rows, due, who)
    path, key = "/api/v1/internal/sync/charge-recurring", {"X-Service-Key": SERVICE_KEY}
    (await whole.call("POST", path, headers=key)).ok()
    charged = "SELECT count(*) FROM credits.transactions WHERE app_id = 'sync' AND user_id = %s"
    await whole.becomes(charged, 2, who)  # by this run, or by that of another who lives beside
