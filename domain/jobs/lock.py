"""The lock that says that somebody is on a job: PostgreSQL's advisory lock of the job's id.

It belongs to the worker's session, so that it spans an outside call, where no transaction may be open, and
goes at the moment the worker dies.  Therefore workers need a direct connection (or a pooler in session mode).
"""

from __future__ import annotations

from uuid import UUID


def lock_key(job_id: UUID) -> int:
    """The lock's number: the 62 random bits at the end of the id, and its variant."""
    return int.from_bytes(job_id.bytes[8:], signed=True)
