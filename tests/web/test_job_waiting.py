"""Job-shaped endpoints: their callers wait, but only so long; what was accepted can be looked at by its id."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from domain.settings import read_settings
from tests.support.client import SERVICE_KEY, Reply
from tests.support.jobs import engine_on, run_waiting
from tests.support.service import Service
from tests.support.shapes import is_timestamp
from workers.actors import all_handlers
from workers.parts import Parts

JOBS = "/api/v1/internal/jobs"
REFUND = {"userId": "anna", "amount": 2, "description": "It failed"}


async def refund(service: Service, prefer: str | None = None, **body: Any) -> Reply:
    headers = {} if prefer is None else {"Prefer": prefer}
    return await service.internal("POST", "/refund", {**REFUND, **body}, headers=headers)


async def look(service: Service, path: str) -> Reply:
    return await service.call("GET", path, headers={"X-Service-Key": SERVICE_KEY})


def work(service: Service) -> None:
    """Do the jobs that wait, once."""
    with engine_on(service.books.url, pool_size=2) as engine:
        handlers = all_handlers(Parts(read_settings({"ENV": "development"}), engine))
        run_waiting(engine, handlers, lambda: datetime.now(UTC))


@pytest.mark.parametrize(
    ("prefer", "least", "most"),
    [
        ("wait=1", 1.0, 2.5),
        ("respond-async, wait=1", 1.0, 2.5),
        ("wait=0", 0.0, 0.9),
        ("respond-async", 0.0, 0.9),
        ("handling=lenient; wait=0", 0.0, 0.9),
    ],
)
async def test_a_caller_waits_as_long_as_it_prefers_and_hears_where_to_look(
    service: Service, prefer: str, least: float, most: float
) -> None:
    await service.grant("anna", 10)
    began = time.monotonic()
    reply = await refund(service, prefer)
    took = time.monotonic() - began
    job_id = service.books.one("SELECT id FROM ops.jobs")
    assert (reply.status, reply.json) == (
        202,
        {"success": True, "status": "pending", "jobId": str(job_id)},
    )
    assert reply.headers["Location"] == f"{JOBS}/{job_id}"
    assert least <= took <= most


async def test_without_a_wish_a_caller_waits_until_the_job_is_done(service: Service) -> None:
    await service.grant("anna", 10)
    waiting = asyncio.ensure_future(refund(service))
    await asyncio.sleep(1.5)
    assert not waiting.done()
    await asyncio.to_thread(work, service)
    assert (await waiting).ok()["newBalance"] == {"balance": 12}


async def test_what_was_accepted_is_read_by_its_id_before_and_after_it_is_done(service: Service) -> None:
    await service.grant("anna", 10)
    place = (await refund(service, "respond-async")).headers["Location"]
    before = (await look(service, place)).ok()
    assert (before["status"], before["finishedAt"], before["result"], before["error"]) == (
        "waiting",
        None,
        None,
        None,
    )
    await asyncio.to_thread(work, service)
    after = (await look(service, place)).ok()
    assert (after["id"], after["kind"], after["status"]) == (before["id"], "refund_credits", "done")
    assert is_timestamp(after["finishedAt"])
    [entry] = (await service.user("anna", "GET", "/transactions?limit=1")).ok()
    assert after["result"] == {"success": True, "transaction": entry, "newBalance": {"balance": 12}}


async def test_a_refused_job_shows_the_error_that_its_caller_would_have_got(service: Service) -> None:
    accepted = await refund(service, "respond-async")
    await asyncio.to_thread(work, service)
    found = (await look(service, accepted.headers["Location"])).ok()
    assert (found["status"], found["result"]) == ("refused", None)
    assert (found["error"]["statusCode"], found["error"]["message"]) == (404, "User balance not found")


async def test_a_job_that_is_not_there_is_a_404_and_others_may_not_look(service: Service) -> None:
    assert (await look(service, f"{JOBS}/{uuid4()}")).status == 404
    malformed = await look(service, f"{JOBS}/seven")
    assert malformed.refused(400, "Invalid request")["details"][0]["field"] == "jobId"
    accepted = await refund(service, "respond-async")
    stranger = await service.call("GET", accepted.headers["Location"], headers=service.as_user("anna"))
    stranger.refused(401, "Invalid or missing service key")


async def test_two_callers_with_one_key_who_wait_get_one_refund_and_one_answer(service: Service) -> None:
    await service.grant("anna", 10)
    waiting = asyncio.gather(*[refund(service, idempotencyKey="k") for _ in range(5)])
    await asyncio.sleep(0.3)
    await asyncio.to_thread(work, service)
    replies = await waiting
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["transaction"]["id"] for reply in replies}) == 1
    assert await service.figures("anna") == (12, 10, 0)


async def test_looking_goes_on_after_a_moment_in_which_there_was_no_room_to_look(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.grant("anna", 10)
    waiting = asyncio.ensure_future(refund(service, "wait=20"))
    while not service.books.one("SELECT count(*) FROM ops.jobs"):
        await asyncio.sleep(0.02)
    with monkeypatch.context() as patched:
        patched.setattr("web.bridge.RUNS_WAITING_MAX", 0)
        await asyncio.sleep(0.4)
    await asyncio.to_thread(work, service)
    async with asyncio.timeout(5):
        assert (await waiting).status == 200
