"""Who gives, buys and subscribes: gifts, purchases with their payment at Stripe, and Cloud Sync."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp

from tests.faults.rig.asking import PAUSE_SECONDS, Person
from tests.faults.rig.clients import INTERNAL, JOB_WAIT_SECONDS, USER, _name, grant, think
from tests.faults.rig.records import Record, Told

GIFTS = "/api/v1/gifts"
SYNC = "/api/v1/sync"
ADMIN_SYNC = "/api/v1/admin/sync"

STRIPE_TRIES = 40
GIVER_CREDITS = 500_000
"""More than one spends in hours at any pace: 5,000 were gone after half an hour."""


async def giver(person: Person, chance: random.Random) -> None:
    """Gifts that many redeem at once, that are cancelled meanwhile, that expire, that wait for an address."""
    user_id = f"giver-{_name(chance)}"
    await grant(person, user_id, GIVER_CREDITS, f"first-{user_id}")
    while person.town.goes_on:
        scene = chance.choice((_many_redeem, _cancelled_meanwhile, _expires, _waits_for_somebody))
        await scene(person, user_id, chance)
        await person.town.ask(
            "gifts created",
            "GET",
            f"{GIFTS}/me/created?limit=20",
            user_id=user_id,
            headers=person.user(user_id),
        )
        await think(chance)


async def _create(person: Person, user_id: str, chance: random.Random, **more: Any) -> Record:
    name = _name(chance)
    return await person.town.ask(
        "gift",
        "POST",
        GIFTS,
        {"totalCredits": chance.randint(1, 20), "message": name, **more},
        user_id=user_id,
        name=name,
        headers=person.user(user_id, f"{user_id}@example.org"),
        is_keyed=chance.random() < 0.8,
    )


async def _redeem(
    person: Person, gift: Record, chance: random.Random, *, user_id: str = "", email: str = ""
) -> Record:
    user_id = user_id or f"taker-{chance.randrange(40)}"
    return await person.town.ask(
        "redeem",
        "POST",
        f"{GIFTS}/{gift.answer['code']}/redeem",
        {"sourceAppId": gift.answer["id"]},
        user_id=user_id,
        headers=person.user(user_id, email),
        is_keyed=chance.random() < 0.6,
    )


async def _cancel(person: Person, gift: Record) -> Record:
    return await person.town.ask(
        "cancel",
        "DELETE",
        f"{GIFTS}/{gift.answer['id']}",
        {"giftId": gift.answer["id"]},
        user_id=gift.user_id,
        headers=person.user(gift.user_id),
    )


async def _many_redeem(person: Person, user_id: str, chance: random.Random) -> None:
    gift = await _create(person, user_id, chance)
    if gift.told is Told.OK:
        await asyncio.gather(*[_redeem(person, gift, chance) for _ in range(4)])
        await person.town.ask(
            "gift look-up", "GET", f"{GIFTS}/{gift.answer['code']}", user_id="", headers=person.service()
        )


async def _cancelled_meanwhile(person: Person, user_id: str, chance: random.Random) -> None:
    gift = await _create(person, user_id, chance)
    if gift.told is Told.OK:
        await asyncio.gather(_cancel(person, gift), _redeem(person, gift, chance), _cancel(person, gift))


async def _expires(person: Person, user_id: str, chance: random.Random) -> None:
    over_at = person.town.now() + timedelta(seconds=3)
    gift = await _create(person, user_id, chance, expiresAt=over_at.isoformat())
    if gift.told is Told.OK:
        await asyncio.sleep(chance.uniform(0.0, 6.0))
        if chance.random() < 0.7:
            await asyncio.gather(_redeem(person, gift, chance), _cancel(person, gift))


async def _waits_for_somebody(person: Person, user_id: str, chance: random.Random) -> None:
    """Registration: init and redeem-pending at once, while somebody else tries the code."""
    new = f"new-{_name(chance)}"
    email = f"{new}@Example.org"
    made = [await _create(person, user_id, chance, targetEmail=email) for _ in range(chance.randint(1, 3))]
    known = [gift for gift in made if gift.told is Told.OK]
    await asyncio.gather(
        person.town.ask(
            "init",
            "POST",
            f"{INTERNAL}/init",
            {"userId": new},
            user_id=new,
            headers=person.service(),
            is_repeatable=True,
        ),
        person.town.ask(
            "redeem-pending",
            "POST",
            "/api/v1/internal/gifts/redeem-pending",
            {"userId": new, "email": email.lower()},
            user_id=new,
            headers=person.service(JOB_WAIT_SECONDS),
            is_keyed=True,
        ),
        *[_redeem(person, gift, chance, user_id="stranger") for gift in known[:1]],
    )
    await person.town.ask(
        "gifts received", "GET", f"{GIFTS}/me/received", user_id=new, headers=person.user(new, email)
    )


class Stripe:
    """The payer's and the bank's side, at the simulator itself, past the network that is made bad."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def do(self, object_id: str, command: str, **options: Any) -> dict[str, Any] | None:
        """Give a command, again while Stripe is down; its answer, None where it was refused or stayed away."""
        for _ in range(STRIPE_TRIES):
            try:
                url = f"{self.url}/_control/objects/{object_id}/{command}"
                async with self._session.post(url, json=options) as response:
                    found: dict[str, Any] = await response.json()
                    return found if response.status == 200 else None
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                # Done or not: what became of it, its own record says at the end.
                await asyncio.sleep(PAUSE_SECONDS)
        return None

    async def objects(self) -> dict[str, list[dict[str, Any]]]:
        """Everything there is."""
        async with self._session.get(f"{self.url}/_control/objects") as response:
            found: dict[str, list[dict[str, Any]]] = await response.json()
            return found

    async def webhooks(self, what: str) -> None:
        """Begin to lose what happens (`lose`), or no longer (`keep`); waits while the simulator starts."""
        for _ in range(STRIPE_TRIES):
            with suppress(aiohttp.ClientError, ConnectionError):
                async with self._session.post(f"{self.url}/_control/webhooks/{what}") as response:
                    await response.read()
                    return
            await asyncio.sleep(PAUSE_SECONDS)
        raise TimeoutError("the simulator of Stripe did not come back")

    async def undelivered(self) -> int:
        """How many events wait to be delivered."""
        async with self._session.get(f"{self.url}/_control/webhooks") as response:
            return len((await response.json())["undelivered"])


