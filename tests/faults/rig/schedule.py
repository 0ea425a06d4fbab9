"""What breaks, when, and for how long: a plan that follows from its seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.rig.proxy import Trouble

GAP_SECONDS = (1.0, 4.0)
"""Between two faults; they may overlap, on different targets."""

FIRST_AFTER_SECONDS = 2.0
LAST_BEFORE_END_SECONDS = 2.0


class Deed(StrEnum):
    """What is done to a process."""

    KILL = "kill -9"
    PAUSE = "pause"
    RESTART = "restart"
    LOSE = "lose webhooks"
    """Stripe delivers nothing of what happens meanwhile, ever."""


@dataclass(frozen=True)
class Fault:
    """At `at` seconds after the beginning, for `seconds`."""

    at: float
    target: str
    what: StrEnum
    seconds: float

    @property
    def until(self) -> float:
        return self.at + self.seconds


@dataclass(frozen=True)
class Target:
    """Something that can break: its name, its weight in the choice, and what can be done to it."""

    name: str
    weight: int
    deeds: tuple[StrEnum, ...]
    seconds: tuple[float, float] = (0.3, 4.0)


PROCESS = (Deed.KILL, Deed.KILL, Deed.PAUSE, Deed.RESTART)
NETWORK = tuple(Trouble)

TARGETS: tuple[Target, ...] = (
    *(Target(name, 4, PROCESS) for name in ("web-1", "web-2", "worker-1", "worker-2")),
    *(Target(name, 2, PROCESS) for name in ("scheduler-1", "scheduler-2")),
    Target("postgres", 5, PROCESS, (0.2, 2.5)),
    Target("valkey", 3, PROCESS),
    Target("stripe", 3, (*PROCESS, Deed.LOSE)),
    Target("auth", 1, PROCESS),
    Target("notify", 1, PROCESS),
    *(
        Target(f"{who}>postgres", 2, NETWORK)
        for who in ("web-1", "web-2", "worker-1", "worker-2", "scheduler-1", "scheduler-2")
    ),
    *(Target(f"{who}>valkey", 1, NETWORK) for who in ("web-1", "web-2", "worker-1", "worker-2")),
    Target("clients>web-1", 3, NETWORK),
    Target("clients>web-2", 3, NETWORK),
    Target("service>stripe", 3, NETWORK),
    Target("stripe>web", 3, NETWORK),
    Target("service>auth", 1, NETWORK),
    Target("service>notify", 1, NETWORK),
)


def make_schedule(
    seed: int,
    seconds: float,
    targets: Sequence[Target] = TARGETS,
    gap_seconds: tuple[float, float] = GAP_SECONDS,
) -> list[Fault]:
    """The faults of a run, by time, a gap between the beginnings of two.  Nothing breaks twice at once."""
    chance = random.Random(f"schedule {seed}")
    free_at = dict.fromkeys((target.name for target in targets), 0.0)
    faults: list[Fault] = []
    at = FIRST_AFTER_SECONDS
    while at < seconds - LAST_BEFORE_END_SECONDS:
        free = [target for target in targets if free_at[target.name] <= at]
        [target] = chance.choices(free, [target.weight for target in free])
        fault = Fault(at, target.name, chance.choice(target.deeds), round(chance.uniform(*target.seconds), 2))
        faults.append(fault)
        free_at[target.name] = fault.until + 1.0
        at = round(at + chance.uniform(*gap_seconds), 2)
    return faults
