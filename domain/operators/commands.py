"""What operators can do to jobs, payments, subscriptions and the whole service; see acting for how."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, literal_column, select, text, update

from domain import jobs
from domain.errors import PurchaseNotFound, PurchaseSettled, StripeEventNotFound
from domain.jobs import JobState
from domain.jobs import operate as job_operations
from domain.ledger_checks import CheckLedger
from domain.operators.acting import Command, Effect, Facts
from domain.operators.audit import Action, Operator
from domain.operators.rebuilding import RebuildUsageStatistics
from domain.operators.subscriptions import renewals
from domain.reconciliation import AskAboutPurchase
from domain.stripe_events import HandleStripeEvent
from domain.sync_billing import gifting, subscriptions
from domain.sync_billing.runs import ChargeRecurring
from domain.tables import jobs as job_rows
from domain.tables import purchases, stripe_events

RETRIED_PER_CALL_MAX: Final = 1_000
"""Failed jobs that one transaction lets run again: a fraction of a second, and few enough for the workers."""


class RetryJob(Command, frozen=True, kw_only=True):
    """Let a job that ended without effect run again, or one that waits run now."""

    action: ClassVar[Action] = Action.RETRY_JOB
    job_id: UUID

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """The job's state."""
        return _job_facts(connection, self.job_id)

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises JobNotFound, JobNotInState."""
        job = jobs.job_details(connection, self.job_id)
        jobs.retry(connection, self.job_id, now=now)
        return Effect(
            outcome=f"{job.kind} runs again, it was {job.state.value}",
            facts={"kind": job.kind, "was": job.state.value},
            subject=str(self.job_id),
            user_id=job.user_id,
        )


class CancelJob(Command, frozen=True, kw_only=True):
    """End a waiting job without working on it."""

    action: ClassVar[Action] = Action.CANCEL_JOB
    job_id: UUID

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """The job's state."""
        return _job_facts(connection, self.job_id)

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises JobNotFound, JobNotInState, JobBusy."""
        jobs.cancel(connection, self.job_id, now=now)
        job = jobs.job_details(connection, self.job_id)
        return Effect(
            outcome=f"{job.kind} is cancelled",
            facts={"kind": job.kind},
            subject=str(self.job_id),
            user_id=job.user_id,
        )


def _job_facts(connection: Connection, job_id: UUID) -> Facts:
    job = jobs.job_details(connection, job_id)
    return {
        "kind": job.kind,
        "state": job.state.value,
        "attempts": job.attempts,
        "runAt": job.run_at,
        "lastError": job.last_error,
    }


class RetryFailedJobs(Command, frozen=True, kw_only=True):
    """Let all failed jobs of a kind run again, the oldest RETRIED_PER_CALL_MAX of them."""

    action: ClassVar[Action] = Action.RETRY_FAILED_JOBS
    kind: str

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """How many there are."""
        return {"kind": self.kind, "failed": self._failed(connection)}

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """None failed is no refusal: then none runs again."""
        query = (
            select(job_rows.c.id)
            .where(self._are_failed())
            .order_by(job_rows.c.id)
            .limit(RETRIED_PER_CALL_MAX)
            .with_for_update(skip_locked=True)
        )
        ids = connection.execute(query).scalars().all()
        for job_id in ids:
            job_operations.retry(connection, job_id, now=now)
        left = self._failed(connection)
        return Effect(
            outcome=f"{len(ids)} failed jobs run again" + (f", {left} are left" if left else ""),
            facts={"kind": self.kind, "retried": len(ids), "left": left},
            subject=self.kind,
        )

    def _are_failed(self) -> ColumnElement[bool]:
        # Written out as the index says it; a parameter would hide it from a prepared plan.
        in_index: ColumnElement[bool] = literal_column("state IN ('refused', 'failed', 'cancelled')")
        return and_(in_index, job_rows.c.state == JobState.FAILED.value, job_rows.c.kind == self.kind)

    def _failed(self, connection: Connection) -> int:
        count: int = connection.execute(
            text("SELECT count(*) FROM ops.jobs WHERE state = 'failed' AND kind = :kind"), {"kind": self.kind}
        ).scalar_one()
        return count


class ReplayEvent(Command, frozen=True, kw_only=True):
    """Handle an event of Stripe's again: what it does follows from the purchase's state, so never twice."""

    action: ClassVar[Action] = Action.REPLAY_EVENT
    event_id: str

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """How the event stands."""
        query = select(stripe_events).where(stripe_events.c.id == self.event_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise StripeEventNotFound
        return {"type": row.type, "handledAt": row.handled_at, "outcome": row.outcome}

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises StripeEventNotFound."""
        query = select(stripe_events).where(stripe_events.c.id == self.event_id).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise StripeEventNotFound
        waits = row.job_id is not None and _state_of(connection, row.job_id) in (
            JobState.WAITING,
            JobState.FAILED,
            JobState.REFUSED,
            JobState.CANCELLED,
        )
        if waits:
            job_id = row.job_id
            jobs.retry(connection, job_id, now=now)
        else:
            # Its job is done, or was pruned, or it never had one: a further job, without the event's own key.
            job = HandleStripeEvent(event_id=self.event_id)
            job_id = jobs.add_job(connection, job, now=now, subject=self.event_id)
        connection.execute(
            update(stripe_events)
            .where(stripe_events.c.id == self.event_id)
            .values(handled_at=None, outcome="to be handled again", job_id=job_id)
        )
        return Effect(
            outcome=f"{row.type} will be handled again",
            facts={"jobId": job_id, "was": row.outcome},
            subject=self.event_id,
        )


