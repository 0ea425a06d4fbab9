"""Jobs and Dramatiq's queues, as administrators see and steer them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
import redis
from msgspec import Meta
from sqlalchemy import Connection

from domain import operators
from domain.errors import DeadLetterNotFound, JobBusy, JobNotFound, JobNotInState
from domain.jobs import JobState, Queue
from domain.operators import audit
from domain.operators.acting import Command
from domain.operators.audit import Action
from domain.operators.commands import CancelJob, RetryFailedJobs, RetryJob
from domain.operators.jobs_seen import JobFilter, JobLine, JobSeen
from nudges.queues import DeadLetter, Queues, QueueSeen
from web.bodies import IdempotencyKey, bad_field, path_text, path_uuid
from web.operators.actions import Reason, ReasonBody, add_action, operator_of
from web.operators.queries import (
    BEFORE,
    PAGE,
    PERIOD,
    choice_query,
    limit_of,
    offset_of,
    query_choice,
    query_text,
    query_time,
    query_uuid,
    text_query,
)
from web.operators.queues import queues_key
from web.operators.queues_unavailable import QueuesUnavailable
from web.operators.wire import show, shown
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/admin", Access.ADMIN, "Operators")

T = TypeVar("T")

KIND: Final = Meta(min_length=1, max_length=64, description="The kind of job", examples=["refund_credits"])


class RetryFailedBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Which failed jobs shall run again, and why."""

    kind: Annotated[str, KIND]
    reason: Reason
    idempotency_key: IdempotencyKey | None = None


class KindBody(msgspec.Struct, kw_only=True, rename="camel"):
    """A kind of job."""

    kind: Annotated[str, KIND]


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a dead letter."""

    outcome: str
    letter: DeadLetter


@routes.add(
    "GET",
    "/jobs",
    answer=shown(list[JobLine]),
    queries=(
        text_query("kind", "The kind of job"),
        choice_query("state", "Their state", JobState),
        text_query("userId", "Whom they concern"),
        text_query("subject", "The thing they concern: a purchase, an event"),
        *PERIOD,
        *BEFORE,
    ),
)
async def list_jobs(call: Call) -> Any:
    """Jobs that match all that is given, those added last first."""
    request = call.request
    wanted = JobFilter(
        kind=query_text(request, "kind"),
        state=query_choice(request, "state", JobState),
        user_id=query_text(request, "userId"),
        subject=query_text(request, "subject"),
        since=query_time(request, "since"),
        until=query_time(request, "until"),
        before=query_uuid(request, "before"),
        limit=limit_of(request),
    )
    return show(await call.services.bridge.run(lambda c, _now: operators.list_jobs(c, wanted)))


@routes.add("GET", "/jobs/{jobId}", answer=shown(JobSeen), refusals=(JobNotFound,))
async def one_job(call: Call) -> Any:
    """One job: its payload, attempts, errors, times, result, and what may be done with it."""
    job_id = path_uuid(call.request, "jobId")
    return show(await call.services.bridge.run(lambda c, _now: operators.job_seen(c, job_id)))


def retry_job(call: Call) -> Command:
    """Let a job that ended without effect run again, or one that waits run now."""
    return RetryJob(job_id=path_uuid(call.request, "jobId"))


def cancel_job(call: Call) -> Command:
    """End a waiting job without working on it."""
    return CancelJob(job_id=path_uuid(call.request, "jobId"))


def retry_failed_jobs(call: Call) -> Command:
    """Let all failed jobs of a kind run again: the oldest thousand, `left` says how many there are still."""
    return RetryFailedJobs(kind=call.body.kind)


add_action(routes, "/jobs/{jobId}/retry", retry_job, refusals=(JobNotFound, JobNotInState))
add_action(routes, "/jobs/{jobId}/cancel", cancel_job, refusals=(JobNotFound, JobNotInState, JobBusy))
add_action(routes, "/jobs/retry-failed", retry_failed_jobs, body=RetryFailedBody, preview_body=KindBody)


@routes.add("GET", "/queues", answer=shown(list[QueueSeen]))
async def queues(call: Call) -> Any:
    """Dramatiq's own queues: how many messages are where.  The rows of jobs are what counts."""
    return show(await _asked(call, lambda found: found.seen([queue.value for queue in Queue])))


@routes.add("GET", "/queues/{queue}/dead", answer=shown(list[DeadLetter]), queries=PAGE)
async def dead_letters(call: Call) -> Any:
    """The dead letters of a queue, the newest first; they go by themselves after an hour."""
    name, limit, offset = _queue(call), limit_of(call.request), offset_of(call.request)
    return show(await _asked(call, lambda found: found.dead_letters(name, limit=limit, offset=offset)))


@routes.add(
    "POST",
    "/queues/{queue}/dead/{messageId}/requeue",
    body=ReasonBody,
    answer=shown(Letter),
    refusals=(DeadLetterNotFound,),
)
async def requeue_dead_letter(call: Call) -> Any:
    """Put a dead letter back into its queue; its job runs when its row says that there is something to do."""
    return await _handle(call, Action.REQUEUE_DEAD_LETTER, Queues.requeue, "requeued")


@routes.add(
    "POST",
    "/queues/{queue}/dead/{messageId}/drop",
    body=ReasonBody,
    answer=shown(Letter),
    refusals=(DeadLetterNotFound,),
)
async def drop_dead_letter(call: Call) -> Any:
    """Throw a dead letter away; its job's row stays."""
    return await _handle(call, Action.DROP_DEAD_LETTER, Queues.drop, "dropped")


async def _handle(
    call: Call, action: Action, handle: Callable[[Queues, str, str], DeadLetter], outcome: str
) -> Any:
    """Audit that it begins, do it in Redis, audit how it ended: PostgreSQL's commit cannot hold both."""
    name, message_id = _queue(call), path_text(call.request, "messageId")
    by = operator_of(call)
    reason = audit.check_may_act(by, call.body.reason)

    def begin(connection: Connection, now: datetime) -> Any:
        return audit.record(
            connection,
            by=by,
            action=action,
            reason=reason,
            outcome="begun",
            subject=f"{name}/{message_id}"[:255],
            now=now,
        )

    audit_id = await call.services.bridge.run(begin)
    ended = "failed: Redis did not answer"
    try:
        letter = await _asked(call, lambda found: handle(found, name, message_id))
        ended = f"{outcome}, job {letter.job_id}"
    except DeadLetterNotFound:
        ended = "not there any more"
        raise
    finally:
        await call.services.bridge.run(lambda c, _now: audit.conclude(c, audit_id, ended))
    return show(Letter(outcome=outcome, letter=letter))


async def _asked(call: Call, ask: Callable[[Queues], T]) -> T:
    try:
        return await asyncio.to_thread(ask, call.request.app[queues_key])
    except (redis.RedisError, OSError) as error:
        raise QueuesUnavailable(type(error).__name__) from error


def _queue(call: Call) -> str:
    name = path_text(call.request, "queue")
    if name not in list(Queue):
        raise bad_field("queue", f"must be one of {', '.join(Queue)}")
    return name
