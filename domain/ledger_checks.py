"""The ledger proves itself, every hour: what the check of the invariants found is kept, and a break is loud."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection, Engine, delete, select

from domain import invariants
from domain.ids import new_id
from domain.invariants import Finding
from domain.jobs.kind import Job, Queue
from domain.tables import ledger_checks

KEPT: Final = timedelta(days=90)

log = structlog.get_logger(__name__)


class CheckLedger(Job, frozen=True, kw_only=True):
    """Check every fact of domain.invariants."""

    kind: ClassVar[str] = "check_ledger"
    queue: ClassVar[Queue] = Queue.UPKEEP
    time_limit: ClassVar[timedelta] = timedelta(minutes=15)


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found, and how long it took."""

    findings: list[Finding]
    took_seconds: float


class LedgerCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check that was made."""

    id: UUID
    checked_at: datetime
    took_seconds: float
    violation_count: int
    findings: list[Finding]


def check(engine: Engine) -> Checked:
    """Look at every fact, in a snapshot of its own; takes seconds on millions of entries."""
    began = time.perf_counter()
    findings = invariants.check(engine)
    return Checked(findings=findings, took_seconds=time.perf_counter() - began)


def record(connection: Connection, checked: Checked, *, now: datetime) -> dict[str, int]:
    """Keep the findings; violations go to the log too, loudly and without the persons concerned."""
    violations = {
        finding.name: finding.violation_count for finding in checked.findings if finding.violation_count
    }
    count = sum(violations.values())
    connection.execute(
        ledger_checks.insert().values(
            id=new_id(now),
            checked_at=now,
            took_seconds=checked.took_seconds,
            violation_count=count,
            findings=checked.findings,
        )
    )
    if count:
        log.critical("ledger_violated", violations=violations)
    return {"violations": count}


def latest(connection: Connection) -> LedgerCheck | None:
    """The newest check; None before the first.  Its violation_count is the metric to alarm on."""
    query = select(ledger_checks).order_by(ledger_checks.c.checked_at.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return LedgerCheck(
        id=row.id,
        checked_at=row.checked_at,
        took_seconds=row.took_seconds,
        violation_count=row.violation_count,
        findings=msgspec.convert(row.findings, list[Finding]),
    )


def prune(connection: Connection, *, now: datetime) -> int:
    """Delete checks made long ago; how many."""
    old = delete(ledger_checks).where(ledger_checks.c.checked_at < now - KEPT)
    return connection.execute(old).rowcount
