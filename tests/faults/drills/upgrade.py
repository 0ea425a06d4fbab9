"""An upgrade while people spend: migrations, processes replaced, processes restarted; nobody may notice.

The system has two hosts of the front behind a balancer and two of the workers, two processes on each, and two
schedulers.  It begins at the schema before the newest.  Then, one after the other under load: the newest
migration; one of the usual kind that the running code does not know; somebody's long report reads meanwhile what
they change; every master told to replace its processes (SIGHUP); every process ended and started
again, one host after another.  What runs at first is the code of an older commit, on its schema, and what is started
again is today's: the upgrade as it is done.  That commit is the last one without the newest migration, or that of
`--from`; `--from today` begins with today's code.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psycopg

from devkit.paths import ROOT
from devkit.waiting import wait_until
from migrations.revisions import VERSIONS, head_revision
from tests.faults.rig.asking import Town
from tests.faults.rig.breaking import Breaker
from tests.faults.rig.house import SCHEDULERS, SERVICE, WEBS, WORKERS, House, Module, furnish, send_all
from tests.faults.rig.proxy import Link
from tests.faults.rig.run import Stage
from tests.faults.rig.schedule import FIRST_AFTER_SECONDS, Fault, Target
from tests.faults.rig.trade import Stripe
from tests.faults.rig.verdict import Verdict
from tests.support.process import process_environment

PROCESSES = "2"
"""Of each host of the front and of the workers."""

SCHEMA, BALANCER = "schema", "clients>webs"
REPORT_SECONDS = 6.0
"""How long the report reads: longer than anybody waits for an answer in peace."""

MIGRATED_SECONDS_MAX = 120
REPLACED_SECONDS_MAX = 60.0
REPLACE_TRIES_MAX = 4
"""A master whose new process is not ready in time keeps the old one, as it should; it is told again."""

PATIENT_SECONDS = 120.0
"""How long clients wait for an answer: that one comes late is told, and is no failure."""

LINGER_SECONDS = 3.0
"""How long the load goes on after the last step."""

NEXT_REVISIONS = {
    "9998": f'''
"""Of the usual kind: columns that may be empty or have a constant, a check that is validated later, a table."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "9998", "{head_revision()}", None, None


def upgrade() -> None:
    op.execute("ALTER TABLE credits.transactions ADD COLUMN drill text")
    op.execute("ALTER TABLE credits.balances ADD COLUMN drill numeric(18, 3) NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE credits.balances ADD CONSTRAINT drill CHECK (drill >= 0) NOT VALID")
    op.execute("CREATE TABLE ops.drill (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz)")
''',
    "9999": '''
"""What takes its time and keeps nobody waiting."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "9998", None, None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS credits.transactions_drill")
        op.execute("CREATE INDEX CONCURRENTLY transactions_drill ON credits.transactions (app_id, drill)")
        op.execute("ALTER TABLE credits.balances VALIDATE CONSTRAINT drill")
''',
}
"""Two revisions that keep to docs/decisions/migrating-under-load.md."""


class Step(StrEnum):
    """What an upgrade is made of, in this order."""

    NEWEST = "newest migration"
    NEXT = "next migration"
    REPLACE = "replaced (SIGHUP)"
    RESTART = "restarted"


TARGETS: tuple[Target, ...] = ()
"""Nothing breaks."""


def schedule(_seed: int, seconds: float, _targets: Sequence[Target]) -> list[Fault]:
    """The steps, spread over the time; one that is not done in time holds up those after it."""
    steps: list[tuple[str, Step]] = [(SCHEMA, Step.NEWEST), (SCHEMA, Step.NEXT)]
    steps += [(name, Step.REPLACE) for name in (*WEBS, *WORKERS)]
    steps += [(name, Step.RESTART) for name in (*WEBS, *WORKERS, *SCHEDULERS)]
    gap = (seconds - FIRST_AFTER_SECONDS) / len(steps)
    return [
        Fault(round(FIRST_AFTER_SECONDS + place * gap, 2), target, step, 0.0)
        for place, (target, step) in enumerate(steps)
    ]


def revision_before(revision: str) -> str:
    """The one that it was made after."""
    known = sorted(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9]*.py"))
    return known[known.index(revision) - 1]


def furnish_doubled(old_tree: Path | None, home: Path) -> House:
    """The system with several processes a host, a balancer before the front, and the older schema."""
    house = furnish(home, {"WEB_PROCESSES": PROCESSES, "WORKER_PROCESSES": PROCESSES})
    targets = [target for name in WEBS for target in house.links[f"clients>{name}"].targets]
    house.links[BALANCER] = Link(BALANCER, targets)
    for name in WEBS:
        house.urls[name] = f"http://127.0.0.1:{house.links[BALANCER].port}"
    if old_tree is None:
        migrate(house, ROOT, "downgrade", revision_before(head_revision()))
    else:
        old_head = max(file.name for file in (old_tree / "migrations/versions").glob("[0-9]*.py"))[:4]
        migrate(house, ROOT, "downgrade", old_head)
        migrate(house, old_tree, "upgrade")
        for name in SERVICE:
            become(house, name, old_tree)
    return house


def become(house: House, name: str, tree: Path) -> None:
    """From its next start on the process runs the code of that tree."""
    member = house.members[name]
    assert isinstance(member, Module)
    variables = {**member.program.env, "PYTHONPATH": str(tree)}
    member.program = dataclasses.replace(member.program, env=variables, cwd=tree)


def migrate(house: House, tree: Path, *arguments: str) -> None:
    """Run a tree's migrations, as a deployment does before it starts what is new."""
    variables = {"ENV": "development", "DATABASE_URL": house.postgres.url(), "PYTHONPATH": str(tree)}
    ended = subprocess.run(
        [sys.executable, "-m", "migrations", *arguments],
        cwd=tree,
        env=process_environment(variables),
        capture_output=True,
        text=True,
        timeout=MIGRATED_SECONDS_MAX,
    )
    if ended.returncode:
        raise RuntimeError(f"migrations {' '.join(arguments)}: {ended.stdout}{ended.stderr}")


