"""The Python client against the real service: keys, retries, reservations, refusals, and a network that is cut."""

import asyncio
import json
import logging
from decimal import Decimal
from typing import Any

import httpx
import pytest

from devkit import ports
from mana_credits_client import (
    AsyncCreditsClient,
    BadRequest,
    CreditsClient,
    IdempotencyKeyReused,
    InsufficientCredits,
    NotAuthenticated,
    Patience,
    Refused,
    ReservationNotOpen,
    Unconfirmed,
    WhenOffline,
)
from tests.clients.conftest import mended_after_a_loss
from tests.clients.saying import saying
from tests.faults.rig.proxy import Link, Trouble
from tests.support.client import SERVICE_KEY
from tests.support.service import Service

QUICK = Patience(timeout_seconds=4, first_pause_seconds=0.02, deadline_seconds=10)
IMPATIENT = Patience(timeout_seconds=0.3, first_pause_seconds=0.02, deadline_seconds=0.6)


def client_of(url: str, **options: Any) -> AsyncCreditsClient:
    return AsyncCreditsClient(url, service_key=SERVICE_KEY, app_id="chat", **{"patience": QUICK, **options})


def uses_of(service: Service, user_id: str) -> Any:
    return service.books.one(
        f"SELECT count(*) FROM credits.transactions WHERE user_id = '{user_id}' AND type = 'usage'"
    )


async def test_what_a_person_has_spends_and_gets_back(service: Service, workers: None) -> None:
    async with client_of(service.url) as client:
        assert (await client.open_balance("anna/ä")).balance == 0
        assert not (await client.grant("anna/ä", 20, "bug-report", "issue-42")).was_granted_before
        assert (await client.grant("anna/ä", 20, "bug-report", "issue-42")).was_granted_before
        used = await client.use("anna/ä", Decimal("2.1"), "AI message", metadata={"model": "small"})
        assert used.transaction is not None
        assert (used.transaction.amount, used.transaction.balance_after) == (Decimal("-2.1"), Decimal("17.9"))
        assert (used.transaction.app_id, used.transaction.metadata) == ("chat", {"model": "small"})
        refund = await client.refund("anna/ä", Decimal("0.1"), "The model did not answer")
        assert refund.transaction is not None
        assert (await client.balance("anna/ä")).balance == 18


@pytest.mark.parametrize("trouble", [Trouble.CUT, Trouble.HALF_OPEN])
async def test_a_use_whose_answer_is_lost_is_paid_once(
    service: Service, link: Link, trouble: Trouble
) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(trouble)
    async with client_of(f"http://127.0.0.1:{link.port}") as client:
        used, _ = await asyncio.gather(client.use("anna", 5, "AI message"), mended_after_a_loss(link))
    assert used.was_done_before
    assert used.transaction is not None
    assert used.transaction.key == used.key
    assert uses_of(service, "anna") == 1


async def test_the_synchronous_client_pays_a_lost_answer_once_too(service: Service, link: Link) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(Trouble.CUT)

    def spend() -> bool:
        url = f"http://127.0.0.1:{link.port}"
        with CreditsClient(url, service_key=SERVICE_KEY, app_id="chat", patience=QUICK) as client:
            was_done_before = client.use("anna", 5, "AI message").was_done_before
            with client.reserve("anna", 10, "research:run-7"):
                pass
            with pytest.raises(KeyError), client.reserve("anna", 5, "research:run-8"):
                raise KeyError
            with pytest.raises(InsufficientCredits):
                client.use("anna", 6, "AI message")
            return was_done_before

    was_done_before, _ = await asyncio.gather(asyncio.to_thread(spend), mended_after_a_loss(link))
    assert was_done_before
    assert uses_of(service, "anna") == 2
    assert await service.figures("anna") == (5, 20, 15)


async def test_a_reserve_whose_answer_is_lost_sets_aside_once(service: Service, link: Link) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(Trouble.CUT)

    async with client_of(f"http://127.0.0.1:{link.port}") as client:
        hold, _ = await asyncio.gather(
            client.reserve("anna", 5, "research:run-7")._made(), mended_after_a_loss(link)
        )
        assert hold.reservation.balance == 15
        await hold.put_back()
    assert service.books.one("SELECT count(*) FROM credits.reservations") == 1
    assert await service.figures("anna") == (20, 20, 0)


