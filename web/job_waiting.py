"""Callers of job-shaped endpoints wait for the job, but only so long (RFC 7240: `Prefer: wait=N`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from aiohttp import web
from sqlalchemy import Connection

from domain.jobs import JobState
from web.answers import PendingAnswer
from web.job_answers import result_answer
from web.routing import Call, json_response

WAIT_SECONDS_DEFAULT: Final = 10
WAIT_SECONDS_MAX: Final = 60
"""Proxies in front of a service give up after about a minute."""

JOBS_PATH: Final = "/api/v1/internal/jobs/"

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?")


async def answer_job(call: Call, add: Callable[[Connection, datetime], UUID]) -> web.Response:
    """Add a job and wait for its end: 200 with its result, or 202 with where to look for it.

    `add` writes the job in its own transaction: from then on it will be done, whatever becomes of us.
    Raises the refusal that the job ended with.
    """
    job_id = await call.services.bridge.run(add)
    seconds = _seconds_to_wait(call.request.headers.get("Prefer", ""))
    ended = await call.services.job_waiter.wait(job_id, seconds) if seconds else None
    if ended is None or ended.state in (JobState.FAILED, JobState.CANCELLED):
        accepted = json_response(PendingAnswer(success=True, status="pending", job_id=job_id), status=202)
        accepted.headers["Location"] = f"{JOBS_PATH}{job_id}"
        return accepted
    if ended.refusal is not None:
        raise ended.refusal
    return json_response(result_answer(ended.kind, ended.result))


def _seconds_to_wait(prefer: str) -> int:
    if "respond-async" in prefer.lower() and not _WAIT.search(prefer.lower()):
        return 0
    wanted = _WAIT.search(prefer.lower())
    return WAIT_SECONDS_DEFAULT if wanted is None else min(int(wanted[1]), WAIT_SECONDS_MAX)
