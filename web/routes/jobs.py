"""What became of a job that a caller did not wait for."""

from __future__ import annotations

from domain import jobs
from domain.errors import JobNotFound
from web.answers import ErrorAnswer, JobAnswer, timestamp, timestamp_or_null
from web.bodies import path_uuid
from web.errors import wrong_of_refusal
from web.job_answers import result_answer
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/internal/jobs", Access.SERVICE, "Jobs")


@routes.add("GET", "/{jobId}", answer=JobAnswer, refusals=(JobNotFound,))
async def job(call: Call) -> JobAnswer:
    """How a job stands: `waiting`, `done`, `refused` (with the error it would have got), `failed`, `cancelled`."""
    job_id = path_uuid(call.request, "jobId")
    found = await call.services.bridge.run(lambda connection, _now: jobs.job_result(connection, job_id))
    error = None
    if found.refusal is not None:
        wrong = wrong_of_refusal(found.refusal)
        error = ErrorAnswer(
            status_code=wrong.status, message=wrong.message, code=wrong.code, details=wrong.details
        )
    return JobAnswer(
        id=found.id,
        kind=found.kind,
        status=found.state.value,
        created_at=timestamp(found.created_at),
        finished_at=timestamp_or_null(found.finished_at),
        result=None if found.result is None else result_answer(found.kind, found.result),
        error=error,
    )
