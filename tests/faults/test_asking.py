"""What a client of the rig knows after what it was told."""

from __future__ import annotations

import time

import pytest
from aiohttp import web

from simulators import serving
from simulators.auth import AuthSimulator
from tests.faults.rig.asking import Town, out_of_order, plain_session
from tests.faults.rig.records import Record, Told
from tests.support.client import Client
from tests.support.service import new_session


async def told(
    statuses: list[int], *, is_keyed: bool, says_when: bool = True, is_clock_set: bool = False
) -> tuple[Record, list[str]]:
    """Ask a service that answers with these, one after the other; the record, and the defects."""
    left = iter(statuses)

    async def answer(_: web.Request) -> web.Response:
        if is_clock_set:
            with town.setting_the_clock(3600.0):
                pass
        return web.json_response({}, status=next(left), headers={"Retry-After": "1"} if says_when else {})

    app = web.Application()
    app.router.add_post("/use", answer)
    async with serving.in_this_loop(app) as url, new_session() as session:
        auth = AuthSimulator()
        town = Town({"web-1": Client(url, session, auth)}, auth, time.monotonic() + 5)
        record = await town.ask("use", "POST", "/use", {}, user_id="anna", is_keyed=is_keyed)
    return record, town.records.defects


@pytest.mark.parametrize(
    ("statuses", "is_keyed", "expected"),
    [
        ([200], True, Told.OK),
        ([202], True, Told.ACCEPTED),
        ([402], True, Told.REFUSED),
        ([503, 502, 200], True, Told.OK),
        ([503], False, Told.UNKNOWN),
        # The first try may have come too late for the second to see, and in time to spend what there is then.
        ([503, 402], True, Told.UNKNOWN),
    ],
)
async def test_what_is_known_follows_from_every_try(
    statuses: list[int], is_keyed: bool, expected: Told
) -> None:
    record, defects = await told(statuses, is_keyed=is_keyed)
    assert record.told is expected
    assert record.tries == [str(status) for status in statuses]
    assert not defects


@pytest.mark.parametrize("status", [409, 422, 401])
async def test_what_no_client_may_be_told_is_a_defect(status: int) -> None:
    _, defects = await told([status], is_keyed=True)
    assert str(status) in defects[0]


async def test_an_error_of_the_service_is_a_defect_and_says_nothing() -> None:
    record, defects = await told([500, 200], is_keyed=True)
    assert record.told is Told.OK
    assert "500" in defects[0]


async def test_a_503_that_does_not_say_when_to_come_again_is_a_defect() -> None:
    _, defects = await told([503, 200], is_keyed=True, says_when=False)
    assert "Retry-After" in defects[0]


async def test_a_token_of_before_the_clock_was_set_may_be_refused() -> None:
    record, defects = await told([401], is_keyed=False, is_clock_set=True)
    assert (record.told, defects) == (Told.UNKNOWN, [])


def test_entries_that_are_listed_out_of_order_are_found() -> None:
    first, second, third = (
        {"id": str(number), "userId": "anna", "balanceBefore": 9 - number, "balanceAfter": 8 - number}
        for number in range(3)
    )
    assert out_of_order([third, second, first]) == []
    assert len(out_of_order([second, third, first])) == 2


async def test_what_is_sent_again_is_known_to_have_been_sent() -> None:
    """A cancellation that was done, and whose connection broke, was told to have been refused."""
    served: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        served.append(request.method)
        if len(served) == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/gift", answer)
    async with serving.in_this_loop(app) as url, plain_session() as session:
        auth = AuthSimulator()
        town = Town({"web-1": Client(url, session, auth)}, auth, time.monotonic() + 5)
        await town.ask("look", "GET", "/gift", user_id="anna")
        record = await town.ask("cancel", "DELETE", "/gift", user_id="anna")
    assert (record.told, len(record.tries), served) == (Told.UNKNOWN, 1, ["GET", "DELETE"])