async def buyer(person: Person, chance: random.Random, stripe: Stripe, packages: list[str]) -> None:
    """Purchases: paid by card, declined and paid, by bank debit, refunded, disputed, never paid."""
    while person.town.goes_on:
        user_id = f"buyer-{_name(chance)[:2]}"
        is_on_page = chance.random() < 0.3
        body: dict[str, Any] = {"packageId": chance.choice(packages)}
        if is_on_page:
            body["successUrl"] = "https://mana.how/credits?session={CHECKOUT_SESSION_ID}"
        bought = await person.town.ask(
            "purchase",
            "POST",
            f"{USER}/purchase",
            body,
            user_id=user_id,
            name=_name(chance),
            headers=person.user(user_id, f"{user_id}@example.org"),
            is_keyed=True,
        )
        if bought.told is Told.OK:
            if is_on_page:
                found = re.search(r"cs_\w+", bought.answer["checkoutUrl"])
                assert found is not None
                await stripe.do(found[0], "pay", method="pm_card_visa")
            else:
                await _pay(stripe, bought.answer["clientSecret"].partition("_secret")[0], chance)
        await person.town.ask(
            "purchases", "GET", f"{USER}/purchases", user_id=user_id, headers=person.user(user_id)
        )
        # The simulator writes all it knows with every change: what it can do a second falls with what it knows.
        await asyncio.sleep(chance.uniform(1.0, 4.0))


async def _pay(stripe: Stripe, intent: str, chance: random.Random) -> None:
    what = chance.random()
    if what < 0.1:
        return
    if what < 0.3:
        await stripe.do(intent, "pay", method="pm_card_chargeDeclined")
    if what > 0.85:
        await stripe.do(intent, "pay", method="pm_sepaDebit")
        await asyncio.sleep(chance.uniform(0.1, 1.0))
        await stripe.do(intent, chance.choice(("succeed", "succeed", "fail")))
    else:
        await stripe.do(intent, "pay", method="pm_card_visa")
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    after = chance.random()
    if after < 0.25:
        for _ in range(chance.randint(1, 3)):
            await stripe.do(intent, "refund", amount=chance.randint(1, 200))
    elif after < 0.35:
        await stripe.do(intent, "refund")
    elif after < 0.5:
        dispute = await stripe.do(intent, "dispute")
        if dispute is not None:
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            await stripe.do(dispute["id"], chance.choice(("win", "lose")))


async def subscriber(person: Person, chance: random.Random) -> None:
    """Somebody's subscription from its beginning to its end, step by step; some have too little for it."""
    while person.town.goes_on:
        user_id = f"sub-{_name(chance)}"
        mine = partial(person.user, user_id, f"{user_id}@example.org")
        admin = partial(person.user, "admin", role="admin")
        await grant(person, user_id, chance.choice((10, 40, 500)), _name(chance))
        ask = person.town.ask
        for _ in range(2):
            interval = chance.choice(("monthly", "quarterly"))
            await ask(
                "sync activate",
                "POST",
                f"{SYNC}/activate",
                {"interval": interval},
                user_id=user_id,
                headers=mine(),
                is_keyed=True,
            )
            await ask("sync status", "GET", f"{SYNC}/status", user_id=user_id, headers=mine())
            match chance.choice(("interval", "gift", "nothing")):
                case "interval":
                    await ask(
                        "sync interval",
                        "POST",
                        f"{SYNC}/change-interval",
                        {"interval": "yearly"},
                        user_id=user_id,
                        headers=mine(),
                        is_repeatable=True,
                    )
                case "gift":
                    path = f"{ADMIN_SYNC}/{user_id}/gift"
                    await ask("sync gift", "POST", path, user_id=user_id, headers=admin(), is_repeatable=True)
                    await ask("sync revoke", "DELETE", path, user_id=user_id, headers=admin())
                case _:
                    await think(chance)
            await ask("sync deactivate", "POST", f"{SYNC}/deactivate", user_id=user_id, headers=mine())
        await think(chance)


async def charger(person: Person, chance: random.Random) -> None:
    """Another service that runs the recurring charge, far too often."""
    while person.town.goes_on:
        await charge(person, is_keyed=chance.random() < 0.5)
        await asyncio.sleep(chance.uniform(0.5, 2.0))


async def charge(person: Person, *, is_keyed: bool) -> Record:
    """One run of the recurring charge."""
    return await person.town.ask(
        "charge-recurring",
        "POST",
        "/api/v1/internal/sync/charge-recurring",
        user_id="",
        headers=person.service(JOB_WAIT_SECONDS),
        is_keyed=is_keyed,
    )
