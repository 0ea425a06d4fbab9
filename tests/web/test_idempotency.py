"""A key makes a request take effect once: contract, section 7, for every POST that moves credits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from multidict import CIMultiDict

from tests.support.client import INTERNAL, SERVICE_KEY, USER, Headers, Reply
from tests.support.service import Service

REUSED = "Idempotency key was used with a different request"

JOBS = ("ops.jobs",)
"""A refund is a job, and a repeat another one, which finds that all is done."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """A POST that moves credits.  `other` changes a body into another request."""

    name: str
    path: str
    body: Callable[[Service, str], Awaitable[Body]]
    other: Callable[[Body], Body]

    async def send(self, service: Service, user_id: str, body: Body, headers: Headers | None = None) -> Reply:
        means = service.as_user(user_id) if self.path.startswith(USER) else {"X-Service-Key": SERVICE_KEY}
        return await service.call("POST", self.path, body, headers={**means, **(headers or {})})

    def __str__(self) -> str:
        return self.name


async def _use(service: Service, user_id: str) -> Body:
    return {"userId": user_id, "amount": 3, "appId": "chat", "description": "x", "metadata": {"a": [1, 0.5]}}


async def _refund(service: Service, user_id: str) -> Body:
    return {"userId": user_id, "amount": 2, "description": "x"}


async def _grant(service: Service, user_id: str) -> Body:
    return {"userId": user_id, "amount": 2, "reason": "r", "referenceId": "again"}


async def _reserve(service: Service, user_id: str) -> Body:
    return {"userId": user_id, "amount": 2, "reason": "r"}


async def _reservation(service: Service, user_id: str) -> Body:
    return {"reservationId": (await service.reserve(user_id, 4)).ok()["reservationId"]}


def _more(body: Body) -> Body:
    return {**body, "amount": body["amount"] + 1}


def _described(body: Body) -> Body:
    return {**body, "description": "another"}


USE = Operation("use", f"{USER}/use", _use, _more)
INTERNAL_USE = Operation("internal use", f"{INTERNAL}/use", _use, _more)
REFUND = Operation("refund", f"{INTERNAL}/refund", _refund, _more)
GRANT = Operation("grant", f"{INTERNAL}/grant", _grant, _more)
RESERVE = Operation("reserve", f"{INTERNAL}/reserve", _reserve, _more)
COMMIT = Operation("commit", f"{INTERNAL}/commit", _reservation, _described)
REFUND_RESERVATION = Operation(
    "refund reservation", f"{INTERNAL}/refund-reservation", _reservation, _described
)

OPERATIONS = [USE, INTERNAL_USE, REFUND, GRANT, RESERVE, COMMIT, REFUND_RESERVATION]
COMPARING = [operation for operation in OPERATIONS if operation is not REFUND_RESERVATION]
"""Those whose request has something to differ in beside the reservation's id."""

pytestmark = pytest.mark.usefixtures("workers")

every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


async def _rich(service: Service, *user_ids: str) -> None:
    for user_id in user_ids:
        (await service.grant(user_id, 100)).ok()


def _effect(reply: Reply) -> Any:
    """What both answers must agree on: a repeated use says `message` in place of `newBalance`."""
    body = reply.ok()
    return body.get("transaction", body)


async def _assert_once(
    service: Service, operation: Operation, bodies: Sequence[Body], headers: Sequence[Headers]
) -> None:
    """All these requests are one, sent again and again: one effect, equal answers."""
    first = await operation.send(service, "anna", bodies[0], headers[0])
    books = service.books.everything(but=JOBS)
    for body, header in zip(bodies[1:], headers[1:], strict=True):
        assert _effect(await operation.send(service, "anna", body, header)) == _effect(first)
    assert service.books.everything(but=JOBS) == books


@every_operation
async def test_a_repeat_with_the_key_in_the_body_gets_the_first_answer(
    service: Service, operation: Operation
) -> None:
    await _rich(service, "anna")
    body = {**await operation.body(service, "anna"), "idempotencyKey": "k"}
    await _assert_once(service, operation, [body] * 3, [{}] * 3)


@every_operation
async def test_a_repeat_with_the_key_in_the_header_gets_the_first_answer(
    service: Service, operation: Operation
) -> None:
    await _rich(service, "anna")
    body = await operation.body(service, "anna")
    await _assert_once(service, operation, [body] * 3, [{"Idempotency-Key": "k"}] * 3)


@every_operation
async def test_the_key_in_the_body_wins_over_the_header(service: Service, operation: Operation) -> None:
    await _rich(service, "anna")
    body = {**await operation.body(service, "anna"), "idempotencyKey": "k"}
    headers = [{"Idempotency-Key": name} for name in ("one", "two", "three")]
    await _assert_once(service, operation, [body] * 3, headers)