def _state_of(connection: Connection, job_id: UUID) -> JobState | None:
    found = jobs.job_results(connection, [job_id]).get(job_id)
    return None if found is None else found.state


class AskStripe(Command, frozen=True, kw_only=True):
    """Ask Stripe now what became of a purchase that is not settled."""

    action: ClassVar[Action] = Action.ASK_STRIPE
    purchase_id: UUID

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """How the purchase stands."""
        query = select(purchases).where(purchases.c.id == self.purchase_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise PurchaseNotFound
        return {"status": row.status, "nextCheckAt": row.next_check_at, "problem": row.problem}

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises PurchaseNotFound, PurchaseSettled."""
        query = select(purchases.c.user_id, purchases.c.status).where(purchases.c.id == self.purchase_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise PurchaseNotFound
        if row.status in ("completed", "cancelled"):
            raise PurchaseSettled
        job = AskAboutPurchase(purchase_id=self.purchase_id)
        subject = str(self.purchase_id)
        job_id = jobs.add_job(connection, job, now=now, user_id=row.user_id, subject=subject)
        return Effect(
            outcome="Stripe will be asked now", facts={"jobId": job_id}, subject=subject, user_id=row.user_id
        )


class GiftSync(Command, frozen=True, kw_only=True):
    """Give a person sync for nothing, until it is revoked."""

    action: ClassVar[Action] = Action.GIFT_SYNC
    user_id: str

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """How the person's sync stands."""
        return _sync_facts(connection, self.user_id)

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:
        """Repeatable."""
        # The column is the contract's: whoever gives with a token is named by their id alone.
        gifting.gift(connection, self.user_id, by=by.name.removeprefix("admin:"), now=now)
        return Effect(outcome="sync is gifted", user_id=self.user_id, subject=self.user_id)


class RevokeSync(Command, frozen=True, kw_only=True):
    """Take a gift of sync back; what was left of a paid period goes on."""

    action: ClassVar[Action] = Action.REVOKE_SYNC
    user_id: str

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """How the person's sync stands."""
        return _sync_facts(connection, self.user_id)

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises SyncNotFound, SyncNotGifted."""
        left = gifting.revoke(connection, self.user_id, now=now)
        return Effect(
            outcome="sync is no gift any more"
            + (", and goes on until its paid period ends" if left.active else ""),
            facts={"active": left.active, "nextChargeAt": left.next_charge_at},
            user_id=self.user_id,
            subject=self.user_id,
        )


def _sync_facts(connection: Connection, user_id: str) -> Facts:
    status = subscriptions.status(connection, user_id)
    return {
        "active": status.active,
        "gifted": status.gifted,
        "interval": status.interval.value,
        "nextChargeAt": status.next_charge_at,
        "pausedAt": status.paused_at,
    }


class RunBilling(Command, frozen=True, kw_only=True):
    """Charge or pause everybody who is due, now."""

    action: ClassVar[Action] = Action.RUN_BILLING

    def look(self, connection: Connection, now: datetime) -> Facts:
        """Whom it concerns."""
        counts = renewals(connection, now=now)
        return {"due": counts.due, "overdue": counts.overdue, "oldestDueAt": counts.oldest_due_at}

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Each period is charged once, however many runs there are."""
        job_id = jobs.add_job(connection, ChargeRecurring(), now=now)
        return Effect(outcome="billing runs now", facts={"jobId": job_id}, subject=str(job_id))


class RunLedgerCheck(Command, frozen=True, kw_only=True):
    """Check every fact of the ledger, now."""

    action: ClassVar[Action] = Action.CHECK_LEDGER

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """It changes nothing."""
        return {}

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Reads only; takes seconds on millions of entries."""
        job_id = jobs.add_job(connection, CheckLedger(), now=now)
        return Effect(outcome="the ledger is checked now", facts={"jobId": job_id}, subject=str(job_id))


class RebuildUsage(Command, frozen=True, kw_only=True):
    """Derive the usage statistics anew from the entries."""

    action: ClassVar[Action] = Action.REBUILD_USAGE

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """How many rows are derived."""
        counted = text("SELECT count(*) FROM credits.usage_stats WHERE is_rolled_up")
        return {"rows": connection.execute(counted).scalar_one()}

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Deductions wait while it runs: about five seconds for a million entries."""
        job_id = jobs.add_job(connection, RebuildUsageStatistics(), now=now)
        return Effect(outcome="usage statistics are rebuilt", facts={"jobId": job_id}, subject=str(job_id))
