"""What the running system holds at a moment: memory, connections, rows, and what waits in its queues."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from domain.jobs import Queue
from nudges import make_broker
from tests.faults.rig.asking import Town
from tests.faults.rig.house import SERVICE, House, Server
from tests.faults.rig.records import Record, Records, Told
from tests.faults.rig.trade import Stripe
from tests.support.books import Books

MEMBERS = (*SERVICE, "postgres", "valkey")
"""Whose memory is to be flat.  The simulators keep all that ever happened, and are left out."""

TABLES = (
    "credits.balances",
    "credits.transactions",
    "credits.usage_stats",
    "credits.reservations",
    "credits.purchases",
    "credits.sync_subscriptions",
    "gifts.gift_codes",
    "gifts.gift_redemptions",
    "ops.idempotent_answers",
    "ops.jobs",
    "ops.stripe_events",
)
"""What grows with what is asked."""

WRITERS = {
    "credits.reservations": "reserve",
    "gifts.gift_codes": "gift",
    "gifts.gift_redemptions": "gift",
}
"""Of which operation a table's rows are, or follow: it is refused the more often, the more people have spent what they
had.  The rows of the others are in step with all operations."""


@dataclass
class Sample:
    """One look: `at` in seconds after the load's beginning, memory in MB (of 1,000,000 bytes)."""

    at: float
    operations: int
    done: dict[str, int]
    """By table: the operations that its rows are to be in step with."""
    load_average: float
    p50_ms: float
    p99_ms: float
    memory: dict[str, float] = field(default_factory=dict)
    connections: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    mebibytes: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)


class Tally(Records):
    """Counts what was told and how long it took, and keeps no record: for a load that goes on for long."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, Counter[str]] = {}
        self.operations = 0
        self.milliseconds: list[float] = []
        """Of what ended since they were taken last."""

    def begin(self, record: Record) -> None:
        """Nothing is kept."""

    def end(self, record: Record) -> None:
        self.operations += 1
        self.counts.setdefault(record.kind, Counter())[record.told.value] += 1
        self.milliseconds.append((record.ended - record.began) * 1e3)

    def done(self, kind: str | None) -> int:
        """How many operations of a kind went well; of all kinds, how many there were."""
        return self.operations if kind is None else self.counts.get(kind, Counter())[Told.OK.value]

    def told(self) -> dict[str, Counter[str]]:
        return dict(sorted(self.counts.items()))


@dataclass
class Sampler:
    """Looks at a house."""

    house: House
    town: Town
    stripe: Stripe
    tally: Tally
    began: float

    async def take(self) -> Sample:
        """Look."""
        took, self.tally.milliseconds = sorted(self.tally.milliseconds) or [0.0], []
        sample = Sample(
            at=round(self.town.clock() - self.began, 1),
            operations=self.tally.operations,
            done={table: self.tally.done(WRITERS.get(table)) for table in TABLES},
            load_average=os.getloadavg()[0],
            p50_ms=round(statistics.median(took), 1),
            p99_ms=round(took[int(len(took) * 0.99)], 1),
        )
        await asyncio.to_thread(self._look, sample)
        sample.waiting["events"] = await self.stripe.undelivered()
        return sample

    def _look(self, sample: Sample) -> None:
        books = Books(self.house.postgres.url())
        for name in MEMBERS:
            sample.memory[name] = round(sum(map(private_megabytes, self.house.members[name].pids())), 1)
        sample.connections = dict(
            books.rows(
                "SELECT application_name, count(*) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND application_name LIKE 'mana-credits%%' GROUP BY 1"
            )
        )
        for table in TABLES:
            [(rows, size)] = books.rows(
                f"SELECT count(*), pg_total_relation_size('{table}') / 1048576.0 FROM {table}"
            )
            sample.rows[table], sample.mebibytes[table] = rows, round(float(size), 2)
        sample.waiting = {
            "jobs": books.one("SELECT count(*) FROM ops.jobs WHERE state = 'waiting'"),
            "uses to roll up": books.one("SELECT count(*) FROM ops.usage_pending"),
            "nudges": self._nudges(),
        }

    def _nudges(self) -> int:
        server = self.house.members["valkey"]
        assert isinstance(server, Server)
        broker = make_broker(server.server.url())
        try:
            return sum(broker.waiting(queue.value) for queue in Queue)
        finally:
            broker.close()


def private_megabytes(pid: int) -> float:
    """Resident memory of a process without what it shares by design, as PostgreSQL's do; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    kibibytes = {
        line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "RssShmem"))
    }
    return (int(kibibytes.get("VmRSS", 0)) - int(kibibytes.get("RssShmem", 0))) * 1024 / 1e6
