"""What the process writes holds no secrets, no tokens and nothing of people's."""

import asyncio
from pathlib import Path

import pytest

from simulators.auth import AuthSimulator
from tests.support.books import Books
from tests.support.client import SERVICE_KEY, USER, Client
from tests.support.process import running_process
from tests.support.service import environment, new_session

ADDRESS = "anna.personal@example.org"
WORDS = "poison of the private kind"


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_the_log_of_a_journey_with_errors_holds_no_secret_and_nothing_personal(
    database_url: str, redis_url: str, tmp_path: Path, log_format: str
) -> None:
    books = Books(database_url)
    # Somebody's text that the database itself refuses: an error whose message quotes the whole row.
    books.rows("ALTER TABLE credits.transactions ADD CHECK (description NOT LIKE 'poison%%')")
    log = tmp_path / "web.log"
    async with AuthSimulator().running() as auth, new_session() as session:
        variables = environment(database_url=database_url, redis_url=redis_url, auth_url=auth.url)
        variables |= {
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": log_format,
            "STRIPE_SECRET_KEY": "sk_test_of_the_logs",
            "STRIPE_WEBHOOK_SECRET": "whsec_of_the_logs",
        }
        with running_process(variables, log) as process:
            client = Client(process.url, session, auth)
            client.tokens["anna"] = auth.mint("anna", ADDRESS)
            expired = auth.mint("anna", ADDRESS, ttl_seconds=-1)
            await _journey(client, expired)
            await asyncio.to_thread(process.stop)
    written = log.read_text()
    assert "defect" in written
    assert "CheckViolation" in written
    password = database_url.partition("@")[0].rpartition(":")[2]
    redis_password = redis_url.partition("@")[0].rpartition(":")[2]
    secrets = (SERVICE_KEY, "sk_test_of_the_logs", "whsec_of_the_logs", password, redis_password)
    tokens = (client.tokens["anna"], expired, expired.split(".")[1], "Bearer")
    for forbidden in (
        *secrets,
        *tokens,
        ADDRESS,
        "example.org",
        WORDS,
        "private kind",
        "wrong-key-of-the-logs",
    ):
        assert forbidden not in written, forbidden


async def _journey(client: Client, expired: str) -> None:
    (await client.grant("anna", 10, description=f"for {ADDRESS}")).ok()
    (await client.use("anna", 1, description=ADDRESS, metadata={"email": ADDRESS})).ok()
    assert (await client.use("anna", 100)).status == 402
    assert (await client.use("anna", -1, description=ADDRESS)).status == 400
    assert (await client.use(ADDRESS, 1)).status == 404
    reply = await client.call("GET", f"{USER}/balance", headers={"Authorization": f"Bearer {expired}"})
    assert reply.status == 401
    reply = await client.call("GET", f"{USER}/{ADDRESS}?email={ADDRESS}&key={SERVICE_KEY}")
    assert reply.status == 404
    reply = await client.internal("GET", "/balance/anna", headers={"X-Service-Key": "wrong-key-of-the-logs"})
    assert reply.status == 401
    # on the way of the uses, in a batch of them, and on a thread
    refused = [
        await client.use("anna", 1, description=WORDS, metadata={"email": ADDRESS}),
        await client.grant("anna", 1, "another", description=f"{WORDS} {ADDRESS}"),
    ]
    for reply in refused:
        assert reply.status == 500
        assert reply.json == {"statusCode": 500, "message": "Internal server error", "code": "internal_error"}
    item = {"userId": "anna", "amount": 1, "appId": "a", "description": WORDS}
    (await client.internal("POST", "/use/batch", {"items": [item]})).ok()
