"""Jobs: work that follows from a change, written as a row in the transaction of that change (law 3).

Adding a kind: subclass `Job` in the room that owns the work, and put a handler (`Once`, `Steps` or `Outside`)
into workers/actors.
"""

from domain.jobs.add import add_job, add_jobs_of_people
from domain.jobs.due import bring_forward, claim_due
from domain.jobs.handlers import Handler, Once, Outside, Steps
from domain.jobs.kind import Job, Queue
from domain.jobs.operate import cancel, prune, retry
from domain.jobs.read import (
    JobCount,
    JobDetails,
    JobResult,
    JobState,
    count_jobs,
    job_details,
    job_result,
    job_results,
    list_jobs,
)
from domain.jobs.run import Ending, run_job

__all__ = [
    "Ending",
    "Handler",
    "Job",
    "JobCount",
    "JobDetails",
    "JobResult",
    "JobState",
    "Once",
    "Outside",
    "Queue",
    "Steps",
    "add_job",
    "add_jobs_of_people",
    "bring_forward",
    "cancel",
    "claim_due",
    "count_jobs",
    "job_details",
    "job_result",
    "job_results",
    "list_jobs",
    "prune",
    "retry",
    "run_job",
]
