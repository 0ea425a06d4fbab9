"""A client's side of a request: it asks, notes what it was told, and asks again with the same key until it knows."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp

from simulators.auth import AuthSimulator
from tests.faults.rig.records import Record, Records, Told
from tests.support.client import SERVICE_KEY, Client, Reply

TRY_SECONDS = 6.0
"""How long a client waits for an answer: longer than most faults, shorter than the longest."""

PAUSE_SECONDS = 0.15
LAST_TRIES_SECONDS = 40.0
"""How long after the load's end clients go on asking about what they do not know."""

OUTAGES = (502, 503)
"""Told of an outage: what became of this try is not known."""

NOT_KEPT = ("transactions", "purchases", "gifts created", "gifts received", "gift look-up")
"""Lists: what they told is for nobody to judge, and would fill the memory of a long run."""

KNOWN = {200: Told.OK, 201: Told.OK, 202: Told.ACCEPTED, 400: Told.REFUSED, 402: Told.REFUSED}
KNOWN |= {404: Told.REFUSED, 429: Told.REFUSED}


def plain_session() -> aiohttp.ClientSession:
    """A session that sends what it is given once: aiohttp repeats a DELETE by itself when its connection breaks, and
    the client would not know that it had been sent before."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=300)
    )
    session._retry_connection = False
    return session


@dataclass
class Town:
    """Everybody's way to the service, and where everything is written down."""

    webs: Mapping[str, Client]
    auth: AuthSimulator
    until: float
    """When the load ends, on the rig's clock."""
    records: Records = field(default_factory=Records)
    turns: itertools.count[int] = field(default_factory=itertools.count)
    try_seconds: float = TRY_SECONDS
    """How long a client waits for an answer before it asks again."""
    offset_seconds: float = 0.0
    """How far the time of day that everybody goes by is from the true one."""
    was_set_at: float = 0.0
    """When, on the rig's clock, somebody was last done with setting it; tokens from before may be no good."""

    @staticmethod
    def clock() -> float:
        """The rig's clock: seconds that pass."""
        return time.monotonic()

    def now(self) -> datetime:
        """The time of day that everybody goes by."""
        return datetime.now(UTC) + timedelta(seconds=self.offset_seconds)

    @contextmanager
    def setting_the_clock(self, offset_seconds: float) -> Iterator[None]:
        """Set the time of day; it takes as long as this is open until everybody goes by the new one."""
        self.was_set_at = math.inf
        yield
        self.offset_seconds = offset_seconds
        self.auth.now = lambda: time.time() + offset_seconds
        self.was_set_at = self.clock()

    @property
    def goes_on(self) -> bool:
        return self.clock() < self.until

    def _next_web(self) -> tuple[str, Client]:
        names = list(self.webs)
        name = names[next(self.turns) % len(names)]
        return name, self.webs[name]

    async def ask(
        self,
        kind: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        user_id: str,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        is_keyed: bool = False,
        is_repeatable: bool = False,
    ) -> Record:
        """Ask and record.  With a key, or where a repeat does no harm, again until something is known."""
        name = name or str(uuid4())
        key = name if is_keyed else None
        record = Record(name, kind, user_id, self.clock(), dict(body or {}), key)
        self.records.begin(record)
        sent = {**(headers or {}), **({} if key is None else {"Idempotency-Key": key})}
        give_up_at = max(self.until, self.clock()) + LAST_TRIES_SECONDS
        while True:
            told = await self._try(record, method, path, body, sent)
            if told is not Told.UNKNOWN or not (is_keyed or is_repeatable) or self.clock() > give_up_at:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        # Refused now; but an earlier try, of which nothing is known, may have come too late to be seen.
        was_unknown = any(KNOWN.get(int(one)) is None for one in record.tries if one.isdigit())
        was_unknown |= any(not one.isdigit() and one != "not sent" for one in record.tries)
        record.told = Told.UNKNOWN if told is Told.REFUSED and was_unknown else told
        record.ended = self.clock()
        self.records.end(record)
        return record

    async def _try(
        self,
        record: Record,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        headers: Mapping[str, str],
    ) -> Told:
        record.via, client = self._next_web()
        try:
            async with asyncio.timeout(self.try_seconds):
                reply = await client.call(method, path, body, headers=headers)
        except aiohttp.ClientConnectorError:
            self._note(record, "not sent")
            return Told.UNKNOWN
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            self._note(record, type(error).__name__)
            return Told.UNKNOWN
        self._note(record, str(reply.status))
        record.status = reply.status
        if reply.status in OUTAGES:
            if reply.status == 503 and "Retry-After" not in reply.headers:
                self.records.defects.append(
                    f"{record.name} {method} {path}: {reply.brief} without Retry-After"
                )
            return Told.UNKNOWN
        return self._known(record, method, path, reply)

    def _known(self, record: Record, method: str, path: str, reply: Reply) -> Told:
        if reply.status == 401 and record.began <= self.was_set_at:
            return Told.REFUSED  # its token was made by a clock that has been set since
        record.answer = None if record.kind in NOT_KEPT else reply.json
        if record.kind == "transactions" and reply.status == 200:
            self.records.defects += out_of_order(reply.json)
        if reply.status not in KNOWN:
            # 409 for a race, 422 for our own repeat, 401 for a good token, 500: never.
            self.records.defects.append(f"{record.name} {method} {path}: {reply.brief}")
            return Told.UNKNOWN if reply.status >= 500 else Told.REFUSED
        return KNOWN[reply.status]

    def _note(self, record: Record, what: str) -> None:
        record.tries.append(what)
        self.records.statuses[what] += 1


def out_of_order(entries: list[dict[str, Any]]) -> list[str]:
    """Entries, newest first, that do not begin where the one below ended; of people who reserve nothing."""
    return [
        f"entry {newer['id']} of {newer['userId']} begins at {newer['balanceBefore']}, the one before it,"
        f" {older['id']}, left {older['balanceAfter']}"
        for newer, older in itertools.pairwise(entries)
        if newer["balanceBefore"] != older["balanceAfter"]
    ]


@dataclass
class Person:
    """A client with a name, and the headers of a user's, an admin's and another service's requests."""

    town: Town
    address: str
    tokens: dict[tuple[str, str, str, float], str] = field(default_factory=dict)

    def user(self, user_id: str, email: str = "", role: str = "user") -> dict[str, str]:
        """The headers of a user's request."""
        who = (user_id, email, role, self.town.was_set_at)
        if who not in self.tokens or math.isinf(self.town.was_set_at):
            self.tokens[who] = self.town.auth.mint(user_id, email, role)
        return {"Authorization": f"Bearer {self.tokens[who]}", "X-Forwarded-For": self.address}

    def service(self, wait_seconds: int | None = None) -> dict[str, str]:
        """The headers of another service's request; with how long it waits for a job."""
        prefer = {} if wait_seconds is None else {"Prefer": f"wait={wait_seconds}"}
        return {"X-Service-Key": SERVICE_KEY, "X-Forwarded-For": self.address, **prefer}
