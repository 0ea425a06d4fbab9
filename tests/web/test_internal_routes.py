"""What other services' calls answer and do: contract, section 3, "Internal"."""

from decimal import Decimal
from uuid import uuid4

import pytest

from tests.support.client import INTERNAL
from tests.support.service import Service
from tests.support.shapes import assert_transaction, is_id, is_timestamp

needs_workers = pytest.mark.usefixtures("workers")

REFUND = {"userId": "anna", "amount": 2, "description": "It failed"}


async def test_the_internal_balance_counts_the_entries(service: Service) -> None:
    body = (await service.internal("GET", "/balance/anna")).ok()
    assert body == {"balance": 0, "totalEarned": 0, "totalSpent": 0, "transactionsCount": 0}
    await service.grant("anna", 10)
    await service.use("anna", 0.5)
    reply = await service.internal("GET", "/balance/anna")
    assert reply.raw == b'{"balance":9.5,"totalEarned":10,"totalSpent":0.5,"transactionsCount":2}'


async def test_a_use_by_a_service_is_a_use_of_the_person(service: Service) -> None:
    await service.grant("anna", 10)
    wanted = {"userId": "anna", "amount": 3, "appId": "sync", "description": "x", "idempotencyKey": "k"}
    body = (await service.internal("POST", "/use", wanted)).ok()
    assert set(body) == {"success", "transaction", "newBalance"}
    assert body["newBalance"] == {"balance": 7, "totalSpent": 3}
    assert_transaction(body["transaction"], userId="anna", type="usage", amount=-3, appId="sync")
    again = (await service.internal("POST", "/use", wanted)).ok()
    assert again == {
        "success": True,
        "transaction": body["transaction"],
        "message": "Transaction already processed",
    }
    too_much = await service.internal("POST", "/use", {**wanted, "amount": 8, "idempotencyKey": None})
    assert too_much.refused(402, "Insufficient credits")["details"] == {"required": 8, "available": 7}
    nobody = await service.internal("POST", "/use", {**wanted, "userId": "nobody"})
    nobody.refused(404, "User balance not found")


@needs_workers
async def test_a_refund_gives_back_what_was_spent_and_earns_nothing(service: Service) -> None:
    await service.grant("anna", 10)
    await service.use("anna", 5)
    body = (await service.internal("POST", "/refund", {**REFUND, "amount": 2.5, "metadata": {"run": 7}})).ok()
    assert set(body) == {"success", "transaction", "newBalance"}
    assert body["newBalance"] == {"balance": Decimal("7.5")}
    assert_transaction(
        body["transaction"],
        userId="anna",
        type="refund",
        amount=Decimal("2.5"),
        balanceBefore=5,
        balanceAfter=Decimal("7.5"),
        appId="system",
        description="It failed",
        metadata={"run": 7},
    )
    assert await service.figures("anna") == (Decimal("7.5"), 10, Decimal("2.5"))


@needs_workers
async def test_a_refund_names_its_app_where_the_caller_does(service: Service) -> None:
    await service.grant("anna", 10)
    body = (await service.internal("POST", "/refund", {**REFUND, "appId": "chat"})).ok()
    assert body["transaction"]["appId"] == "chat"


@needs_workers
async def test_a_refund_beyond_what_was_spent_makes_total_spent_no_less_than_zero(service: Service) -> None:
    await service.grant("anna", 10)
    await service.use("anna", 1)
    (await service.internal("POST", "/refund", {**REFUND, "amount": 5})).ok()
    assert await service.figures("anna") == (14, 10, 0)


@needs_workers
async def test_a_refund_to_somebody_without_a_balance_is_404(service: Service) -> None:
    (await service.internal("POST", "/refund", REFUND)).refused(404, "User balance not found")


async def test_a_grant_creates_the_balance_and_counts_as_earned(service: Service) -> None:
    body = (await service.grant("anna", 25, "issue-1", reason="bug-report")).ok()
    assert set(body) == {"ok", "alreadyGranted", "newBalance", "transactionId"}
    assert (body["ok"], body["alreadyGranted"], body["newBalance"]) == (True, False, 25)
    [transaction] = (await service.user("anna", "GET", "/transactions")).ok()
    assert_transaction(
        transaction,
        id=body["transactionId"],
        type="grant",
        amount=25,
        appId="community",
        description="Reward: bug-report",
        metadata={"reason": "bug-report", "referenceId": "issue-1"},
    )
    assert await service.figures("anna") == (25, 25, 0)