def tree_with_next_migration(home: Path) -> Path:
    """Of a release to come, what a migration needs: today's code, and one revision more."""
    tree = home / "next"
    for room in ("domain", "migrations"):
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    for revision, text in NEXT_REVISIONS.items():
        (tree / "migrations/versions" / f"{revision}_drill.py").write_text(text)
    return tree


@dataclass
class Upgrader(Breaker):
    """Takes the steps, one after the other, and asks the front whether it is ready after each."""

    is_from_old: bool = False
    problems: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)
    stepping: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, schedule: list[Fault]) -> None:
        self.left = len(schedule)
        # The load lasts until a while after the last step, however long they take.
        self.town.until = math.inf
        self.town.try_seconds = PATIENT_SECONDS
        await super().run(schedule)

    async def do(self, target: str, what: StrEnum, seconds: float) -> None:
        async with self.stepping:
            began = self.town.clock()
            match what:
                case Step.NEWEST:
                    await self._migrate_beside_a_report(ROOT)
                case Step.NEXT if not self.is_from_old:
                    await self._migrate_beside_a_report(tree_with_next_migration(self.house.home))
                case Step.REPLACE:
                    await asyncio.to_thread(self._replace, target)
                case Step.RESTART:
                    await asyncio.to_thread(self._restart, target)
            self.took[f"{target} {what.value}"] = self.town.clock() - began
            await self._look_whether_ready(f"{target} {what.value}")
            self.left -= 1
            if not self.left:
                self.town.until = self.town.clock() + LINGER_SECONDS

    async def _migrate_beside_a_report(self, tree: Path) -> None:
        with psycopg.connect(self.house.postgres.url()) as report:
            # What it has read it holds a lock of until it ends, in whose way a change of these tables is.
            report.execute("SELECT FROM credits.transactions, credits.balances LIMIT 1")
            migrating = asyncio.create_task(asyncio.to_thread(migrate, self.house, tree, "upgrade"))
            await asyncio.sleep(REPORT_SECONDS)
        await migrating

    def _replace(self, target: str) -> None:
        """Tell the master, and wait until none of its processes is one that it had."""
        member = self.house.members[target]
        master, *before = member.pids()

        def is_done() -> bool:
            children = member.pids()[1:]
            return len(children) == len(before) and not set(children) & set(before)

        for _ in range(REPLACE_TRIES_MAX):
            send_all([master], signal.SIGHUP)
            if wait_until(is_done, REPLACED_SECONDS_MAX):
                return
        self.problems.append(f"{target} did not replace its processes")

    def _restart(self, target: str) -> None:
        """End it in good order and start it again, waiting until it is ready: as one host after another is done."""
        member = self.house.members[target]
        assert isinstance(member, Module)
        member.stop()
        become(self.house, target, ROOT)
        member.start()
        member.wait_ready()

    async def _look_whether_ready(self, after: str) -> None:
        known = [name for name in WEBS if not self.is_from_old or f"{name} {Step.RESTART.value}" in self.took]
        for name in known:
            [(host, port)] = self.house.links[f"clients>{name}"].targets
            reply = await self.town.webs[name].at(f"http://{host}:{port}").call("GET", "/ready")
            if reply.status != 200:
                self.problems.append(f"after {after} {name} is not ready: {reply.brief}")

    def judge(self, verdict: Verdict) -> list[str]:
        """No answer but those that the contract has, and 503s that say when to come again."""
        statuses = self.town.records.statuses
        bad = {
            name: count for name, count in statuses.items() if not name.isdigit() or name in ("500", "502")
        }
        verdict.say(
            "tries", statuses.total(), [f"{count} tries ended with {name}" for name, count in bad.items()]
        )
        verdict.say("steps", len(self.took), self.problems)
        took = sorted(record.ended - record.began for record in self.town.records.all)
        longest, p99 = took[-1], took[int(len(took) * 0.99)]
        return [
            *(f"{step}: {seconds:.1f} s" for step, seconds in self.took.items()),
            f"503 with Retry-After: {statuses['503']} of {statuses.total()} tries;"
            f" answers within {p99:.2f} s (p99), {longest:.2f} s (longest)",
        ]


def stage(old_tree: Path | None) -> Stage:
    """Of today's code alone, or of an older commit's at first."""

    def furnished(home: Path) -> House:
        return furnish_doubled(old_tree, home)

    def upgrader(house: House, town: Town, stripe: Stripe, began: float) -> Breaker:
        return Upgrader(house, town, stripe, began, is_from_old=old_tree is not None)

    return Stage(furnished, schedule, upgrader)


def commit_before_the_newest_migration() -> str:
    """By git's history.  Raises CalledProcessError where this is no clone."""
    revision = str(VERSIONS.relative_to(ROOT) / f"{head_revision()}*.py")
    command = ["git", "log", "--diff-filter=A", "--format=%H^", "-1", "--", revision]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def old_tree_of(commit: str, directory: Path) -> Path:
    """The files of a commit.  Raises CalledProcessError where this clone does not have it."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    tree = directory / "old"
    tree.mkdir()
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    return tree
