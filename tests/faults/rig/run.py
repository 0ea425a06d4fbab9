"""One run: the system, the load, the faults; then quiet, and what the records and the database say."""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from simulators.auth import AuthSimulator
from tests.faults.rig import clients, trade
from tests.faults.rig.asking import Person, Town, plain_session
from tests.faults.rig.breaking import Breaker, Recovery, recoveries
from tests.faults.rig.house import House, furnish, running
from tests.faults.rig.quieting import become_quiet
from tests.faults.rig.schedule import TARGETS, Fault, Target, make_schedule
from tests.faults.rig.trade import Stripe
from tests.faults.rig.verdict import Evidence, Verdict, judge
from tests.support.books import Books
from tests.support.client import Client

DUE_PER_MINUTE = 30
CREW: tuple[tuple[str, int], ...] = (
    ("hot", 16),
    ("spender", 8),
    ("holder", 4),
    ("giver", 4),
    ("subscriber", 3),
    ("eraser", 1),
    ("charger", 1),
    ("buyer", 2),
)
"""Who makes the load, and how many of them."""


@dataclass
class Result:
    """What a run came to."""

    seed: int
    seconds: float
    operations: dict[str, dict[str, int]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    recoveries: list[Recovery] = field(default_factory=list)
    revived: dict[str, int] = field(default_factory=dict)
    """Processes that ended by themselves, and were started again."""
    checked: dict[str, int] = field(default_factory=dict)
    quiet_after_seconds: float = 0.0
    findings: list[str] = field(default_factory=list)
    evidence: str | None = None
    notes: list[str] = field(default_factory=list)
    judged_in_seconds: float = 0.0
    memory_mib: float = 0.0
    """What the rig itself came to need, at most."""

    @property
    def told(self) -> Counter[str]:
        """All operations, by what was told."""
        total: Counter[str] = Counter()
        for counts in self.operations.values():
            total.update(counts)
        return total

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {**asdict(self), "told": dict(self.told)}


@dataclass(frozen=True)
class Stage:
    """Where a run takes place: how the system is set up, what breaks when, and who breaks it."""

    furnished: Callable[[Path], House]
    schedule: Callable[[int, float, Sequence[Target]], list[Fault]]
    breaker: Callable[[House, Town, Stripe, float], Breaker]


MACHINE = Stage(furnish, make_schedule, Breaker)
"""All on one machine, with proxies for a network."""


async def run(
    seed: int,
    seconds: float,
    *,
    targets: tuple[Target, ...] = TARGETS,
    stage: Stage = MACHINE,
    keep_in: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run for so long, then judge.  Evidence is kept in a new directory below `keep_in` when anything is found."""
    home = Path(tempfile.mkdtemp(prefix="mana-faults-"))
    home.chmod(0o755)  # PostgreSQL may run as another user, who must be able to pass
    schedule = stage.schedule(seed, seconds, targets)
    say(f"seed {seed}, {seconds:.0f} s, {len(schedule)} faults, in {home}")
    result = Result(seed, seconds)
    try:
        async with running(home, stage.furnished) as house, town_of(house, seconds) as (town, stripe):
            say("the system is ready")
            due = await asyncio.to_thread(_make_due, house, seconds)
            breaker = stage.breaker(house, town, stripe, town.clock())
            load = asyncio.gather(*await crew_of(town, stripe, seed, seconds))
            async with breaker.watching():
                await asyncio.gather(load, breaker.run(schedule))
            say("the load has ended; waiting until everything is quiet")
            quiet = await become_quiet(house, town, stripe)
            say(str(quiet))
            result.quiet_after_seconds = quiet.seconds
            began = town.clock()
            verdict = await _judge(house, town, stripe, due)
            result.judged_in_seconds = town.clock() - began
            result.memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            verdict.say("quiet", 1, quiet.problems)
            result.notes = await asyncio.to_thread(breaker.judge, verdict)
            _fill(result, town, breaker, verdict)
            if result.findings and keep_in is not None:
                result.evidence = str(_keep(keep_in, home, result, town, schedule))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return result


@asynccontextmanager
async def town_of(house: House, seconds: float) -> AsyncIterator[tuple[Town, Stripe]]:
    """The callers' side, and everybody with what they begin with."""
    auth = AuthSimulator(issuer=house.urls["issuer"], directory=house.home / "auth")
    async with plain_session() as session:
        webs = {name: Client(house.urls[name], session, auth) for name in ("web-1", "web-2")}
        town = Town(webs, auth, time.monotonic() + 3600)
        await clients.prepare(Person(town, "10.0.0.1"))
        town.until = time.monotonic() + seconds
        yield town, Stripe(house.urls["stripe"], session)


async def crew_of(town: Town, stripe: Stripe, seed: int, seconds: float) -> list[Coroutine[Any, Any, None]]:
    """Everybody's work, for so long from now on."""
    found = await town.ask("packages", "GET", "/api/v1/credits/packages", user_id="", is_repeatable=True)
    packages = [package["id"] for package in found.answer]
    kinds: dict[str, Callable[[Person, random.Random], Coroutine[Any, Any, None]]] = {
        "hot": clients.hot,
        "spender": clients.spender,
        "holder": clients.holder,
        "eraser": clients.eraser,
        "giver": trade.giver,
        "subscriber": trade.subscriber,
        "charger": trade.charger,
        "buyer": lambda person, chance: trade.buyer(person, chance, stripe, packages),
    }
    town.until = town.clock() + seconds
    crew: list[Coroutine[Any, Any, None]] = []
    for kind, count in CREW:
        for number in range(count):
            person = Person(town, f"10.1.{len(crew)}.1")
            crew.append(kinds[kind](person, random.Random(f"{seed} {kind} {number}")))
    return crew


def _make_due(house: House, seconds: float) -> dict[str, bool]:
    """People whose renewals fall due during the run; each third cannot pay.  Written as other teams' scripts do."""
    count = max(3, int(DUE_PER_MINUTE * seconds / 60))
    due = {f"due-{number}": number % 3 != 0 for number in range(count)}
    books = Books(house.postgres.url())
    for place, (user_id, can_pay) in enumerate(due.items()):
        amount = 100 if can_pay else 7
        books.rows(
            "INSERT INTO credits.balances (user_id, balance, total_earned) VALUES (%s, %s, %s)",
            *(user_id, amount, amount),
        )
        books.rows(
            "INSERT INTO credits.sync_subscriptions (user_id, active, activated_at, next_charge_at)"
            " VALUES (%s, true, now() - interval '1 month', now() + make_interval(secs => %s))",
            *(user_id, seconds * place / count),
        )
    return due


async def _judge(house: House, town: Town, stripe: Stripe, due: dict[str, bool]) -> Verdict:
    async with aiohttp.ClientSession() as session, session.get(f"{house.urls['notify']}/sent") as response:
        notices = (await response.json())["sent"]
    evidence = Evidence(town.records, Books(house.postgres.url()), await stripe.objects(), due, notices)
    return await asyncio.to_thread(judge, evidence)


def _fill(result: Result, town: Town, breaker: Breaker, verdict: Verdict) -> None:
    result.operations = {kind: dict(counts) for kind, counts in town.records.told().items()}
    result.statuses = dict(town.records.statuses.most_common())
    result.faults = dict(Counter(one.fault.what.value for one in breaker.injected))
    result.recoveries = recoveries(breaker.injected, town.records)
    result.revived = {name: times for name, times in breaker.revived.items() if times}
    result.checked = dict(verdict.checked)
    result.findings = verdict.findings


def _keep(keep_in: Path, home: Path, result: Result, town: Town, schedule: list[Fault]) -> Path:
    """The records, the schedule, the logs, and the database's files for who wants to look."""
    kept = keep_in / f"faults-{result.seed}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    kept.mkdir(parents=True)
    town.records.write(kept / "records.jsonl")
    (kept / "schedule.txt").write_text("".join(f"{fault}\n" for fault in schedule))
    (kept / "findings.txt").write_text("".join(f"{one}\n" for one in result.findings))
    for log in home.glob("*.log"):
        shutil.copy(log, kept)
    shutil.copy(home / "postgres" / "server.log", kept / "postgres.log")
    shutil.copytree(home / "stripe", kept / "stripe")
    return kept
