"""Who leads, whose sessions PostgreSQL keeps, which slots were fired: seen from a host that is never cut off."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from scheduler.leadership import LEADER_LOCK
from tests.faults.hosts.furnishing import DATA
from tests.faults.hosts.network import Cut, Network
from tests.faults.rig.house import SCHEDULERS, House
from tests.faults.rig.verdict import Verdict
from tests.support.books import Books

LOOK_EVERY_SECONDS = 0.25
LOOK_SECONDS_MAX = 2

NOTICED_WITHIN_SECONDS = 35.0
"""PostgreSQL and the service call a connection broken after 25 s of silence (domain/database.py); the rest is for
who tries once a second, and for a machine that is busy."""

SESSIONS = f"""
SELECT host(a.client_addr), a.pid, a.backend_start,
       EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
               AND l.classid = {LEADER_LOCK >> 32} AND l.objid = {LEADER_LOCK & 0xFFFFFFFF})
FROM pg_stat_activity a WHERE a.client_addr IS NOT NULL
"""

Session = tuple[int, datetime]
"""Process and beginning."""


@dataclass
class Absence:
    """A host that was cut off: from when until when, and the sessions that PostgreSQL had of it."""

    host: str
    how: Cut
    began: float
    ended: float
    sessions: set[Session]
    led: bool
    gone_after: float | None = None
    """How long PostgreSQL kept those sessions."""


@dataclass
class Watch:
    """Looks at the database all the time that the load lasts."""

    house: House
    network: Network
    clock: Callable[[], float]
    leaders: list[tuple[float, str | None]] = field(default_factory=list)
    """Who leads since when; None for nobody."""
    absences: list[Absence] = field(default_factory=list)
    _sessions: dict[str, set[Session]] = field(default_factory=dict)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look until the end of the block, and until nothing is left of hosts that vanished."""
        task = asyncio.ensure_future(self._look_on())
        try:
            yield
            last = self.clock() + NOTICED_WITHIN_SECONDS
            while any(one.gone_after is None for one in self._vanished) and self.clock() < last:
                await asyncio.sleep(LOOK_EVERY_SECONDS)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def _vanished(self) -> list[Absence]:
        """Those whose power went off, and who had sessions then."""
        return [one for one in self.absences if one.how is Cut.VANISHED and one.sessions and one.host != DATA]

    async def leader(self) -> str:
        """The host that leads, once one does."""
        while not self.leaders or self.leaders[-1][1] is None:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        host = self.leaders[-1][1]
        assert host is not None
        return host

    def note_cut(self, host: str, how: Cut) -> Absence:
        """Somebody is being cut off now."""
        led = bool(self.leaders) and self.leaders[-1][1] == host
        sessions = set(self._sessions.get(host, ()))
        absence = Absence(host, how, self.clock(), float("inf"), sessions, led)
        self.absences.append(absence)
        return absence

    async def _look_on(self) -> None:
        while True:
            # The database may be the one that is cut off: looked at again as soon as it is back.
            with suppress(psycopg.Error, TimeoutError):
                async with await psycopg.AsyncConnection.connect(
                    self.house.postgres.url(), autocommit=True, connect_timeout=LOOK_SECONDS_MAX
                ) as connection:
                    while True:
                        async with asyncio.timeout(LOOK_SECONDS_MAX):
                            cursor = await connection.execute(SESSIONS.encode())
                            self._see(await cursor.fetchall())
                        await asyncio.sleep(LOOK_EVERY_SECONDS)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _see(self, rows: list[tuple[Any, ...]]) -> None:
        hosts = {address: name for name, address in self.network.addresses.items()}
        leader = None
        self._sessions = {}
        for address, pid, began, leads in rows:
            self._sessions.setdefault(hosts[address], set()).add((pid, began))
            leader = hosts[address] if leads else leader
        if not self.leaders or self.leaders[-1][1] != leader:
            self.leaders.append((self.clock(), leader))
        for absence in self.absences:
            if absence.gone_after is None and not absence.sessions & self._sessions.get(absence.host, set()):
                absence.gone_after = self.clock() - absence.began

    def judge(self, verdict: Verdict) -> list[str]:
        """What it saw: findings to the verdict, and figures in lines."""
        return [*self._judge_leadership(verdict), *self._judge_sessions(verdict), *self._judge_slots(verdict)]

    def _judge_leadership(self, verdict: Verdict) -> Iterator[str]:
        led = [absence for absence in self.absences if absence.led]
        took = {id(absence): self._takeover(absence) for absence in led}
        wrong = [
            f"{one.host} led and was cut off ({one.how.value}) for {one.ended - one.began:.0f} s, and nobody took over"
            for one in led
            if one.ended - one.began > NOTICED_WITHIN_SECONDS
            and (took[id(one)] or NOTICED_WITHIN_SECONDS) >= NOTICED_WITHIN_SECONDS
            and not self._nobody_could(one)
        ]
        if not Books(self.house.postgres.url()).one(f"SELECT count(*) FROM ({SESSIONS}) s WHERE exists"):
            wrong.append("nobody leads once all is mended")
        verdict.say("leaders cut off", len(led), wrong)
        over = [
            seconds
            for one in led
            if (seconds := took[id(one)]) is not None and seconds < one.ended - one.began
        ]
        yield f"leaders cut off: {len(led)}; another took over meanwhile: {len(over)}, after {_figures(over)}"

    def _takeover(self, absence: Absence) -> float | None:
        """How long until another led."""
        later = (at for at, who in self.leaders if at > absence.began and who not in (None, absence.host))
        at = next(later, None)
        return None if at is None else at - absence.began

    def _nobody_could(self, absence: Absence) -> bool:
        """Whether the other scheduler, or the database, was away at some time of the absence, too."""
        needed = {DATA, *SCHEDULERS} - {absence.host}
        return any(
            other.host in needed and other.began < absence.ended and other.ended > absence.began
            for other in self.absences
        )

    def _judge_sessions(self, verdict: Verdict) -> Iterator[str]:
        """A host whose power went off says no good-bye: PostgreSQL must not wait for one."""
        wrong = [
            f"{one.host} vanished, and PostgreSQL kept its sessions for {one.gone_after or NOTICED_WITHIN_SECONDS} s"
            for one in self._vanished
            if (one.gone_after or self.clock() - one.began) > NOTICED_WITHIN_SECONDS
        ]
        verdict.say("hosts vanished", len(self._vanished), wrong)
        yield (
            f"hosts vanished: {len(self._vanished)}; their sessions in PostgreSQL were gone after"
            f" {_figures([one.gone_after for one in self._vanished if one.gone_after is not None])}"
        )

    def _judge_slots(self, verdict: Verdict) -> Iterator[str]:
        """By the schedulers' own logs: the database could not show a slot twice."""
        fired: Counter[tuple[str, datetime]] = Counter()
        by: Counter[str] = Counter()
        for who in SCHEDULERS:
            for line in (self.house.home / f"{who}.log").read_text(errors="replace").splitlines():
                if '"slot_fired"' in line:
                    said = json.loads(line)
                    fired[said["line"], datetime.fromisoformat(said["slot"])] += 1
                    by[who] += 1
        wrong = [
            f"{line} at {slot:%H:%M} was fired {count} times"
            for (line, slot), count in fired.items()
            if count > 1
        ]
        verdict.say("slots fired", len(fired), wrong)
        shares = ", ".join(f"{who} {count}" for who, count in sorted(by.items()))
        yield f"slots fired: {len(fired)} ({shares}); {_passed_over(fired)} passed while nobody led"


def _passed_over(fired: Counter[tuple[str, datetime]]) -> int:
    """How many slots of the lines that have one a minute nobody fired, between their first and their last."""
    minutes: dict[str, list[datetime]] = {}
    for line, slot in fired:
        minutes.setdefault(line, []).append(slot)
    every_minute = {"release_expired_reservations", "expire_gifts"}
    return sum(
        (max(slots) - min(slots)) // timedelta(minutes=1) + 1 - len(slots)
        for line, slots in minutes.items()
        if line in every_minute
    )


def _figures(seconds: list[float]) -> str:
    if not seconds:
        return "–"
    return f"{statistics.median(seconds):.1f} s at the median, {max(seconds):.1f} s at most"