async def test_a_repeated_grant_answers_the_balance_after_the_first(service: Service) -> None:
    await service.grant("anna", 25, "issue-1")
    await service.use("anna", 5)
    for amount in (25, 99):
        reply = await service.grant("anna", amount, "issue-1", description="another")
        assert reply.json == {"ok": True, "alreadyGranted": True, "newBalance": 25}
    assert (await service.grant("bert", 25, "issue-1")).json["alreadyGranted"] is False
    assert (await service.grant("anna", 25, "issue-2")).json["alreadyGranted"] is False
    assert await service.figures("anna") == (45, 50, 5)


async def test_a_grant_may_have_a_description_of_its_own(service: Service) -> None:
    await service.grant("anna", 1, description="Thank you")
    [transaction] = (await service.user("anna", "GET", "/transactions")).ok()
    assert transaction["description"] == "Thank you"


async def test_init_returns_the_whole_row_new_or_existing(service: Service) -> None:
    new = (await service.internal("POST", "/init", {"userId": "anna"})).ok()
    assert set(new) == {"userId", "balance", "totalEarned", "totalSpent", "version", "createdAt", "updatedAt"}
    assert {name: new[name] for name in ("userId", "balance", "totalEarned", "totalSpent", "version")} == {
        "userId": "anna",
        "balance": 0,
        "totalEarned": 0,
        "totalSpent": 0,
        "version": 0,
    }
    assert is_timestamp(new["createdAt"])
    assert is_timestamp(new["updatedAt"])
    assert (await service.internal("POST", "/init", {"userId": "anna"})).ok() == new
    await service.grant("anna", 5)
    after = (await service.internal("POST", "/init", {"userId": "anna"})).ok()
    assert (after["balance"], after["version"], after["createdAt"]) == (5, 1, new["createdAt"])


async def test_reserved_credits_cannot_be_spent_and_are_no_entry(service: Service) -> None:
    await service.grant("anna", 10)
    body = (await service.reserve("anna", 6)).ok()
    assert set(body) - {"expiresAt"} == {"reservationId", "balance"}
    assert is_id(body["reservationId"])
    assert is_timestamp(body["expiresAt"])
    assert body["balance"] == 4
    assert await service.figures("anna") == (4, 10, 0)
    (await service.use("anna", 5)).refused(402, "Insufficient credits")
    too_much = await service.reserve("anna", 5)
    assert too_much.refused(402, "Insufficient credits")["details"] == {"required": 5, "available": 4}
    assert service.books.rows(
        "SELECT amount, reason, status::text, resolved_at,"
        " expires_at - created_at = interval '24 hours' FROM credits.reservations"
    ) == [(6, "research:run-7", "reserved", None, True)]
    assert (await service.internal("GET", "/balance/anna")).ok()["transactionsCount"] == 1


async def test_a_reservation_lives_as_long_as_its_caller_says(service: Service) -> None:
    await service.grant("anna", 10)
    for seconds in (1, 30 * 24 * 3600):
        (await service.reserve("anna", 1, expiresInSeconds=seconds)).ok()
    lives = service.books.rows(
        "SELECT extract(epoch FROM expires_at - created_at)::int FROM credits.reservations"
    )
    assert sorted(lives) == [(1,), (30 * 24 * 3600,)]


async def test_nothing_can_be_reserved_without_a_balance(service: Service) -> None:
    (await service.reserve("nobody", 1)).refused(404, "User balance not found")


@pytest.mark.parametrize(
    ("reason", "app"), [("research:run-7", "research"), ("plain", "plain"), (":x", ":x")]
)
async def test_a_commit_spends_what_was_reserved(service: Service, reason: str, app: str) -> None:
    await service.grant("anna", 10)
    reservation = (await service.reserve("anna", 6, reason=reason)).ok()["reservationId"]
    body = (await service.internal("POST", "/commit", {"reservationId": reservation})).ok()
    assert set(body) == {"success", "transactionId"}
    assert body["success"] is True
    assert await service.figures("anna") == (4, 10, 6)
    transaction = (await service.user("anna", "GET", "/transactions")).ok()[0]
    assert_transaction(
        transaction,
        id=body["transactionId"],
        type="usage",
        amount=-6,
        appId=app,
        description=reason,
        metadata={"reservationId": reservation},
    )
    assert service.books.rows("SELECT status::text, resolved_at IS NULL FROM credits.reservations") == [
        ("committed", False)
    ]
    for path, action in (("/commit", "commit"), ("/refund-reservation", "refund")):
        again = await service.internal("POST", path, {"reservationId": reservation})
        again.refused(400, f"Cannot {action} reservation in status: committed")


