"""Carries out a schedule, and finds out how long the system took to be well again."""

from __future__ import annotations

import asyncio
import signal
import statistics
from collections import Counter, defaultdict
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from tests.faults.rig.asking import Town
from tests.faults.rig.house import House, send_all
from tests.faults.rig.proxy import Trouble
from tests.faults.rig.records import Record, Records, Told
from tests.faults.rig.schedule import Deed, Fault
from tests.faults.rig.trade import Stripe
from tests.faults.rig.verdict import Verdict

SUPERVISED_EVERY_SECONDS = 0.5


@dataclass
class Injected:
    """A fault that happened: when it began and ended on the rig's clock."""

    fault: Fault
    began: float
    ended: float


@dataclass
class Breaker:
    """Breaks and mends what the schedule says, when it says so."""

    house: House
    town: Town
    stripe: Stripe
    began: float
    injected: list[Injected] = field(default_factory=list)
    busy: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """By target: what takes longer to come back than was planned is not broken again meanwhile."""
    revived: Counter[str] = field(default_factory=Counter)
    """Which processes ended by themselves, without having been broken, and how often."""

    def watching(self) -> AbstractAsyncContextManager[object]:
        """Open while the load lasts: for who looks on."""
        return nullcontext()

    def judge(self, verdict: Verdict) -> list[str]:
        """Add to the verdict what this breaker alone knows of; lines to be told beside it."""
        return []

    async def run(self, schedule: list[Fault]) -> None:
        """All of it; ends when the last one is mended."""
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as supervising:
            supervising.create_task(self._revive(is_over))
            async with asyncio.TaskGroup() as group:
                for fault in schedule:
                    await asyncio.sleep(max(0.0, self.began + fault.at - self.town.clock()))
                    group.create_task(self._inject(fault))
            is_over.set()

    async def _revive(self, is_over: asyncio.Event) -> None:
        """A supervisor's work: what ends by itself is started again."""
        while not is_over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SUPERVISED_EVERY_SECONDS):
                    await is_over.wait()
            for name in self.house.members:
                if not self.busy[name].locked():
                    async with self.busy[name]:
                        self.revived[name] += await asyncio.to_thread(self.house.revive, name)

    async def _inject(self, fault: Fault) -> None:
        async with self.busy[fault.target]:
            began = self.town.clock()
            if isinstance(fault.what, Trouble):
                self.house.links[fault.target].spoil(fault.what)
                await asyncio.sleep(fault.seconds)
                self.house.links[fault.target].heal()
            else:
                await self.do(fault.target, fault.what, fault.seconds)
            self.injected.append(Injected(fault, began, self.town.clock()))

    async def do(self, target: str, what: StrEnum, seconds: float) -> None:
        """Break what is no link, and mend it after so long."""
        member = self.house.members[target]
        match what:
            case Deed.KILL:
                await asyncio.to_thread(member.kill)
                await asyncio.sleep(seconds)
                await asyncio.to_thread(member.start)
            case Deed.PAUSE:
                pids = member.pids()
                send_all(pids, signal.SIGSTOP)
                await asyncio.sleep(seconds)
                send_all(pids, signal.SIGCONT)
            case Deed.RESTART:
                await asyncio.to_thread(member.stop)
                await asyncio.to_thread(member.start)
            case Deed.LOSE:
                await self.stripe.webhooks("lose")
                await asyncio.sleep(seconds)
                await self.stripe.webhooks("keep")


JOB_SHAPED = ("refund", "redeem-pending", "charge-recurring")


def shows_recovery(target: str, record: Record) -> bool:
    """Whether an ok of this operation needs what had been broken."""
    if record.told is not Told.OK:
        return False
    for web in ("web-1", "web-2"):
        if web in target:
            return record.via == web and record.kind in ("use", "grant", "balance")
    if target.startswith("worker") or target == "valkey":
        return record.kind in JOB_SHAPED
    if "stripe" in target:
        return record.kind == "purchase"
    return target in ("postgres", "data") and record.kind == "use"


@dataclass(frozen=True)
class Recovery:
    """How long one kind of fault lasted, and how long it took, from its beginning, to the next ok."""

    target: str
    what: str
    times: int
    longest_fault: float
    median: float | None
    longest: float | None
    longest_after_end: float | None


def recoveries(injected: list[Injected], records: Records) -> list[Recovery]:
    """By target and fault; none where the target serves no request of a client's."""
    groups: dict[tuple[str, str], list[Injected]] = {}
    shown: dict[str, list[Record]] = {}
    for one in injected:
        name = one.fault.target
        if name not in shown:
            shown[name] = [record for record in records.all if shows_recovery(name, record)]
        groups.setdefault((name.replace("-1", "").replace("-2", ""), one.fault.what.value), []).append(one)
    found = []
    for (target, what), group in sorted(groups.items()):
        took, after = [], []
        for one in group:
            oks = [record.ended for record in shown[one.fault.target] if record.began >= one.began]
            if oks:
                took.append(min(oks) - one.began)
                later = [ended for ended in oks if ended >= one.ended]
                after += [min(later) - one.ended] if later else []
        found.append(
            Recovery(
                target,
                what,
                len(group),
                max(one.ended - one.began for one in group),
                statistics.median(took) if took else None,
                max(took, default=None),
                max(after, default=None),
            )
        )
    return found
