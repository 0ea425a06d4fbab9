"""Who spends: people and services that use, refund, grant, reserve, commit, read and erase."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.faults.rig.asking import Person
from tests.faults.rig.records import Record, Told

INTERNAL = "/api/v1/internal/credits"
USER = "/api/v1/credits"

HOT = tuple(f"hot-{number}" for number in range(3))
SPENDERS = tuple(f"user-{number}" for number in range(60))
POOR = 12
"""Of the spenders, how many have too little: refusals are part of the load."""

AMOUNTS = (0.1, 0.25, 1, 2, 3.5)
JOB_WAIT_SECONDS = 4


async def think(chance: random.Random) -> None:
    """The pause between two of a client's requests."""
    await asyncio.sleep(chance.uniform(0.02, 0.16))


def use_body(name: str, amount: float, user_id: str | None = None) -> dict[str, Any]:
    """The body of a use, whose entry says `name`."""
    body = {"amount": amount, "appId": "rig", "description": name}
    return body if user_id is None else {**body, "userId": user_id}


async def grant(person: Person, user_id: str, amount: int, name: str, *, is_keyed: bool = True) -> Record:
    """Give; the name is its reference, which makes it take effect once, with a key or without."""
    body = {"userId": user_id, "amount": amount, "reason": "rig", "referenceId": name}
    return await person.town.ask(
        "grant",
        "POST",
        f"{INTERNAL}/grant",
        body,
        user_id=user_id,
        name=name,
        headers=person.service(),
        is_keyed=is_keyed,
        is_repeatable=True,
    )


async def use(
    person: Person, user_id: str, amount: float, name: str, *, is_keyed: bool, is_internal: bool
) -> Record:
    """Spend, as the person or as a service."""
    path = f"{INTERNAL}/use" if is_internal else f"{USER}/use"
    return await person.town.ask(
        "use",
        "POST",
        path,
        use_body(name, amount, user_id if is_internal else None),
        user_id=user_id,
        name=name,
        headers=person.service() if is_internal else person.user(user_id),
        is_keyed=is_keyed,
    )


async def use_together(person: Person, users: list[str], name: str, chance: random.Random) -> Record:
    """Spend of many in one request; the item's name has its place."""
    items = [
        use_body(f"{name}#{place}", chance.choice(AMOUNTS), user_id) for place, user_id in enumerate(users)
    ]
    return await person.town.ask(
        "use/batch",
        "POST",
        f"{INTERNAL}/use/batch",
        {"items": items},
        user_id="",
        name=name,
        headers=person.service(),
        is_keyed=chance.random() < 0.8,
    )


async def read_balance(person: Person, user_id: str) -> Record:
    """What the person has."""
    return await person.town.ask(
        "balance", "GET", f"{USER}/balance", user_id=user_id, headers=person.user(user_id)
    )


async def hot(person: Person, chance: random.Random) -> None:
    """Many at once on the same few accounts: their histories are checked to be linear."""
    while person.town.goes_on:
        user_id, name = chance.choice(HOT), _name(chance)
        what = chance.random()
        if what < 0.4:
            await read_balance(person, user_id)
        elif what < 0.82:
            amount = chance.choice(AMOUNTS)
            is_internal = chance.random() < 0.5
            await use(person, user_id, amount, name, is_keyed=chance.random() < 0.6, is_internal=is_internal)
        elif what < 0.93:
            await grant(person, user_id, chance.randint(1, 12), name, is_keyed=chance.random() < 0.5)
        else:
            await use_together(person, chance.choices(HOT, k=3), name, chance)
        await think(chance)


async def spender(person: Person, chance: random.Random) -> None:
    """Uses in every way, refunds, grants and pages of entries."""
    while person.town.goes_on:
        user_id, name = chance.choice(SPENDERS), _name(chance)
        match chance.choice(("use", "use", "use", "batch", "refund", "grant", "init", "page", "nobody")):
            case "use":
                await use(
                    person,
                    user_id,
                    chance.choice(AMOUNTS),
                    name,
                    is_keyed=chance.random() < 0.6,
                    is_internal=chance.random() < 0.5,
                )
            case "batch":
                await use_together(person, chance.choices(SPENDERS, k=chance.randint(1, 12)), name, chance)
            case "refund":
                await _refund(person, user_id, name, chance)
            case "grant":
                await grant(person, user_id, chance.randint(1, 30), name)
            case "init":
                await person.town.ask(
                    "init",
                    "POST",
                    f"{INTERNAL}/init",
                    {"userId": user_id},
                    user_id=user_id,
                    headers=person.service(),
                    is_repeatable=True,
                )
            case "page":
                await person.town.ask(
                    "transactions",
                    "GET",
                    f"{USER}/transactions?limit=20",
                    user_id=user_id,
                    headers=person.user(user_id),
                )
            case "nobody":
                await use(person, f"nobody-{name}", 1, name, is_keyed=True, is_internal=True)
        await think(chance)


