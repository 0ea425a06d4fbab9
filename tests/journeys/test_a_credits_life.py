"""One person's credits, from the first to the last, over all the doors."""

from datetime import UTC, datetime

import pytest

from domain import usage_stats
from domain.database import transaction
from tests.support.jobs import engine_on
from tests.support.service import Service


@pytest.mark.usefixtures("workers")
async def test_a_credit_is_granted_reserved_spent_refunded_and_all_figures_agree(service: Service) -> None:
    created = (await service.internal("POST", "/init", {"userId": "anna"})).ok()
    assert created["version"] == 0
    (await service.grant("anna", 100, "welcome")).ok()
    (await service.use("anna", 0.1, appId="chat", idempotencyKey="message-1")).ok()
    (await service.use("anna", 0.2, appId="chat")).ok()
    (await service.use("anna", 0.1, appId="chat", idempotencyKey="message-1")).ok()
    kept = (await service.reserve("anna", 30, reason="research:run-1")).ok()["reservationId"]
    dropped = (await service.reserve("anna", 20, reason="research:run-2")).ok()["reservationId"]
    assert (await service.figures("anna"))[0] * 10 == 497
    (await service.use("anna", 50)).refused(402, "Insufficient credits")
    (await service.internal("POST", "/commit", {"reservationId": kept})).ok()
    (await service.internal("POST", "/refund-reservation", {"reservationId": dropped})).ok()
    refund = {"userId": "anna", "amount": 0.2, "description": "It failed", "appId": "chat"}
    (await service.internal("POST", "/refund", refund)).ok()

    reply = await service.internal("GET", "/balance/anna")
    assert reply.raw == b'{"balance":69.9,"totalEarned":100,"totalSpent":30.1,"transactionsCount":5}'
    entries = (await service.user("anna", "GET", "/transactions")).ok()
    told = [
        (entry["type"], entry["appId"], str(entry["amount"]), str(entry["balanceAfter"])) for entry in entries
    ]
    assert told == [
        ("refund", "chat", "0.2", "69.9"),
        ("usage", "research", "-30", "49.7"),
        ("usage", "chat", "-0.2", "99.7"),
        ("usage", "chat", "-0.1", "99.9"),
        ("grant", "community", "100", "100"),
    ]
    with engine_on(service.books.url) as engine, transaction(engine) as connection:
        usage_stats.roll_up(connection)
    assert service.books.rows(
        "SELECT app_id, credits_used::text, date FROM credits.usage_stats WHERE user_id = 'anna' ORDER BY 1"
    ) == [("chat", "0.300", _today()), ("research", "30.000", _today())]


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
