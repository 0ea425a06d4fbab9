"""How a kind of job is worked on: three shapes, for three kinds of work.

A handler is a value: the kind, and plain functions of the domain.  The frame (domain.jobs.run) opens the
transactions, commits, and writes how the job ended.  A `Refusal` that a handler raises is final: the job ends
`refused`, with the refusal as its result.  Anything else is an outage: undone, kept as an error, tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from domain.jobs.kind import Job

J = TypeVar("J", bound=Job)
P = TypeVar("P")
O = TypeVar("O")  # noqa: E741 - an outcome


@dataclass(frozen=True)
class Once(Generic[J]):
    """Work of one transaction: `work(connection, job, now)`; what it returns is the job's result.

    The effect and the end of the job are one commit.
    """

    kind: type[J]
    work: Callable[[Connection, J, datetime], object]


@dataclass(frozen=True)
class Steps(Generic[J, P]):
    """Work of many transactions: `step(connection, job, progress, now)`, again and again.

    Each step's effect and the progress it returns (a msgspec.Struct, and not `start`) are one commit; a job
    whose worker died goes on from there.  The last progress is the job's result.
    """

    kind: type[J]
    start: P
    step: Callable[[Connection, J, P, datetime], tuple[P, bool]]
    """Returns the progress made, and whether there is more to do."""


@dataclass(frozen=True)
class Outside(Generic[J, P, O]):
    """Work that asks the outside world, never within a transaction.

    `read(connection, job, now)` says what to do (committed), or None when there is nothing left to do;
    `call(plan, key)` asks the outside, with `key` or one that the plan holds as its idempotency key;
    `record(connection, job, outcome, now)` writes what came of it, in the commit that ends the job.
    All three may run again after a crash or an outage, with the same key.
    """

    kind: type[J]
    read: Callable[[Connection, J, datetime], P | None]
    call: Callable[[P, str], O]
    record: Callable[[Connection, J, O, datetime], object]


Handler = Once[Any] | Steps[Any, Any] | Outside[Any, Any, Any]
