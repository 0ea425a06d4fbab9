"""`./dev drill restore [--seconds N]`: back a running system up, lose it, restore it, and see that it is all there.

The whole service runs as its processes, on a durable PostgreSQL, and people spend.  Under that load a dump, a base
backup and one with an archive of the write-ahead log are taken, and a replica follows.  Then the server is killed for
good, each backup is restored into a server of its own, and is held against what callers were told: every fact of the
books holds; what was acknowledged before the backup was begun is there, with an archive everything; and a service
started on it, with an empty Redis, answers a repeat of an old key with the first answer, and goes on.
`./dev drill debian` is in newcomer.py.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devkit.postgres import Postgres
from devkit.valkey import Valkey
from domain import invariants
from domain.database import make_engine
from tests.faults.load import Load, Told
from tests.production.backups import Archive, Backup, Base, Dump, Replica
from tests.production.newcomer import follow
from tests.servers import copy_of_golden
from tests.support.books import Books
from tests.support.whole import Whole, live, whole_service

MB = 2**20
SHORT_PAUSE_SECONDS = 0.2
"""Of each client: some hundred uses a second, from all of them."""


@dataclass
class Restored:
    """What came of one backup."""

    name: str
    taken_seconds: float = 0.0
    restored_seconds: float = 0.0
    must_hold: int = 0
    entries: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What a drill came to."""

    acknowledged: int = 0
    database_mb: float = 0.0
    backups: list[Restored] = field(default_factory=list)
    replica_behind_seconds: float = 0.0

    @property
    def findings(self) -> list[str]:
        return [f"{one.name}: {finding}" for one in self.backups for finding in one.findings]


async def drill(
    seconds: float, say: Callable[[str], None] = lambda _: None, *, is_short: bool = False
) -> Result:
    """Run it, with a load of so many seconds around the backups.

    In a short one people pause between their uses, and the last of the restored servers alone serves.
    """
    home = Path(tempfile.mkdtemp(prefix="mana-drill-"))
    home.chmod(0o755)  # PostgreSQL may run as another user, who must be able to pass
    try:
        return await _drill(home, seconds, say, is_short=is_short)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _drill(home: Path, seconds: float, say: Callable[[str], None], *, is_short: bool) -> Result:
    result = Result()
    server = copy_of_golden(home / "postgres", durable=True)
    valkey = Valkey(home / "valkey")
    kinds: list[Backup] = [Dump(server, home / "dump"), Base(server, home / "base")]
    kinds.append(Archive(server, home / "archive"))
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(valkey.start)
    try:
        for kind in kinds:
            await asyncio.to_thread(kind.prepare)
        async with whole_service(server.url(), valkey.url(), home) as whole:
            say("the system runs; people live and spend")
            await live(whole, "anna")
            load = Load(whole, pause_seconds=SHORT_PAUSE_SECONDS if is_short else 0.0)
            await load.prepare()
            spending = asyncio.gather(load.run(seconds))
            held = await _back_up(kinds, load, result, seconds, say)
            await _follow(server, home / "replica", result, say)
            await spending
            assert not load.faults, load.faults[:5]
        everything = _done(load)
        result.acknowledged = len(everything)
        size = "SELECT pg_database_size(current_database())"
        result.database_mb = int(server.execute(size, "mana_credits")) / MB
        say(f"{result.acknowledged} uses were acknowledged; the server is killed and its files are removed")
        await asyncio.to_thread(server.kill)
        for kind in kinds:
            kind.close()
        shutil.rmtree(server.home / "data")
        for kind, one in zip(kinds, result.backups, strict=True):
            must_hold = everything if kind.holds_all else held[kind.name]
            serves = not is_short or kind is kinds[-1]
            await _restore(kind, one, must_hold, load, home, say, serves=serves)
    finally:
        server.stop()
        valkey.stop()
    return result


def _done(load: Load) -> dict[str, str]:
    """The uses that callers were told are done, with the ids that they were told."""
    return {name: load.transactions[name] for name, told in load.told.items() if told is Told.DONE}


async def _back_up(
    kinds: list[Backup], load: Load, result: Result, seconds: float, say: Callable[[str], None]
) -> dict[str, dict[str, str]]:
    """Take each; what had been acknowledged when it was begun."""
    held = {}
    await asyncio.sleep(seconds / 4)
    for kind in kinds:
        held[kind.name] = _done(load)
        began = time.monotonic()
        await asyncio.to_thread(kind.take)
        taken = time.monotonic() - began
        result.backups.append(Restored(kind.name, taken_seconds=taken))
        say(f"{kind.name}: taken in {taken:.1f} s, with {len(held[kind.name])} uses acknowledged before")
    return held


