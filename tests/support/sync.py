"""Subscriptions under a clock that the test sets: people, credits, runs, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text

from domain import jobs
from domain.database import transaction
from domain.jobs import Handler, Job
from domain.settings import Settings, read_settings
from domain.sync_billing import gifting, resuming, subscriptions
from domain.sync_billing.calendar import Interval
from domain.sync_billing.runs import ChargeRecurring
from domain.sync_billing.subscriptions import Activated, Status
from tests.support.jobs import run_waiting
from tests.support.ledger import balance, entries, give, post
from workers.actors import notices as notice_actors
from workers.actors import sync as sync_actors
from workers.parts import Parts

T = TypeVar("T")

START = datetime(2026, 1, 31, 15, 28, 32, 39_000, tzinfo=UTC)


def at(words: str) -> datetime:
    """`2026-01-31` or `2026-01-31 15:28:32.039`, in UTC."""
    return datetime.fromisoformat(words).replace(tzinfo=UTC)


def settings_of(**variables: str) -> Settings:
    """The settings of a service with these variables, and no notifier unless they name one."""
    return read_settings({"ENV": "development", **variables})


@dataclass
class Sync:
    """The sync of everybody in one database."""

    engine: Engine
    now: datetime = START
    settings: Settings = field(default_factory=settings_of)

    def do(self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction of its own."""
        with transaction(self.engine) as connection:
            return work(connection)

    def fund(self, user_id: str, amount: int | Decimal = 1000) -> None:
        """Give credits; the balance comes into being when there is none."""
        post(self.engine, give(user_id, amount), now=self.now)

    def activate(self, user_id: str, interval: Interval = Interval.MONTHLY, **options: Any) -> Activated:
        return self.do(
            lambda connection: subscriptions.activate(
                connection, user_id, interval=interval, now=self.now, **options
            )
        )

    def deactivate(self, user_id: str) -> None:
        self.do(lambda connection: subscriptions.deactivate(connection, user_id, now=self.now))

    def change(self, user_id: str, interval: Interval) -> subscriptions.Changed:
        return self.do(
            lambda connection: subscriptions.change_interval(connection, user_id, interval, now=self.now)
        )

    def gift(self, user_id: str, by: str = "admin") -> None:
        self.do(lambda connection: gifting.gift(connection, user_id, by=by, now=self.now))

    def revoke(self, user_id: str) -> Status:
        return self.do(lambda connection: gifting.revoke(connection, user_id, now=self.now))

    def status(self, user_id: str) -> Status:
        return self.do(lambda connection: subscriptions.status(connection, user_id))

    def handlers(self) -> list[Handler]:
        """What workers do of sync, notices included."""
        parts = Parts(self.settings, self.engine)
        return [*sync_actors.handlers(parts), *notice_actors.handlers(parts)]

    def add(self, job: Job) -> Any:
        """Add a job; its id."""
        return self.do(lambda connection: jobs.add_job(connection, job, now=self.now))

    def work(self) -> None:
        """Do every job that is due now, one after another."""
        run_waiting(self.engine, self.handlers(), lambda: self.now)

    def add_run(self) -> Any:
        """Add a run of the recurring charge; its id."""
        return self.add(ChargeRecurring())

    def charge(self) -> dict[str, int]:
        """A run of the recurring charge, and what it says that it did."""
        job_id = self.add_run()
        self.work()
        return self.tally_of(job_id)

    def tally_of(self, job_id: Any) -> dict[str, int]:
        """What a run said, once it is done."""
        ended = self.do(lambda connection: jobs.job_result(connection, job_id))
        assert ended.state == "done", ended
        tally: dict[str, int] = ended.result["tally"]
        return tally

    def resume(self) -> None:
        """What the scheduler does every few seconds, and the job that it adds."""
        self.do(lambda connection: resuming.look(connection, self.now))
        self.work()

    def wait(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)

    def balance(self, user_id: str) -> Decimal:
        return balance(self.engine, user_id).balance

    def charges(self, user_id: str) -> list[tuple[datetime, int, str]]:
        """When a person was charged for sync, how much, and as what; oldest first."""
        found = [
            (entry.created_at, int(-entry.amount), (entry.metadata or {})["type"])
            for entry in entries(self.engine, user_id)
            if entry.app_id == "sync"
        ]
        return found[::-1]

    def sql(self, statement: str, **parameters: object) -> Sequence[Any]:
        """What a person at the database's prompt would do."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return result.all() if result.returns_rows else []

    def notices(self) -> list[tuple[str, str]]:
        """The notices there are, each as its kind and for whom; oldest first."""
        rows = self.sql("SELECT kind, user_id FROM ops.jobs WHERE queue = 'mail' ORDER BY id")
        return [(row.kind, row.user_id) for row in rows]
