"""Which hosts are cut off, when and how; and the cutting."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum

from tests.faults.hosts.furnishing import DATA, LIVES_ON
from tests.faults.hosts.network import Cut, Network
from tests.faults.hosts.watching import Watch
from tests.faults.rig.breaking import Breaker
from tests.faults.rig.house import SERVICE
from tests.faults.rig.schedule import FIRST_AFTER_SECONDS, Fault, Target
from tests.faults.rig.verdict import Verdict

LEADER = "leader"
"""The scheduler's host that leads when its turn has come."""

GAP_SECONDS = (4.0, 10.0)
"""Between two cuts, which overlap: several hosts may be away at once."""

BRIEFLY_OR_LONG = (3.0, 40.0)
"""Shorter and longer than the silence after which a connection counts as broken (25 s)."""

WHOLE = (Cut.UNPLUGGED, Cut.SHUT, Cut.SWALLOWED, Cut.VANISHED)
FROM_DATA = (Cut.APART, Cut.UNANSWERED)

TARGETS: tuple[Target, ...] = (
    *(Target(host, 1, WHOLE, BRIEFLY_OR_LONG) for host in SERVICE),
    *(Target(f"{host}>{DATA}", 1, FROM_DATA, BRIEFLY_OR_LONG) for host in SERVICE),
    # Long enough that another has to lead.
    Target(LEADER, 1, WHOLE, (30.0, 40.0)),
    # Nobody spends without it: briefly.
    Target(DATA, 1, (Cut.UNPLUGGED, Cut.SWALLOWED, Cut.VANISHED), (2.0, 8.0)),
)


def make_schedule(seed: int, seconds: float, targets: Sequence[Target] = TARGETS) -> list[Fault]:
    """The cuts of a run, by time: every target has its turn before one has a second.

    Of two hosts of a kind one is always left, which has to go on.
    """
    chance = random.Random(f"cuts {seed}")
    cuts: list[Fault] = []
    waiting: list[Target] = []
    free_at = dict.fromkeys((_kind(target.name) for target in targets), 0.0)
    at = FIRST_AFTER_SECONDS
    while at < seconds:
        waiting = waiting or chance.sample(targets, len(targets))
        target = next((one for one in waiting if free_at[_kind(one.name)] <= at), None)
        if target is not None:
            waiting.remove(target)
            longest = max(1.0, min(target.seconds[1], seconds - at))
            shortest = min(target.seconds[0], longest)
            lasts = round(chance.uniform(shortest, longest), 2)
            cuts.append(Fault(at, target.name, chance.choice(target.deeds), lasts))
            free_at[_kind(target.name)] = at + lasts + 1.0
        at = round(at + chance.uniform(*GAP_SECONDS), 2)
    return cuts


def _kind(target: str) -> str:
    return "scheduler" if target == LEADER else target.partition("-")[0]


@dataclass
class Cutter(Breaker):
    """Cuts hosts off and brings them back."""

    network: Network = field(kw_only=True)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.house, self.network, self.town.clock)

    def watching(self) -> AbstractAsyncContextManager[object]:
        return self.watch.looking()

    def judge(self, verdict: Verdict) -> list[str]:
        return self.watch.judge(verdict)

    async def do(self, target: str, what: StrEnum, seconds: float) -> None:
        assert isinstance(what, Cut)
        host = await self.watch.leader() if target == LEADER else target.removesuffix(f">{DATA}")
        # A host that is away for another reason is waited for.
        async with self.busy[f"host {host}"]:
            absence = self.watch.note_cut(host, what)
            await self._change(self.network.cut, host, what)
            members = [self.house.members[name] for name in LIVES_ON[host]] if what is Cut.VANISHED else []
            for member in members:
                await asyncio.to_thread(member.kill)
            await asyncio.sleep(seconds)
            await self._change(self.network.mend, host, what)
            for member in members:
                await asyncio.to_thread(member.start)
            absence.ended = self.town.clock()

    async def _change(self, change: Callable[[str, Cut], None], host: str, what: Cut) -> None:
        if what in FROM_DATA:
            # The other end of the way may be away itself, and is waited for.
            async with self.busy[f"host {DATA}"]:
                await asyncio.to_thread(change, host, what)
        else:
            await asyncio.to_thread(change, host, what)