@every_operation
async def test_header_and_body_name_the_same_key(service: Service, operation: Operation) -> None:
    await _rich(service, "anna")
    body = await operation.body(service, "anna")
    await _assert_once(
        service, operation, [body, {**body, "idempotencyKey": "k"}], [{"Idempotency-Key": "k"}, {}]
    )


@pytest.mark.parametrize("operation", COMPARING, ids=str)
async def test_the_same_key_with_another_request_is_422_and_does_nothing(
    service: Service, operation: Operation
) -> None:
    await _rich(service, "anna")
    body = {**await operation.body(service, "anna"), "idempotencyKey": "k"}
    (await operation.send(service, "anna", body)).ok()
    books = service.books.everything(but=JOBS)
    (await operation.send(service, "anna", operation.other(body))).refused(422, REUSED)
    assert service.books.everything(but=JOBS) == books


@pytest.mark.parametrize("operation", [COMMIT, REFUND_RESERVATION], ids=str)
async def test_the_same_key_for_another_reservation_is_422(service: Service, operation: Operation) -> None:
    await _rich(service, "anna")
    first, second = [{**await operation.body(service, "anna"), "idempotencyKey": "k"} for _ in range(2)]
    (await operation.send(service, "anna", first)).ok()
    (await operation.send(service, "anna", second)).refused(422, REUSED)


@pytest.mark.parametrize("operation", [USE, REFUND, GRANT, RESERVE], ids=str)
async def test_an_amount_written_in_another_way_is_the_same_request(
    service: Service, operation: Operation
) -> None:
    await _rich(service, "anna")
    body = {**await operation.body(service, "anna"), "idempotencyKey": "k"}
    await _assert_once(service, operation, [body, {**body, "amount": float(body["amount"])}], [{}] * 2)


@every_operation
async def test_another_persons_equal_key_is_another_key(service: Service, operation: Operation) -> None:
    await _rich(service, "anna", "bert")
    effects = [
        _effect(
            await operation.send(
                service, user_id, {**await operation.body(service, user_id), "idempotencyKey": "k"}
            )
        )
        for user_id in ("anna", "bert")
    ]
    if operation is not REFUND_RESERVATION:  # its answer says the balance alone
        assert effects[0] != effects[1]
    assert await service.figures("anna") == await service.figures("bert")


async def test_each_operation_has_keys_of_its_own(service: Service) -> None:
    await _rich(service, "anna")
    for operation in (USE, REFUND, GRANT, RESERVE, COMMIT, REFUND_RESERVATION):
        body = await operation.body(service, "anna")
        (await operation.send(service, "anna", {**body, "idempotencyKey": "k"})).ok()
    # 100 granted, 3 used, 2 refunded, 2 granted, 2 reserved, 4 committed, 4 reserved and put back
    assert await service.figures("anna") == (95, 102, 5)


async def test_a_person_and_a_service_spending_with_one_key_spend_once(service: Service) -> None:
    await _rich(service, "anna")
    body = {**await _use(service, "anna"), "idempotencyKey": "k"}
    first = await USE.send(service, "anna", body)
    assert _effect(await INTERNAL_USE.send(service, "anna", body)) == _effect(first)


@pytest.mark.parametrize("operation", [USE, INTERNAL_USE, RESERVE], ids=str)
async def test_a_key_whose_request_was_refused_for_want_of_credits_is_free(
    service: Service, operation: Operation
) -> None:
    await service.grant("anna", 1)
    body = {**await operation.body(service, "anna"), "idempotencyKey": "k"}
    (await operation.send(service, "anna", body)).refused(402, "Insufficient credits")
    smaller = {**body, "amount": 1}
    (await operation.send(service, "anna", smaller)).ok()
    (await operation.send(service, "anna", body)).refused(422, REUSED)


@pytest.mark.parametrize("operation", [USE, INTERNAL_USE, REFUND, RESERVE], ids=str)
async def test_a_key_whose_request_was_refused_for_want_of_a_balance_is_free(
    service: Service, operation: Operation
) -> None:
    body = {**await operation.body(service, "anna"), "idempotencyKey": "k"}
    (await operation.send(service, "anna", body)).refused(404, "User balance not found")
    await _rich(service, "anna")
    (await operation.send(service, "anna", body)).ok()


