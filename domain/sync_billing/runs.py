"""A run of the recurring charge: a job that others help with, so that every worker has its share.

The run counts what is due and adds as many helpers as there is work for.  Run and helpers take chunks until
nothing is left to take; then the run waits for the helpers that are still on a chunk, and adds up.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, func, select

from domain.jobs.add import add_job
from domain.jobs.kind import Job, Queue
from domain.jobs.lock import lock_key
from domain.jobs.read import JobState
from domain.sync_billing import renewals
from domain.sync_billing.renewals import CHUNK, Tally
from domain.tables import jobs

HELPERS_MAX: Final = 3
"""Four at once keep a database of two to four processors busy; more would wait for one another."""


class ChargeRecurring(Job, frozen=True, kw_only=True):
    """Charge or pause everybody whose date has come.  Its result is a Run."""

    kind: ClassVar[str] = "charge_recurring_sync"
    queue: ClassVar[Queue] = Queue.BILLING
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class HelpToCharge(Job, frozen=True, kw_only=True):
    """Take chunks beside the run that added this.  Its result is a Tally."""

    kind: ClassVar[str] = "help_to_charge_sync"
    queue: ClassVar[Queue] = Queue.BILLING
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)

    began_at: datetime


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is.  When it is done, `tally` is everything that it and its helpers did."""

    tally: Tally = Tally()
    began_at: datetime | None = None
    helpers: list[UUID] = []
    """Those whose tallies are still to be added."""


def charge_step(connection: Connection, _job: ChargeRecurring, run: Run, now: datetime) -> tuple[Run, bool]:
    """One step of a run: a chunk, or, when nothing is left to take, what one helper did."""
    if run.began_at is None:
        helpers = _add_helpers(connection, now)
        run = Run(began_at=now, helpers=helpers)
    began_at = run.began_at or now
    tally = renewals.charge_chunk(connection, began_at=began_at, now=now)
    if tally.total:
        return msgspec.structs.replace(run, tally=run.tally + tally), True
    if not run.helpers:
        return run, False
    run = _with_tally_of_first_helper(connection, run)
    return run, bool(run.helpers)


def help_step(connection: Connection, job: HelpToCharge, tally: Tally, now: datetime) -> tuple[Tally, bool]:
    """One step of a helper: a chunk."""
    added = renewals.charge_chunk(connection, began_at=job.began_at, now=now)
    return tally + added, added.total > 0


def _add_helpers(connection: Connection, now: datetime) -> list[UUID]:
    due = renewals.count_due(connection, now=now, most=(HELPERS_MAX + 1) * CHUNK)
    chunks = -(-due // CHUNK)
    return [add_job(connection, HelpToCharge(began_at=now), now=now) for _ in range(chunks - 1)]


def _with_tally_of_first_helper(connection: Connection, run: Run) -> Run:
    """The run with what the helper did, unless the helper goes on; waits while it is on a chunk.

    A helper that nobody is on (never begun, or its worker died) holds no chunk: what it did until then is
    counted, and what it may find later, in a later run's time, is its own.
    """
    helper, *others = run.helpers
    # A worker locks the job's row for as long as it is on a chunk.
    row = connection.execute(
        select(jobs.c.state, jobs.c.result).where(jobs.c.id == helper).with_for_update()
    ).one_or_none()
    if row is not None and row.state == JobState.WAITING:
        is_free = connection.execute(select(func.pg_try_advisory_xact_lock(lock_key(helper)))).scalar_one()
        if not is_free:
            return run
    did = Tally() if row is None or row.result is None else msgspec.convert(row.result, Tally)
    return msgspec.structs.replace(run, tally=run.tally + did, helpers=others)