async def _refund(person: Person, user_id: str, name: str, chance: random.Random) -> None:
    await person.town.ask(
        "refund",
        "POST",
        f"{INTERNAL}/refund",
        {"userId": user_id, "amount": chance.choice(AMOUNTS), "description": name},
        user_id=user_id,
        name=name,
        headers=person.service(JOB_WAIT_SECONDS),
        is_keyed=chance.random() < 0.8,
    )


async def holder(person: Person, chance: random.Random) -> None:
    """Reservations: committed, refunded, both at once, or left until their time is over."""
    number = 0
    while person.town.goes_on:
        number += 1
        user_id = f"holder-{number % 5}"
        name = _name(chance)
        lifetime = chance.choice((2, 3600, 3600, 3600))
        reserved = await person.town.ask(
            "reserve",
            "POST",
            f"{INTERNAL}/reserve",
            {
                "userId": user_id,
                "amount": chance.randint(1, 9),
                "reason": f"rig:{name}",
                "expiresInSeconds": lifetime,
            },
            user_id=user_id,
            name=name,
            headers=person.service(),
            is_keyed=chance.random() < 0.7,
        )
        if reserved.told is Told.OK:
            await think(chance)
            await _resolve(person, reserved, chance)
        await think(chance)


async def _resolve(person: Person, reserved: Record, chance: random.Random) -> None:
    reservation_id = reserved.answer["reservationId"]
    ways = chance.choice((["commit"], ["commit"], ["refund-reservation"], ["commit", "refund-reservation"]))
    if chance.random() < 0.1:
        ways = []
    asked = []
    for way in ways:
        name = _name(chance)
        body = {"reservationId": reservation_id}
        asked.append(
            person.town.ask(
                way,
                "POST",
                f"{INTERNAL}/{way}",
                body | ({"description": name} if way == "commit" else {}),
                user_id=reserved.user_id,
                name=name,
                headers=person.service(),
                is_keyed=chance.random() < 0.7,
            )
        )
    await asyncio.gather(*asked)


async def eraser(person: Person, chance: random.Random) -> None:
    """Somebody comes, spends, and asks to be forgotten."""
    while person.town.goes_on:
        user_id = f"gone-{_name(chance)}"
        await grant(person, user_id, 100, _name(chance))
        for _ in range(3):
            await use(person, user_id, 1, _name(chance), is_keyed=True, is_internal=False)
        await person.town.ask(
            "reserve",
            "POST",
            f"{INTERNAL}/reserve",
            {"userId": user_id, "amount": 5, "reason": f"rig:{user_id}"},
            user_id=user_id,
            name=user_id,
            headers=person.service(),
            is_keyed=True,
        )
        for _ in range(2):
            await person.town.ask(
                "erase",
                "DELETE",
                f"{INTERNAL}/balance/{user_id}",
                user_id=user_id,
                headers=person.service(),
                is_repeatable=True,
            )
        await asyncio.sleep(chance.uniform(0.5, 1.5))


async def prepare(person: Person) -> None:
    """Give everybody what they begin with."""
    riches = dict.fromkeys(HOT, 30)
    riches |= {user_id: 5 if place < POOR else 100_000 for place, user_id in enumerate(SPENDERS)}
    riches |= {f"holder-{number}": 400 if number else 12 for number in range(5)}
    records = [grant(person, user_id, amount, f"first-{user_id}") for user_id, amount in riches.items()]
    for record in await asyncio.gather(*records):
        assert record.told is Told.OK, record


def _name(chance: random.Random) -> str:
    return f"{chance.getrandbits(64):016x}"
