"""Actions over the admin API: each command of domain.operators has a route that does it, and one that previews it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from domain import idempotency
from domain.errors import AnswerForgotten, IdempotencyKeyReused, ReasonMissing, Refusal
from domain.logins import Role
from domain.operators.acting import Command, Done, Preview, perform, preview
from domain.operators.audit import NO_REASON, REASON_CHARACTERS_MAX, Operator
from web.answers import Answer
from web.bodies import IdempotencyKey
from web.once import once
from web.operators.queries import query_text, text_query
from web.operators.wire import show
from web.routing import Call, Query, Routes

Reason = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=REASON_CHARACTERS_MAX,
        # Something besides blanks and control characters, which the audit does not keep.  Those that are blank to one
        # engine of regular expressions and not to another are named: U+001C to U+001F, U+0085, U+FEFF.
        pattern=r"[^\s\x00-\x1f\x7f-\x9f\ufeff]",
        description="Why, for the audit",
        examples=["ticket 4711: charged twice"],
    ),
]


class ReasonBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Why it is done."""

    reason: Reason
    idempotency_key: IdempotencyKey | None = None


class DoneAnswer(Answer):
    """What was done.  `auditId` is null for a repeat, which the first one's record tells of."""

    action: Annotated[str, Meta(description="What was done", examples=["retry_job"])]
    audit_id: Annotated[UUID | None, Meta(description="The record in the audit")]
    outcome: Annotated[str, Meta(description="What came of it", examples=["the ledger is checked now"])]
    facts: Annotated[dict[str, Any], Meta(description="The same for programs")]

    @classmethod
    def of(cls, done: Done) -> DoneAnswer:
        """From the domain's."""
        return cls(
            action=done.action.value, audit_id=done.audit_id, outcome=done.outcome, facts=show(done.facts)
        )


_Outcome = Annotated[str, Meta(examples=["the ledger is checked now"])]
_Code = Annotated[str, Meta(examples=["job_busy"])]
_Why = Annotated[str, Meta(examples=["a worker is on it"])]


class PreviewAnswer(Answer):
    """What would be done; nothing was."""

    action: Annotated[str, Meta(description="What would be done", examples=["retry_job"])]
    outcome: Annotated[_Outcome | None, Meta(description="What would come of it")]
    before: Annotated[dict[str, Any], Meta(description="What is the case now")]
    after: Annotated[dict[str, Any], Meta(description="What would be the case then")]
    refused: Annotated[_Code | None, Meta(description="The code of the refusal it would get")]
    why: Annotated[_Why | None, Meta(description="The refusal in words")]

    @classmethod
    def of(cls, seen: Preview) -> PreviewAnswer:
        """From the domain's."""
        return cls(
            action=seen.action.value,
            outcome=seen.outcome,
            before=show(seen.before),
            after=show(seen.after),
            refused=seen.refused,
            why=seen.why,
        )


WHY: Final[tuple[Query, ...]] = (text_query("reason", "Why, for the audit; may be left out"),)
"""For routes that had callers before there was an audit: what they send and get is as it was."""


def stated_reason(call: Call) -> str:
    """The query's reason, or that there is none.  Raises BadRequest."""
    return (query_text(call.request, "reason") or "").strip() or NO_REASON


def operator_of(call: Call) -> Operator:
    """The administrator who calls."""
    return Operator(name=f"admin:{call.caller.user_id}", role=Role.OPERATOR)


def add_action(
    routes: Routes,
    path: str,
    command_of: Callable[[Call], Command],
    *,
    refusals: tuple[type[Refusal], ...] = (),
    body: type[msgspec.Struct] = ReasonBody,
    preview_body: type[msgspec.Struct] | None = None,
) -> None:
    """Declare POST `path`, which does the command that `command_of` reads from a call, and POST `path`/preview.

    The handlers have `command_of`'s name and words.
    """

    async def act(call: Call) -> idempotency.Answer:
        command, by, reason = command_of(call), operator_of(call), call.body.reason

        def work(connection: Connection, now: datetime) -> DoneAnswer:
            return DoneAnswer.of(perform(connection, command, by=by, reason=reason, now=now))

        return await once(
            call,
            f"admin-{command.action.value}",
            call.body.idempotency_key,
            lambda _connection: call.caller.user_id,
            work,
            path=dict(call.request.match_info),
        )

    async def look(call: Call) -> PreviewAnswer:
        command, by = command_of(call), operator_of(call)
        seen = await call.services.bridge.run(
            lambda connection, now: preview(connection, command, by=by, now=now)
        )
        return PreviewAnswer.of(seen)

    words = (command_of.__doc__ or "").strip()
    act.__name__, act.__doc__ = command_of.__name__, words
    look.__name__ = f"preview_{command_of.__name__}"
    look.__doc__ = f"What would this do? {words}  Nothing is changed, and nothing audited."
    all_refusals = (*refusals, ReasonMissing, AnswerForgotten, IdempotencyKeyReused)
    routes.add("POST", path, body=body, answer=DoneAnswer, refusals=all_refusals)(act)
    missing = tuple(kind for kind in refusals if kind.code.endswith("_not_found"))
    routes.add("POST", f"{path}/preview", body=preview_body, answer=PreviewAnswer, refusals=missing)(look)