async def test_a_commit_may_have_a_description_of_its_own(service: Service) -> None:
    await service.grant("anna", 10)
    reservation = (await service.reserve("anna", 6)).ok()["reservationId"]
    body = {"reservationId": reservation, "description": "Deep research"}
    (await service.internal("POST", "/commit", body)).ok()
    assert (await service.user("anna", "GET", "/transactions")).ok()[0]["description"] == "Deep research"


async def test_a_refunded_reservation_gives_the_credits_back_without_an_entry(service: Service) -> None:
    await service.grant("anna", 10)
    reservation = (await service.reserve("anna", 6)).ok()["reservationId"]
    await service.use("anna", 1)
    body = (await service.internal("POST", "/refund-reservation", {"reservationId": reservation})).ok()
    assert body == {"success": True, "balance": 9}
    assert await service.figures("anna") == (9, 10, 1)
    assert len((await service.user("anna", "GET", "/transactions")).ok()) == 2
    for path, action in (("/commit", "commit"), ("/refund-reservation", "refund")):
        again = await service.internal("POST", path, {"reservationId": reservation})
        again.refused(400, f"Cannot {action} reservation in status: refunded")


@pytest.mark.parametrize("path", ["/commit", "/refund-reservation"])
async def test_a_reservation_that_is_not_there_is_404(service: Service, path: str) -> None:
    for headers in ({}, {"Idempotency-Key": "k"}):
        reply = await service.internal("POST", path, {"reservationId": str(uuid4())}, headers=headers)
        reply.refused(404, "Reservation not found")


@pytest.mark.parametrize(("path", "action"), [("/commit", "commit"), ("/refund-reservation", "refund")])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_after_its_time_a_reservation_gives_back_and_cannot_be_resolved(
    service: Service, path: str, action: str, headers: dict[str, str]
) -> None:
    await service.grant("anna", 10)
    reservation = (await service.reserve("anna", 6)).ok()["reservationId"]
    service.books.rows("UPDATE credits.reservations SET expires_at = now() - interval '1 second'")
    for _ in range(2):
        reply = await service.internal("POST", path, {"reservationId": reservation}, headers=headers)
        reply.refused(400, f"Cannot {action} reservation in status: refunded")
    assert await service.figures("anna") == (10, 10, 0)
    assert service.books.one("SELECT status::text FROM credits.reservations") == "refunded"


INTERNAL_ROUTES = [
    *(("POST", path) for path in ("/use", "/use/batch", "/refund", "/grant", "/init")),
    *(("POST", path) for path in ("/reserve", "/commit", "/refund-reservation")),
    ("GET", "/balance/anna"),
]


@pytest.mark.parametrize(("method", "path"), INTERNAL_ROUTES)
async def test_an_internal_route_asks_for_the_service_key(service: Service, method: str, path: str) -> None:
    token = service.as_user("anna")
    for headers in (
        {},
        {"X-Service-Key": ""},
        {"X-Service-Key": "dev-service-key"},
        {"X-Service-Key": "ü"},
        token,
    ):
        reply = await service.call(method, INTERNAL + path, {"userId": "anna"}, headers=headers)
        reply.refused(401, "Invalid or missing service key")
    assert service.books.one("SELECT count(*) FROM credits.balances") == 0


async def test_scripts_of_other_teams_may_write_a_balance_and_it_is_booked(service: Service) -> None:
    service.books.rows("""
        INSERT INTO credits.balances (user_id, balance, total_earned) VALUES ('dev', 10000, 10000)
        ON CONFLICT (user_id) DO UPDATE SET balance = excluded.balance, total_earned = excluded.total_earned
    """)
    (await service.use("dev", 0.5)).ok()
    assert await service.figures("dev") == (Decimal("9999.5"), 10000, Decimal("0.5"))