async def test_without_an_answer_a_use_raises_and_its_key_finishes_it_later(
    service: Service, link: Link
) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(Trouble.HALF_OPEN)
    async with client_of(f"http://127.0.0.1:{link.port}", patience=IMPATIENT) as client:
        with pytest.raises(Unconfirmed) as raised:
            await client.use("anna", 5, "AI message")
        assert raised.value.may_have_taken_effect
        assert raised.value.attempts >= 1
        link.heal()
        later = await client.use("anna", 5, "AI message", key=raised.value.key)
    assert later.was_done_before
    assert uses_of(service, "anna") == 1


async def test_offline_a_use_is_refused_unless_the_app_lets_it_through() -> None:
    nobody = f"http://127.0.0.1:{ports.choose()}"
    async with client_of(nobody, patience=IMPATIENT) as client:
        with pytest.raises(Unconfirmed) as raised:
            await client.use("anna", 5, "AI message")
        assert not raised.value.may_have_taken_effect
    async with client_of(nobody, patience=IMPATIENT, when_offline=WhenOffline.LET_THROUGH) as client:
        used = await client.use("anna", 5, "AI message", key="message-7")
        assert (used.confirmed, used.transaction, used.key) == (False, None, "message-7")
        with pytest.raises(Unconfirmed):
            await client.reserve("anna", 5, "research:run-7")


async def test_who_lets_through_what_is_lost_does_not_let_through_what_is_refused(service: Service) -> None:
    async with client_of(service.url, when_offline=WhenOffline.LET_THROUGH) as client:
        await client.open_balance("anna")
        with pytest.raises(InsufficientCredits):
            await client.use("anna", 5, "AI message")


