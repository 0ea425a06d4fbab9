"""What the drills go by: what is flat and what is not, a clock that follows its file, an upgrade's steps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from migrations.revisions import head_revision
from tests.faults.drills import clock, upgrade
from tests.faults.drills.flatness import lines
from tests.faults.drills.picture import picture
from tests.faults.drills.sampling import MEMBERS, TABLES, Sample, private_megabytes
from tests.faults.rig.house import SCHEDULERS, WEBS, WORKERS

SAMPLES = 50


def sample(at: int) -> Sample:
    """One of a system that does a hundred operations a second and grows nowhere."""
    return Sample(
        at=at * 10.0,
        operations=at * 1000,
        done=dict.fromkeys(TABLES, at * 1000),
        load_average=2.0,
        p50_ms=4.0,
        p99_ms=20.0,
        memory=dict.fromkeys(MEMBERS, 100.0 + at % 3),
        connections={"mana-credits": 8 + at % 2},
        rows=dict.fromkeys(TABLES, at * 500),
        mebibytes=dict.fromkeys(TABLES, at * 0.1),
        waiting={"jobs": at % 5, "events": 0},
    )


def leaks(one: Sample) -> None:
    one.memory["web-1"] += one.at / 25


def opens_connections(one: Sample) -> None:
    one.connections["mana-credits"] += int(one.at // 100)


def falls_behind(one: Sample) -> None:
    one.waiting["jobs"] += int(one.at)


def writes_ever_more(one: Sample) -> None:
    one.rows["ops.jobs"] = int(one.at**2)


def writes_ever_less(one: Sample) -> None:
    one.rows["credits.reservations"] = int(20_000 * one.at**0.5)
    one.mebibytes["credits.reservations"] = one.rows["credits.reservations"] / 5_000


def keeps_dead_rows(one: Sample) -> None:
    one.rows["credits.balances"] = 1000
    one.mebibytes["credits.balances"] = one.at / 10


@pytest.mark.parametrize(
    ("wrong", "kind", "name"),
    [
        (leaks, "memory", "web-1"),
        (opens_connections, "connections", "mana-credits"),
        (falls_behind, "waiting", "jobs"),
        (writes_ever_more, "rows", "ops.jobs"),
        (writes_ever_less, "rows", "credits.reservations"),
        (keeps_dead_rows, "size", "credits.balances"),
    ],
)
def test_what_grows_is_found_and_nothing_else(wrong: Callable[[Sample], None], kind: str, name: str) -> None:
    samples = [sample(at) for at in range(1, SAMPLES)]
    assert [one for one in lines(samples) if one.problem] == []
    for one in samples:
        wrong(one)
    assert [(one.kind, one.name) for one in lines(samples) if one.problem] == [(kind, name)]


def test_fewer_rows_where_more_is_refused_and_a_longer_queue_where_more_is_asked_are_as_they_should_be() -> (
    None
):
    samples = [sample(at) for at in range(1, SAMPLES)]
    for at, one in enumerate(samples):
        one.done["gifts.gift_codes"] = one.rows["gifts.gift_codes"] = int(20_000 * one.at**0.5)
        one.operations = at**2 * 10
        one.done.update({table: one.operations for table in TABLES if table != "gifts.gift_codes"})
        one.rows.update({table: one.operations // 2 for table in TABLES if table != "gifts.gift_codes"})
        one.mebibytes = {table: rows / 5_000 for table, rows in one.rows.items()}
        one.waiting["jobs"] = at * 2
    assert [one for one in lines(samples) if one.problem] == []


@pytest.mark.parametrize(("more", "problem"), [(60, ""), (200, "grew by 200")])
def test_a_queue_that_swings_is_not_taken_for_one_that_grows(more: int, problem: str) -> None:
    samples = [sample(at) for at in range(1, SAMPLES + 1)]
    for at, one in enumerate(samples):
        one.waiting["jobs"] = at * 40 % 400 + (more if at >= SAMPLES * 4 // 5 else 0)
    assert [one.problem for one in lines(samples) if one.name == "jobs"] == [problem]


def test_a_soak_is_drawn_with_a_line_for_each_thing() -> None:
    drawn = picture([sample(at) for at in range(1, SAMPLES)], "<30 minutes & more>")
    root = ET.fromstring(drawn)
    lines_drawn = [one for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines_drawn) == len(MEMBERS) + 1 + 2 + len(TABLES) + 2 + 1


def test_memory_is_that_of_a_process_and_none_when_it_is_gone() -> None:
    assert 5 < private_megabytes(os.getpid()) < 5_000
    assert private_megabytes(2**22 + 1) == 0.0


TELL = """
import sys, time
from datetime import datetime, UTC
for _ in sys.stdin:
    print(time.time(), datetime.now(UTC).timestamp(), time.monotonic(), flush=True)
"""


def test_the_clock_of_a_process_follows_its_file_and_what_passes_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    file.write_text("0")
    environment = {**os.environ, "CLOCK_FILE": str(file), "PYTHONPATH": str(clock.MOVED)}
    command = [sys.executable, "-c", TELL]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def away() -> float:
            """How far it is from the true time, once all that it tells agrees."""
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            told, date, passing = map(float, process.stdout.readline().split())
            assert abs(told - date) < 1
            assert abs(passing - time.monotonic()) < 60
            return told - time.time()

        assert abs(away()) < 60
        for offset in clock.OFFSETS.values():
            (tmp_path / "new").write_text(str(offset))
            (tmp_path / "new").replace(file)
            deadline = time.monotonic() + 60
            while abs(away() - offset) > 60:
                assert time.monotonic() < deadline, offset


def test_the_clock_is_set_back_forward_and_right_in_this_order() -> None:
    faults = clock.schedule(1, 120, clock.TARGETS)
    assert [fault.what for fault in faults if fault.target == clock.CLOCK] == list(clock.Move)
    assert {fault.target for fault in faults} > {clock.CLOCK, "worker-1"}
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)


def test_an_upgrade_migrates_then_replaces_and_restarts_every_process_one_by_one() -> None:
    steps = [(fault.target, fault.what) for fault in upgrade.schedule(1, 90, ())]
    assert steps[:2] == [(upgrade.SCHEMA, upgrade.Step.NEWEST), (upgrade.SCHEMA, upgrade.Step.NEXT)]
    replaced = [target for target, what in steps if what is upgrade.Step.REPLACE]
    restarted = [target for target, what in steps if what is upgrade.Step.RESTART]
    assert (replaced, restarted) == ([*WEBS, *WORKERS], [*WEBS, *WORKERS, *SCHEDULERS])


def test_the_migrations_to_come_follow_the_newest(tmp_path: Path) -> None:
    tree = upgrade.tree_with_next_migration(tmp_path)
    revisions = ScriptDirectory(str(tree / "migrations"), file_template="%(rev)s_%(slug)s")
    assert [one.revision for one in revisions.walk_revisions(head_revision(), "head")] == [
        *sorted(upgrade.NEXT_REVISIONS, reverse=True),
        head_revision(),
    ]
    assert upgrade.revision_before(head_revision()) < head_revision()