@pytest.mark.parametrize("operation", [COMMIT, REFUND_RESERVATION], ids=str)
async def test_a_key_whose_reservation_was_resolved_otherwise_is_free(
    service: Service, operation: Operation
) -> None:
    await _rich(service, "anna")
    gone, good = await _reservation(service, "anna"), await _reservation(service, "anna")
    await (REFUND_RESERVATION if operation is COMMIT else COMMIT).send(service, "anna", gone)
    assert (await operation.send(service, "anna", {**gone, "idempotencyKey": "k"})).status == 400
    (await operation.send(service, "anna", {**good, "idempotencyKey": "k"})).ok()


async def test_a_request_that_was_malformed_leaves_its_key_free(service: Service) -> None:
    await _rich(service, "anna")
    assert (await service.use("anna", -1, idempotencyKey="k")).status == 400
    (await service.use("anna", 1, idempotencyKey="k")).ok()


@every_operation
async def test_eight_equal_keys_at_once_have_one_effect_and_equal_answers(
    service: Service, operation: Operation
) -> None:
    await _rich(service, "anna")
    body = {**await operation.body(service, "anna"), "idempotencyKey": "k"}
    replies = await asyncio.gather(*[operation.send(service, "anna", body) for _ in range(8)])
    assert len({str(_effect(reply)) for reply in replies}) == 1
    changed = service.books.one("SELECT version FROM credits.balances")
    assert changed == (3 if operation in (COMMIT, REFUND_RESERVATION) else 2)


@pytest.mark.parametrize("key", ["", " " * 256, "x" * 256, "a\tb"])
async def test_a_malformed_key_in_the_header_is_400_and_named(service: Service, key: str) -> None:
    await _rich(service, "anna")
    reply = await service.use("anna", 1, headers={"Idempotency-Key": key})
    if key.strip():
        details = reply.refused(400, "Invalid request")["details"]
        assert [detail["field"] for detail in details] == ["idempotencyKey"]
    else:  # HTTP strips the spaces around a value
        assert reply.status == 400


SAME_NUMBER = [{"a": 5}, {"a": 5.0}, {"a": 5e0}]
OTHER_VALUES = [{"a": True}, {"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": [1]}, {"a": None}, {}, None]


def _spending(metadata: object) -> Body:
    return {"amount": 1, "appId": "chat", "description": "x", "metadata": metadata, "idempotencyKey": "k"}


def _package(metadata: object) -> Body:
    return {"name": "x", "credits": 1, "priceEuroCents": 100, "metadata": metadata, "idempotencyKey": "k"}


@pytest.mark.parametrize(("path", "body"), [(f"{USER}/use", _spending), ("/api/v1/admin/packages", _package)])
async def test_metadata_are_the_same_when_they_are_one_json_value_and_only_then(
    service: Service, path: str, body: Callable[[object], Body]
) -> None:
    """The one is compared by the ledger, the other by a digest."""

    async def send(user_id: str, metadata: object) -> Reply:
        token = service.auth.mint(user_id, role="admin")
        return await service.call("POST", path, body(metadata), headers={"Authorization": f"Bearer {token}"})

    for user_id in ("anna", *(f"user-{number}" for number in range(len(OTHER_VALUES)))):
        await _rich(service, user_id)
    assert {(await send("anna", metadata)).status for metadata in SAME_NUMBER} <= {200, 201}
    for number, first in enumerate(OTHER_VALUES):
        user_id = f"user-{number}"
        assert (await send(user_id, first)).status in (200, 201)
        for other in OTHER_VALUES[:number] + OTHER_VALUES[number + 1 :]:
            (await send(user_id, other)).refused(422, REUSED)


async def test_of_two_keys_in_headers_neither_is_chosen(service: Service) -> None:
    await _rich(service, "anna")
    headers = CIMultiDict(
        [*service.as_user("anna").items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    )
    body = {"amount": 1, "appId": "chat", "description": "x"}
    reply = await service.call("POST", f"{USER}/use", body, headers=headers)
    assert [one["field"] for one in reply.refused(400, "Invalid request")["details"]] == ["idempotencyKey"]
    assert await service.figures("anna") == (100, 100, 0)


@pytest.mark.parametrize("key", ["x" * 255, "ü", "with space", "a/b?c=%00", "🎁", "{}'\"\\"])
async def test_a_key_is_opaque_text(service: Service, key: str) -> None:
    await _rich(service, "anna")
    transaction = (await service.use("anna", 1, idempotencyKey=key)).ok()["transaction"]
    assert transaction["idempotencyKey"] == key
    assert (await service.use("anna", 1, idempotencyKey=key)).ok()["transaction"] == transaction
    await service.use("anna", 1, headers={"Idempotency-Key": key})
    assert await service.figures("anna") == (99, 100, 1)