async def test_a_block_commits_or_puts_back(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    async with client_of(service.url) as client:
        async with client.reserve("anna", 5, "research:run-7") as hold:
            assert hold.reservation.balance == 15
        assert await service.figures("anna") == (15, 20, 5)
        with pytest.raises(RuntimeError, match="model"):
            async with client.reserve("anna", 5, "research:run-8"):
                raise RuntimeError("the model did not answer")
        assert await service.figures("anna") == (15, 20, 5)
        async with client.reserve("anna", 5, "research:run-9") as hold:
            await hold.put_back()
        assert await service.figures("anna") == (15, 20, 5)


async def test_a_cancelled_block_puts_back(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    inside = asyncio.Event()

    async def work(client: AsyncCreditsClient) -> None:
        async with client.reserve("anna", 5, "research:run-7"):
            inside.set()
            await asyncio.Event().wait()

    async with client_of(service.url) as client:
        task = asyncio.create_task(work(client))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await service.figures("anna") == (20, 20, 0)


async def test_a_commit_repeated_is_the_same_and_an_ended_reservation_is_refused(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    async with client_of(service.url) as client:
        hold = await client.reserve("anna", 5, "research:run-7")
        first = await hold.commit()
        assert await client.commit(hold.reservation.id) == first
        with pytest.raises(ReservationNotOpen):
            await hold.put_back()


async def test_refusals_are_of_their_own_kind_and_have_their_facts(service: Service) -> None:
    (await service.grant("anna", 2)).ok()
    async with client_of(service.url) as client:
        with pytest.raises(InsufficientCredits) as poor:
            await client.use("anna", Decimal("2.5"), "AI message")
        assert (poor.value.required, poor.value.available) == (Decimal("2.5"), Decimal(2))
        assert poor.value.request_id
        await client.use("anna", 1, "AI message", key="message-7")
        with pytest.raises(IdempotencyKeyReused):
            await client.use("anna", 1, "another message", key="message-7")
        with pytest.raises(BadRequest) as bad:
            await client.use("anna", -1, "AI message")
        assert bad.value.details[0]["field"] == "amount"
    stranger = AsyncCreditsClient(service.url, service_key="another", app_id="chat")
    async with stranger as client:
        with pytest.raises(NotAuthenticated):
            await client.balance("anna")


@pytest.mark.parametrize(
    ("amount", "error"),
    [(0.1, TypeError), (True, TypeError), (Decimal("0.0001"), ValueError), (Decimal("NaN"), ValueError)],
)
async def test_an_amount_that_json_would_change_is_not_sent(amount: Any, error: type[Exception]) -> None:
    async with client_of("http://127.0.0.1:1") as client:
        with pytest.raises(error):
            await client.use("anna", amount, "AI message")


BUSY = '{"statusCode":503,"message":"Too many requests are waiting","code":"overloaded"}'
HAS = '{"balance":1.5,"totalEarned":2,"totalSpent":0.5}'


async def test_a_busy_service_is_asked_again_after_the_time_that_it_names() -> None:
    async with saying((503, BUSY, {"Retry-After": "1"}), (200, HAS, {})) as server:
        async with client_of(server.url) as client:
            began = asyncio.get_running_loop().time()
            assert (await client.balance("anna")).balance == Decimal("1.5")
        assert asyncio.get_running_loop().time() - began >= 1
        assert len(server.heard) == 2


async def test_who_has_no_time_for_retry_after_is_told_at_once() -> None:
    async with (
        saying((503, BUSY, {"Retry-After": "3600"})) as server,
        client_of(server.url) as client,
    ):
        with pytest.raises(Unconfirmed, match="503"):
            await client.use("anna", 1, "AI message")
        assert len(server.heard) == 1


async def test_all_attempts_of_a_call_have_one_key_and_other_calls_have_others() -> None:
    async with (
        saying((502, "", {}), (502, "", {}), (402, "{}", {})) as server,
        client_of(server.url) as client,
    ):
        for _ in range(2):
            with pytest.raises(Refused):
                await client.use("anna", 1, "AI message")
        keys = [json.loads(heard)["idempotencyKey"] for heard in server.heard]
    assert len(keys) == 4
    assert len(set(keys)) == 2
    assert len(set(keys[:3])) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_not_let_in_after_a_lost_answer_may_have_paid(status: int) -> None:
    async with saying((502, "", {}), (status, "{}", {})) as server, client_of(server.url) as client:
        with pytest.raises(Unconfirmed, match=str(status)) as thrown:
            await client.use("anna", 1, "AI message")
        assert thrown.value.may_have_taken_effect
        assert thrown.value.key == json.loads(server.heard[0])["idempotencyKey"]
        assert len(server.heard) == 2
    async with saying((429, "", {}), (status, "{}", {})) as server, client_of(server.url) as client:
        with pytest.raises(Refused):
            await client.use("anna", 1, "AI message")


async def test_a_defect_is_tried_once_more() -> None:
    async with saying((500, "{}", {})) as server, client_of(server.url) as client:
        with pytest.raises(Unconfirmed):
            await client.use("anna", 1, "AI message")
        assert len(server.heard) == 2


@pytest.mark.parametrize("answer", [(200, "<html>", {}), (200, "{}", {}), (302, "", {"Location": "/"})])
async def test_what_is_not_the_service_confirms_nothing(answer: tuple[int, str, dict[str, str]]) -> None:
    async with saying(answer) as server, client_of(server.url) as client:
        with pytest.raises(Unconfirmed, match="not the credit service"):
            await client.use("anna", 1, "AI message")


async def test_no_text_of_the_client_shows_the_service_key(
    service: Service, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    link.spoil(Trouble.REFUSE)
    client = client_of(f"http://127.0.0.1:{link.port}", patience=IMPATIENT)
    async with client:
        with pytest.raises(Unconfirmed) as raised:
            await client.use("anna", 1, "AI message")
    assert "attempt 2 follows" in caplog.text
    cause = raised.value.__cause__
    assert isinstance(cause, httpx.RequestError)
    for text in (caplog.text, repr(client), repr(client._options), repr(raised.value), repr(cause)):
        assert SERVICE_KEY not in text
    with pytest.raises(ValueError, match="service_key") as unfit:
        AsyncCreditsClient("http://localhost", service_key="top-secret\n", app_id="chat")
    assert "top-secret" not in str(unfit.value)
