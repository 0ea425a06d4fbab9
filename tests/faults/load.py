"""Many clients who spend at once while things break, and who remember what they were told."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import uuid4

import aiohttp

from tests.support.books import Books
from tests.support.client import Client

SECONDS = float(os.environ.get("FAULT_SECONDS", "6"))
"""How long each load lasts.  FAULT_SECONDS=60 for a long look by hand."""

CLIENTS = 64
USERS = 100
POOR_USERS = 20
RICHES = 1_000_000
POVERTY = 2
AMOUNTS = (0.1, 0.25, 1, 2, 3.5)
PAUSE_SECONDS = 0.05
LAST_TRIES_SECONDS = 15.0


class Told(StrEnum):
    """What a client knows of a use at the end."""

    DONE = "done"
    NOT_DONE = "not done"
    NOT_DONE_NOW = "not done now"
    """Of this try, which may come again."""
    UNKNOWN = "unknown"


@dataclass
class Load:
    """What `CLIENTS` clients were told, by the use's own name, which is its entry's description."""

    client: Client
    users: Sequence[str] = tuple(f"user-{number}" for number in range(USERS))
    told: dict[str, Told] = field(default_factory=dict)
    transactions: dict[str, str] = field(default_factory=dict)
    keyed: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Whose uses had a key, and how much."""
    statuses: Counter[int | str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    pause_seconds: float = 0.0
    """Of each client between two uses."""

    async def prepare(self) -> None:
        """Give everybody credits: a few people too few of them."""
        for position, user_id in enumerate(self.users):
            (await self.client.grant(user_id, POVERTY if position < POOR_USERS else RICHES)).ok()

    async def run(self, seconds: float = SECONDS) -> None:
        """Spend until the time is over.  Half of the clients give keys, and ask again until they know."""
        until = time.monotonic() + seconds
        await asyncio.gather(*[self._spend(until, has_keys=number % 2 == 0) for number in range(CLIENTS)])

    async def _spend(self, until: float, *, has_keys: bool) -> None:
        while time.monotonic() < until:
            name, user_id, amount = str(uuid4()), random.choice(self.users), random.choice(AMOUNTS)
            if has_keys:
                await self._use_until_known(name, user_id, amount, until + LAST_TRIES_SECONDS)
            else:
                self.told[name] = await self._use(name, user_id, amount)
            await asyncio.sleep(self.pause_seconds)

    async def _use_until_known(self, name: str, user_id: str, amount: float, until: float) -> None:
        self.told[name] = Told.UNKNOWN
        self.keyed[name] = (user_id, amount)
        while self.told[name] is Told.UNKNOWN and time.monotonic() < until:
            told = await self._use(name, user_id, amount, key=name)
            # 503 and no connection speak of this try alone; what an earlier one did is told by 200 or 402.
            self.told[name] = Told.UNKNOWN if told is Told.NOT_DONE_NOW else told

    async def _use(self, name: str, user_id: str, amount: float, key: str | None = None) -> Told:
        try:
            reply = await self.client.use(user_id, amount, description=name, idempotencyKey=key)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_SECONDS)
            was_sent = not isinstance(error, aiohttp.ClientConnectorError)
            return Told.UNKNOWN if was_sent else Told.NOT_DONE_NOW
        self.statuses[reply.status] += 1
        match reply.status:
            case 200:
                self.transactions[name] = reply.json["transaction"]["id"]
                return Told.DONE
            case 402:
                return Told.NOT_DONE
            case 503 if int(reply.headers.get("Retry-After", "0")) >= 1:
                await asyncio.sleep(PAUSE_SECONDS)
                return Told.NOT_DONE_NOW
            case _:
                self.faults.append(f"unexpected: {reply.brief}")
                return Told.UNKNOWN

    def assert_books_agree(self, books: Books) -> None:
        """Every 200 has its entry, every entry its 200 or an unknown, none is there twice; all adds up."""
        rows = books.rows(
            "SELECT description, min(id::text), count(*) FROM credits.transactions"
            " WHERE type = 'usage' GROUP BY description"
        )
        entries = {name: entry_id for name, entry_id, _ in rows}
        told = Counter(what.value for what in self.told.values())
        print(f"uses {dict(told)}, entries {len(entries)}, answers {dict(self.statuses)}")
        assert not self.faults, self.faults[:5]
        assert {name: count for name, _, count in rows if count != 1} == {}
        done = {name for name, what in self.told.items() if what is Told.DONE}
        assert {name for name in done if entries.get(name) != self.transactions[name]} == set()
        may_be_there = (Told.DONE, Told.UNKNOWN)
        assert {name for name in entries if self.told.get(name) not in may_be_there} == set()
        assert books.one("SELECT count(*) FROM credits.balances WHERE balance < 0") == 0
        books.assert_they_add_up()
        assert told[Told.DONE] > 100
        assert self.statuses[402] > 0
