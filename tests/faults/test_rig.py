"""The whole system under load while parts of it break: a short run of `./dev faults`."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from tests.faults.rig.breaking import Breaker
from tests.faults.rig.house import ForkedChild, furnish
from tests.faults.rig.proxy import Trouble
from tests.faults.rig.run import Stage, run
from tests.faults.rig.schedule import TARGETS as ALL
from tests.faults.rig.schedule import Deed, Target, make_schedule

SECONDS = 12.0
SEED = 255
BRIEFLY = (0.2, 0.8)
FORKED = Stage(partial(furnish, child=ForkedChild), make_schedule, Breaker)

# Each of these for sure, and nothing after which jobs wait for minutes.
TARGETS = (
    Target("web-1", 3, (Deed.KILL,), BRIEFLY),
    Target("worker-1", 1, (Deed.KILL, Deed.PAUSE), BRIEFLY),
    Target("postgres", 2, (Deed.KILL, Deed.PAUSE), BRIEFLY),
    Target("web-2>postgres", 3, tuple(Trouble), BRIEFLY),
    Target("clients>web-2", 2, (Trouble.CUT, Trouble.HALF_OPEN), BRIEFLY),
)


def test_the_same_seed_breaks_the_same_things_and_another_seed_others() -> None:
    assert make_schedule(7, 120) == make_schedule(7, 120) != make_schedule(8, 120)


def test_a_schedule_breaks_everything_in_its_time_and_nothing_twice_at_once() -> None:
    faults = make_schedule(1, 3600)
    assert {type(fault.what) for fault in faults} == {Deed, Trouble}
    assert len({fault.target for fault in faults}) == len(ALL)
    free_at: dict[str, float] = {}
    for fault in faults:
        assert fault.at >= free_at.get(fault.target, 0.0)
        free_at[fault.target] = fault.until


async def test_while_parts_break_nothing_is_lost_done_twice_or_told_wrong(tmp_path: Path) -> None:
    result = await asyncio.wait_for(run(SEED, SECONDS, targets=TARGETS, stage=FORKED, keep_in=tmp_path), 240)
    print(result.told, result.faults, result.checked)
    assert result.findings == []
    assert result.told["ok"] > 200
    assert result.told["refused"] > 10
    assert result.told["unknown"] > 0
    assert sum(result.faults.values()) >= 3
    assert result.checked["histories"] > 100
    assert result.checked["payments"] > 0
