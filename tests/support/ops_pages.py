"""The operators' pages under test: who may sign in, forms as a browser sends them, rows to look at."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import aiohttp
from argon2 import PasswordHasher
from sqlalchemy import Connection

from domain.database import transaction
from domain.jobs import Job, Queue, add_job
from domain.tables import jobs
from tests.support.jobs import engine_on
from tests.support.service import Service

PASSWORD = "correct horse battery staple"


def quick_hash(password: str) -> str:
    """A hash that is verified within a millisecond: a real one takes a tenth of a second, on purpose."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


_HASH = quick_hash(PASSWORD)
LOGINS = {"OPS_USERS": f"anna:operator:{_HASH},vera:viewer:{_HASH}"}


class Sample(Job, frozen=True, kw_only=True):
    """A job that no worker knows."""

    kind: ClassVar[str] = "sample"
    queue: ClassVar[Queue] = Queue.UPKEEP
    note: str = ""


@dataclass
class Browser:
    """A browser without its window: cookies, pages, forms."""

    service: Service
    session: aiohttp.ClientSession = field(
        default_factory=lambda: aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
    )

    async def get(
        self, path: str, *, headers: Mapping[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, str]:
        async with self.session.get(
            self.service.url + path, headers=headers, allow_redirects=False
        ) as answer:
            return answer, await answer.text()

    async def post(
        self, path: str, *, headers: Any = None, **form: str
    ) -> tuple[aiohttp.ClientResponse, str]:
        url = self.service.url + path
        async with self.session.post(url, data=form, headers=headers, allow_redirects=False) as answer:
            return answer, await answer.text()

    async def sign_in(self, name: str = "anna") -> None:
        answer, text = await self.post("/ops/sign-in", name=name, password=PASSWORD)
        assert answer.status == 303, text

    async def csrf(self) -> str:
        _, text = await self.get("/ops/people")
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
        assert found is not None
        return found[1]


def in_database(database_url: str, work: Callable[[Connection], Any]) -> Any:
    """Do something in a transaction of its own."""
    with engine_on(database_url, pool_size=1) as engine, transaction(engine) as connection:
        return work(connection)


def failed_job(database_url: str, *, note: str = "", error: str = "RuntimeError: broken") -> UUID:
    """A job that failed an hour ago."""
    at = datetime.now(UTC) - timedelta(hours=1)

    def work(connection: Connection) -> UUID:
        job_id = add_job(connection, Sample(note=note), now=at, user_id="sam")
        ended = {
            "state": "failed",
            "finished_at": at,
            "attempts": 3,
            "attempts_ended": 3,
            "last_error": error,
        }
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(**ended))
        return job_id

    found: UUID = in_database(database_url, work)
    return found
