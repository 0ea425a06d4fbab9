"""The whole system under load for long: what it holds shall not grow, but for the tables, and they as expected."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from domain import invariants
from domain.database import make_engine
from tests.faults.drills.flatness import Line, lines
from tests.faults.drills.sampling import Sample, Sampler, Tally
from tests.faults.rig.house import House, running
from tests.faults.rig.quieting import become_quiet
from tests.faults.rig.run import crew_of, town_of

SAMPLES_MAX = 240
EVERY_SECONDS_MIN = 2.0
SEED = 1


@dataclass
class Soak:
    """What a soak came to."""

    seconds: float
    measured_at: str
    machine: dict[str, str]
    samples: list[Sample] = field(default_factory=list)
    told: dict[str, dict[str, int]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What is wrong whatever the samples say: wrong answers, broken facts, work that did not end."""

    @property
    def lines(self) -> list[Line]:
        return lines(self.samples)

    @property
    def findings(self) -> list[str]:
        """Everything that is wrong."""
        return [
            *self.problems,
            *(f"{one.kind} of {one.name}: {one.problem}" for one in self.lines if one.problem),
        ]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "lines": [asdict(one) for one in self.lines], "findings": self.findings}


async def soak(seconds: float, say: Callable[[str], None]) -> Soak:
    """Run the load for so long, looking again and again."""
    home = Path(tempfile.mkdtemp(prefix="mana-soak-"))
    home.chmod(0o755)  # PostgreSQL may run as another user, who must be able to pass
    found = Soak(seconds, datetime.now(UTC).isoformat(timespec="seconds"), machine.facts())
    try:
        async with running(home) as house, town_of(house, seconds) as (town, stripe):
            tally = Tally()
            town.records = tally
            crew = asyncio.gather(*await crew_of(town, stripe, SEED, seconds))
            sampler = Sampler(house, town, stripe, tally, town.clock())
            every = max(EVERY_SECONDS_MIN, seconds / SAMPLES_MAX)
            while town.goes_on:
                await asyncio.sleep(every)
                found.samples.append(await sampler.take())
                if len(found.samples) % 20 == 0:
                    say(_brief(found.samples[-1]))
            await crew
            quiet = await become_quiet(house, town, stripe)
            found.told = {kind: dict(counts) for kind, counts in tally.told().items()}
            found.statuses = dict(tally.statuses.most_common())
            found.problems = [*tally.defects, *quiet.problems]
            found.problems += await asyncio.to_thread(_broken_facts, house)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return found


def _brief(sample: Sample) -> str:
    memory = ", ".join(f"{name} {size:.0f}" for name, size in sample.memory.items())
    return f"{sample.at / 60:5.1f} min, {sample.operations:,} operations; MB: {memory}"


def _broken_facts(house: House) -> list[str]:
    engine = make_engine(house.postgres.url(), pool_size=1)
    try:
        findings = invariants.check(engine)
    finally:
        engine.dispose()
    return [f"{one.name}: {wrong}" for one in findings for wrong in one.violations]
