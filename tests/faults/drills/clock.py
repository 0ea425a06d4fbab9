"""The machine's clock is set back an hour, forward a day, and right again, while the system runs under load.

What the service's processes and mana-auth take for the time of day is moved; PostgreSQL, Valkey and Stripe go
by the true time, as another machine's processes and somebody else's service do.  So while the clock is wrong
Stripe's signatures are too old or too new, and no webhook is taken: what was paid meanwhile is credited when
the clock is right again, or when Stripe is asked.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from devkit.paths import ROOT
from simulators.files import write_atomically
from tests.faults.rig.asking import Person
from tests.faults.rig.breaking import Breaker
from tests.faults.rig.house import House, furnish
from tests.faults.rig.records import Told
from tests.faults.rig.run import Stage
from tests.faults.rig.schedule import Deed, Fault, Target, make_schedule
from tests.faults.rig.verdict import Verdict
from tests.support.books import Books

MOVED = Path(__file__).with_name("moved")
CLOCK = "clock"

HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS

SETTLE_SECONDS = 0.3
"""Within this time every process has noticed: each looks fifty times a second."""


USES_MIN = 100
WORKED_SECONDS_MAX = 120.0
"""How many uses must be done, and within what time, before the clock is set again."""


class Move(StrEnum):
    """What is done to the clock, in this order."""

    BACK = "back an hour"
    FORWARD = "forward a day"
    RIGHT = "set right"


OFFSETS = {Move.BACK: -HOUR_SECONDS, Move.FORWARD: DAY_SECONDS - HOUR_SECONDS, Move.RIGHT: 0.0}
"""Away from the true time after each, in seconds."""

TARGETS = (
    Target("worker-1", 2, (Deed.KILL, Deed.PAUSE), (0.2, 1.0)),
    Target("worker-2", 2, (Deed.KILL, Deed.PAUSE), (0.2, 1.0)),
    Target("scheduler-1", 1, (Deed.KILL,), (0.2, 1.0)),
    Target("web-1", 1, (Deed.KILL,), (0.2, 1.0)),
    Target("valkey", 1, (Deed.KILL,), (0.2, 1.0)),
)
"""What is killed beside it: what a dead process leaves behind has times in it."""

GAP_SECONDS = (5.0, 9.0)


def schedule(seed: int, seconds: float, targets: Sequence[Target]) -> list[Fault]:
    """The moves at each quarter of the time, and kills between them."""
    moves = [Fault(seconds * (place + 1) / 4, CLOCK, move, 0.0) for place, move in enumerate(Move)]
    faults = make_schedule(seed, seconds, targets, GAP_SECONDS)
    return sorted([*moves, *faults], key=lambda fault: fault.at)


def furnish_moved(home: Path) -> House:
    """The system, its service going by a clock that can be set."""
    file = clock_file(home)
    file.write_text("0")
    return furnish(home, {"CLOCK_FILE": str(file), "PYTHONPATH": f"{MOVED}:{ROOT}"})


def clock_file(home: Path) -> Path:
    return home / "clock"


@dataclass
class Mover(Breaker):
    """Sets the clock, and looks at what must be so at once."""

    problems: list[str] = field(default_factory=list)

    async def do(self, target: str, what: StrEnum, seconds: float) -> None:
        if not isinstance(what, Move):
            await super().do(target, what, seconds)
            return
        person = Person(self.town, "10.9.0.1")
        before = person.user("hot-0")
        with self.town.setting_the_clock(OFFSETS[what]):
            write_atomically(clock_file(self.house.home), str(OFFSETS[what]))
            await asyncio.sleep(SETTLE_SECONDS)
        await self._look_at_tokens(what, before, person.user("hot-0"))
        await self._until_much_was_done()

    async def _until_much_was_done(self) -> None:
        """The clock stays as it is, and the load goes on, until there is something to judge by."""
        since, give_up_at = self.town.clock(), self.town.clock() + WORKED_SECONDS_MAX
        while self.town.clock() < give_up_at:
            self.town.until = max(self.town.until, self.town.clock() + 1.0)
            uses = (one for one in reversed(self.town.records.all) if one.kind == "use")
            done = itertools.takewhile(lambda one: one.began > since, uses)
            if sum(one.told is Told.OK for one in done) >= USES_MIN:
                return
            await asyncio.sleep(0.5)
        self.problems.append(f"{USES_MIN} uses were not done within {WORKED_SECONDS_MAX:.0f} s")

    async def _look_at_tokens(self, what: Move, before: dict[str, str], after: dict[str, str]) -> None:
        """A token is good until its time is over by the clock that the service has."""
        for headers, expected in ((before, 401 if what is Move.FORWARD else 200), (after, 200)):
            status = await self._status_of_balance(headers)
            if status != expected:
                which = "made before" if headers is before else "made after"
                self.problems.append(
                    f"after the clock was {what.value} a token {which} was answered {status}"
                )

    async def _status_of_balance(self, headers: dict[str, str]) -> int:
        # web-2 is not killed; 503 and the like are another matter.
        reply = await self.town.webs["web-2"].call("GET", "/api/v1/credits/balance", headers=headers)
        return reply.status

    def judge(self, verdict: Verdict) -> list[str]:
        """Ids, order and slots, by the database alone."""
        books = Books(self.house.postgres.url())
        verdict.say("moves", len(Move), self.problems)
        entries = books.one("SELECT count(*) FROM credits.transactions")
        ids = books.one("SELECT count(DISTINCT id) FROM credits.transactions")
        verdict.say("entries' ids", entries, [] if ids == entries else [f"{entries} entries have {ids} ids"])
        # That the chain of versions holds is among the facts; here, that the clock did go back beside it.
        back = books.one(
            "SELECT count(*) FROM (SELECT created_at - lag(created_at) OVER (PARTITION BY user_id ORDER BY version)"
            " AS passed FROM credits.transactions) e WHERE passed < interval '-50 minutes'"
        )
        ahead = books.one(
            "SELECT count(*) FROM credits.transactions WHERE created_at > now() + interval '20 hours'"
        )
        verdict.say("entries made back in time", back, [] if back else ["the clock never went back"])
        verdict.say("entries made a day ahead", ahead, [] if ahead else ["the clock never went forward"])
        slots = books.rows(
            "SELECT subject, count(*), count(DISTINCT unique_key) FROM ops.jobs WHERE subject || '@' ="
            " left(unique_key, length(subject) + 1) GROUP BY 1 ORDER BY 1"
        )
        verdict.say(
            "slots of the timetable",
            sum(count for _, count, _ in slots),
            [f"{line}: {count} jobs of {keys} slots" for line, count, keys in slots if count != keys],
        )
        return [
            f"entries an hour or more before the one before them: {back}; made a day ahead: {ahead}",
            f"slots fired: {', '.join(f'{line} {count}' for line, count, _ in slots)}",
        ]


STAGE = Stage(furnish_moved, schedule, Mover)
