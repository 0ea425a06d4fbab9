"""How fast deductions are, as operators see it: of deductions alone, and of each once."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from tests.support.client import Reply
from tests.support.service import Service
from web.frame import Frame
from web.operators.latency import deduction_latency, deductions_answered_within
from web.operators.speed import ALL, SpeedSampler


async def admins_overview(service: Service) -> Reply:
    headers = {"Authorization": f"Bearer {service.auth.mint('boss', role='admin')}"}
    return await service.call("GET", "/api/v1/admin/overview", headers=headers)


async def test_the_overview_counts_deductions_that_were_made(service: Service) -> None:
    (await service.grant("anna", 10)).ok()
    before = (await admins_overview(service)).ok()["latency"]["count"]
    for _ in range(3):
        (await service.use("anna", 1)).ok()
    assert (await service.use("anna", 100)).status == 402
    latency = (await admins_overview(service)).ok()["latency"]
    assert latency["count"] - before == 3
    assert 0 < latency["p50Ms"] <= latency["p95Ms"] <= latency["p99Ms"]


async def test_they_are_of_deductions_alone_of_this_process_whatever_else_is_answered() -> None:
    for frame in (Frame(()), Frame(())):  # to the second, the first one's are those of a process before it
        began = SpeedSampler(frame)
        await answer(frame, "/api/v1/credits/use", 200, 200, 402)
        await answer(frame, "/api/v1/internal/credits/use", 200)
        await answer(frame, "/health", 200, 200)
        found = deductions_answered_within(frame)
        assert (found[10], found[ALL]) == (4, 4)
        assert deduction_latency(frame).count == 3
        assert began.speed().answered == 4


async def answer(frame: Frame, route: str, *statuses: int) -> None:
    """Requests that are answered with these, one after the other."""
    rest = iter(statuses)

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=next(rest))

    framed = frame.around(handler, route)
    for _ in statuses:
        await framed(make_mocked_request("POST", route))