async def _follow(server: Postgres, home: Path, result: Result, say: Callable[[str], None]) -> None:
    """A replica catches up under load, can be read, and its books hold."""
    replica = Replica(server, home)
    for step in (replica.prepare, replica.take):
        await asyncio.to_thread(step)
    standby = await asyncio.to_thread(replica.restore)
    try:
        began = time.monotonic()
        here = await asyncio.to_thread(server.execute, "SELECT pg_current_wal_lsn()")
        reached = f"SELECT pg_last_wal_replay_lsn() >= '{here}'::pg_lsn"
        while await asyncio.to_thread(standby.execute, reached) != "t":
            await asyncio.sleep(0.05)
            assert time.monotonic() < began + 60, "the replica does not catch up"
        result.replica_behind_seconds = time.monotonic() - began
        one = Restored("a replica, read while it follows")
        one.findings = await asyncio.to_thread(_broken_facts, standby.url())
        say(
            f"a replica caught up in {result.replica_behind_seconds:.2f} s; its books: {one.findings or 'hold'}"
        )
        assert not one.findings, one.findings
    finally:
        await asyncio.to_thread(standby.stop)


async def _restore(
    kind: Backup,
    one: Restored,
    must_hold: dict[str, str],
    load: Load,
    home: Path,
    say: Callable[[str], None],
    *,
    serves: bool,
) -> None:
    began = time.monotonic()
    server = await asyncio.to_thread(kind.restore)
    one.restored_seconds = time.monotonic() - began
    try:
        books = Books(server.url())
        found = dict(books.rows("SELECT id::text, description FROM credits.transactions"))
        one.entries, one.must_hold = len(found), len(must_hold)
        one.findings = lost_of(must_hold, found)
        one.findings += await asyncio.to_thread(_broken_facts, server.url())
        if serves:
            await _serve(server, load, must_hold, home / f"service-{kind.name.replace(' ', '-')}")
        say(f"{kind.name}: restored in {one.restored_seconds:.1f} s; {len(must_hold)} uses had to be there")
    finally:
        await asyncio.to_thread(server.stop)


def lost_of(must_hold: dict[str, str], found: dict[str, str]) -> list[str]:
    """What of the acknowledged uses (ids by name) is not among the entries that were found (names by id)."""
    lost = [name for name, entry_id in must_hold.items() if found.get(entry_id) != name]
    return [f"{len(lost)} acknowledged uses are lost, such as {lost[:3]}"] if lost else []


def _broken_facts(url: str) -> list[str]:
    engine = make_engine(url, pool_size=1)
    try:
        return [f"{one.name}: {one.violations}" for one in invariants.check(engine) if one.violation_count]
    finally:
        engine.dispose()


async def _serve(server: Postgres, load: Load, must_hold: dict[str, str], home: Path) -> None:
    """Start the service on the restored server, with an empty Redis."""
    home.mkdir()
    valkey = Valkey(home / "valkey")
    await asyncio.to_thread(valkey.start)
    try:
        async with whole_service(server.url(), valkey.url(), home) as whole:
            await _goes_on(whole, load, must_hold)
    finally:
        valkey.stop()


async def _goes_on(whole: Whole, load: Load, must_hold: dict[str, str]) -> None:
    """The service on the restored books: an old key is known, new people live, what waited is done."""
    repeated = 0
    for name, (user_id, amount) in load.keyed.items():
        if name in must_hold and repeated < 5:
            reply = (await whole.use(user_id, amount, description=name, idempotencyKey=name)).ok()
            assert reply["message"] == "Transaction already processed", reply
            assert reply["transaction"]["id"] == must_hold[name], reply
            repeated += 1
    assert repeated == 5, "too few keyed uses to repeat"
    await live(whole, "ben")
    await whole.becomes("SELECT count(*) FROM ops.jobs WHERE state = 'waiting' AND run_at < now()", 0)
    await asyncio.to_thread(whole.books.assert_they_add_up)


def show(result: Result, console: Console) -> None:
    """Print it."""
    table = Table("backup", "taken in", "restored in", "had to be there", "entries there", "found")
    for one in result.backups:
        table.add_row(
            one.name,
            f"{one.taken_seconds:.1f} s",
            f"{one.restored_seconds:.1f} s",
            f"{one.must_hold} uses",
            str(one.entries),
            "; ".join(one.findings) or "nothing",
        )
    console.print(table)
    console.print(f"{result.acknowledged} uses acknowledged, a database of {result.database_mb:.0f} MB")


def main(arguments: list[str]) -> int:
    """0 when nothing was lost."""
    parser = argparse.ArgumentParser(prog="./dev drill", description=__doc__)
    parser.add_argument("what", choices=["restore", "debian"])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long people spend (default 20)")
    options = parser.parse_args(arguments)
    if options.what == "debian":
        return follow()
    console = Console(highlight=False)
    result = asyncio.run(drill(options.seconds, console.print))
    show(result, console)
    console.print("found: " + ("; ".join(result.findings) or "nothing"))
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
