"""The audit: who did what, when, to whom and why.  Written in the transaction of what was done."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select, update

from domain.errors import NotPermitted, ReasonMissing
from domain.ids import new_id
from domain.logins import Role
from domain.operators.rows import PAGE_DEFAULT, all_as, page_size
from domain.tables import audit

REASON_CHARACTERS_MAX: Final = 500

NO_REASON: Final = "none was given"
"""Where the contract's callers, and a command line's, may leave the reason out."""

__all__ = [
    "Action",
    "AuditFilter",
    "AuditRecord",
    "Operator",
    "Role",
    "check_may_act",
    "conclude",
    "list_audit",
    "record",
]


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks and acts.

    `name` tells where they came from: `admin:<user id>` with a token, `login:<name>` with an operator login,
    `shell:<name>` on the command line.
    """

    name: str
    role: Role

    @property
    def may_act(self) -> bool:
        """Whether they may change anything."""
        return self.role is Role.OPERATOR


class Action(StrEnum):
    """What operators do."""

    RETRY_JOB = "retry_job"
    CANCEL_JOB = "cancel_job"
    RETRY_FAILED_JOBS = "retry_failed_jobs"
    REPLAY_EVENT = "replay_event"
    ASK_STRIPE = "ask_stripe"
    ADJUST_CREDITS = "adjust_credits"
    GIFT_SYNC = "gift_sync"
    REVOKE_SYNC = "revoke_sync"
    ERASE_PERSON = "erase_person"
    RUN_BILLING = "run_billing"
    CHECK_LEDGER = "check_ledger"
    REBUILD_USAGE = "rebuild_usage"
    REQUEUE_DEAD_LETTER = "requeue_dead_letter"
    DROP_DEAD_LETTER = "drop_dead_letter"
    EXPORT_ENTRIES = "export_entries"
    CREATE_PACKAGE = "create_package"
    CHANGE_PACKAGE = "change_package"
    DEACTIVATE_PACKAGE = "deactivate_package"
    CREATE_WEBHOOK = "create_webhook"
    CHANGE_WEBHOOK = "change_webhook"
    ROTATE_WEBHOOK_SECRET = "rotate_webhook_secret"  # noqa: S105 - what is done  # nosec B105
    REMOVE_WEBHOOK = "remove_webhook"
    TEST_WEBHOOK = "test_webhook"
    PAUSE_WEBHOOK = "pause_webhook"
    ENABLE_WEBHOOK = "enable_webhook"
    REDELIVER_WEBHOOK = "redeliver_webhook"
    REDELIVER_FAILED_WEBHOOKS = "redeliver_failed_webhooks"


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done.  `subject` is what it was done to (a job, a purchase), `user_id` whom it concerns."""

    id: UUID
    at: datetime
    actor: str
    action: str
    subject: str | None
    user_id: str | None
    reason: str
    details: dict[str, Any]
    outcome: str


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records: all that is given must hold.  `before` continues a list after that record."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: int = PAGE_DEFAULT


def check_may_act(by: Operator, reason: str) -> str:
    """The reason, trimmed.  Raises NotPermitted for a viewer, ReasonMissing without one."""
    if not by.may_act:
        raise NotPermitted
    trimmed = reason.replace("\x00", "").strip()[:REASON_CHARACTERS_MAX]
    if not trimmed:
        raise ReasonMissing
    return trimmed


def record(
    connection: Connection,
    *,
    by: Operator,
    action: Action,
    reason: str,
    outcome: str,
    subject: str | None = None,
    user_id: str | None = None,
    details: dict[str, Any] | None = None,
    now: datetime,
) -> UUID:
    """Write what was done; the record's id.  Who may do it, and that they say why, is checked before."""
    audit_id = new_id(now)
    connection.execute(
        audit.insert().values(
            id=audit_id,
            at=now,
            actor=by.name,
            action=action.value,
            subject=subject,
            user_id=user_id,
            reason=reason,
            details=details or {},
            outcome=outcome,
        )
    )
    return audit_id


def conclude(connection: Connection, audit_id: UUID, outcome: str) -> None:
    """Write how something ended that was recorded when it began: what is done outside of PostgreSQL."""
    connection.execute(update(audit).where(audit.c.id == audit_id).values(outcome=outcome))


def list_audit(connection: Connection, wanted: AuditFilter) -> list[AuditRecord]:
    """A page of what was done, the newest first."""
    query = select(*(audit.c[name] for name in AuditRecord.__struct_fields__))
    for name in ("actor", "action", "subject", "user_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(audit.c[name] == value)
    if wanted.since is not None:
        query = query.where(audit.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit.c.at < wanted.until)
    if wanted.before is not None:
        query = query.where(audit.c.id < wanted.before)
    return all_as(connection, AuditRecord, query.order_by(audit.c.id.desc()).limit(page_size(wanted.limit)))
