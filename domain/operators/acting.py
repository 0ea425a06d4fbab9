"""How operators act: a command is done and audited in one transaction, or shown beforehand.

A preview does the very same thing and takes it back, so that it cannot say anything else than what would happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from domain.errors import Refusal
from domain.nudge import remember_added, take_added
from domain.operators import audit
from domain.operators.audit import Action, Operator

Facts = dict[str, Any]
"""What is the case, by name: text, numbers, instants, None.  JSON can hold it."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did: `outcome` in words, `facts` for machines.

    `is_repeat` says that it had been done before, by the same key: it is not audited twice.
    """

    outcome: str
    facts: Facts = {}
    subject: str | None = None
    user_id: str | None = None
    is_repeat: bool = False


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator wants: its fields say to what.  Nothing of it may begin or commit."""

    action: ClassVar[Action]

    def look(self, connection: Connection, now: datetime) -> Facts:
        """What is the case that the command would change."""
        raise NotImplementedError

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:
        """Do it.  Raises the domain's refusals."""
        raise NotImplementedError


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was done.  `audit_id` is None for a repeat, which the first one's record tells of."""

    action: Action
    audit_id: UUID | None
    outcome: str
    facts: Facts


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a command would do.  `refused` is the code of the refusal it would get, `why` says it in words."""

    action: Action
    outcome: str | None
    before: Facts
    after: Facts
    refused: str | None = None
    why: str | None = None


def perform(connection: Connection, command: Command, *, by: Operator, reason: str, now: datetime) -> Done:
    """Do a command and write the audit, in the caller's transaction.

    Raises NotPermitted for a viewer, ReasonMissing, and what the command refuses; then nothing was written.
    """
    reason = audit.check_may_act(by, reason)
    effect = command.do(connection, by, now)
    audit_id = None
    if not effect.is_repeat:
        audit_id = audit.record(
            connection,
            by=by,
            action=command.action,
            reason=reason,
            outcome=effect.outcome,
            subject=effect.subject,
            user_id=effect.user_id,
            details=effect.facts,
            now=now,
        )
    return Done(action=command.action, audit_id=audit_id, outcome=effect.outcome, facts=effect.facts)


def preview(connection: Connection, command: Command, *, by: Operator, now: datetime) -> Preview:
    """What the command would do now; nothing of it stays.  A viewer may ask."""
    before = command.look(connection, now)
    try:
        with _undone(connection):
            effect = command.do(connection, by, now)
            after = command.look(connection, now)
    except Refusal as refusal:
        return Preview(
            action=command.action,
            outcome=None,
            before=before,
            after=before,
            refused=refusal.code,
            why=str(refusal) or (type(refusal).__doc__ or "").partition("\n")[0],
        )
    return Preview(action=command.action, outcome=effect.outcome, before=before, after=after)


@contextmanager
def _undone(connection: Connection) -> Iterator[None]:
    """What is written inside is taken back at the end, and the jobs added inside are nudged by nobody."""
    added = take_added(connection)
    savepoint = connection.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()
        take_added(connection)
        for job in added:
            remember_added(connection, job)
