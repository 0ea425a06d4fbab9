"""A second opinion: one purchase journey against the simulator and against localstripe.

localstripe is somebody else's idea of Stripe.  It runs as a process of its own; what both can do must
come out alike: customer, payment intent by card and by SEPA, partial refund, signed webhooks.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import stripe

from simulators.stripe import StripeSimulator
from tests.simulators.conftest import client_for
from tests.simulators.receiver import Receiver

PAYING_IBAN = "DE89370400440532013000"
FAILING_IBAN = "DE62370400440532013001"
OUTCOMES = ("payment_intent.succeeded", "payment_intent.payment_failed")
DEADLINE_SECONDS = 15.0

Settle = Callable[[str, bool], object]


def until(found: Callable[[], object]) -> None:
    """Wait for something another process does in its own time; fail when it does not."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not found():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def localstripe(receiver: Receiver, tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "localstripe", "--port", str(port), "--from-scratch"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as server:

        def answers() -> bool:
            assert server.poll() is None, (tmp_path / "log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(answers)
        hook = {"url": receiver.url, "secret": receiver.secret}
        requests.post(f"{url}/_config/webhooks/tests", json=hook, timeout=5).raise_for_status()
        yield url
        server.terminate()


def charge_of(client: stripe.StripeClient, intent_id: str) -> stripe.Charge:
    """Return an intent's charge; localstripe shows it whole without being asked to expand it."""
    charge = client.v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}).latest_charge
    assert isinstance(charge, stripe.Charge)
    return charge


def debit(client: stripe.StripeClient, customer: str, iban: str, purchase: str) -> stripe.PaymentIntent:
    """Pay by SEPA debit from an account."""
    method = client.v1.payment_methods.create(
        {
            "type": "sepa_debit",
            "sepa_debit": {"iban": iban},
            "billing_details": {"name": "Anna", "email": "anna@example.com"},
        }
    )
    client.v1.payment_methods.attach(method.id, {"customer": customer})
    return client.v1.payment_intents.create(
        {
            "amount": 2000,
            "currency": "eur",
            "customer": customer,
            "payment_method": method.id,
            "confirm": True,
            "metadata": {"purchaseId": purchase},
        }
    )


def buy(client: stripe.StripeClient, receiver: Receiver, settle: Settle) -> dict[str, object]:
    """Buy by card and by SEPA, with a debit that fails, refund parts; return what a service would have seen."""
    customer = client.v1.customers.create({"email": "anna@example.com", "metadata": {"userId": "user-1"}})
    card = client.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "eur",
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"purchaseId": "by-card"},
        }
    )
    refunds = [
        client.v1.refunds.create({"payment_intent": card.id, "amount": 300}),
        client.v1.refunds.create({"charge": charge_of(client, card.id).id, "amount": 200}),
    ]
    # localstripe calls a debit that will be paid succeeded at once, so only a failing one shows processing.
    paying = debit(client, customer.id, PAYING_IBAN, "by-sepa")
    settle(paying.id, True)
    failing = debit(client, customer.id, FAILING_IBAN, "by-bad-sepa")
    settle(failing.id, False)
    until(lambda: client.v1.payment_intents.retrieve(paying.id).status == "succeeded")
    until(lambda: client.v1.payment_intents.retrieve(failing.id).status == "requires_payment_method")
    until(lambda: sum(one in OUTCOMES for one in receiver.types) == 3)
    refunded = charge_of(client, card.id)
    return {
        "customer": (customer.email, customer.metadata["userId"] if customer.metadata else None),
        "card": (card.status, card.amount, card.currency, card.customer == customer.id),
        "failing sepa at first": failing.status,
        "refunds": [(one.status, one.amount, one.charge == refunded.id) for one in refunds],
        "charge": (refunded.status, refunded.amount, refunded.amount_refunded, refunded.refunded),
        "listed": len(client.v1.refunds.list({"charge": refunded.id})),
        "webhooks": {
            (event.type, event.data.object["metadata"]["purchaseId"], event.data.object["status"])
            for event in receiver.events
            if event.type in OUTCOMES
        },
    }


def refused(client: stripe.StripeClient) -> list[int | None]:
    """Return the statuses of what both refuse."""
    statuses: list[int | None] = []
    calls: list[Callable[[], object]] = [
        lambda: client.v1.payment_intents.retrieve("pi_missing"),
        lambda: client.v1.customers.retrieve("cus_missing"),
        lambda: client.v1.payment_intents.create({"amount": -5, "currency": "eur"}),
    ]
    for call in calls:
        with pytest.raises(stripe.StripeError) as error:
            call()
        statuses.append(error.value.http_status)
    return statuses


EXPECTED: dict[str, object] = {
    "customer": ("anna@example.com", "user-1"),
    "card": ("succeeded", 1000, "eur", True),
    "failing sepa at first": "processing",
    "refunds": [("succeeded", 300, True), ("succeeded", 200, True)],
    "charge": ("succeeded", 1000, 500, False),
    "listed": 2,
    "webhooks": {
        ("payment_intent.succeeded", "by-card", "succeeded"),
        ("payment_intent.succeeded", "by-sepa", "succeeded"),
        ("payment_intent.payment_failed", "by-bad-sepa", "requires_payment_method"),
    },
}
REFUSED: list[int | None] = [404, 404, 400]


def test_the_journey_through_the_simulator(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    def settle(intent_id: str, succeeds: bool) -> None:
        simulator.settle(intent_id, succeeds=succeeds)

    assert buy(client, receiver, settle) == EXPECTED
    assert refused(client) == REFUSED


def test_the_same_journey_through_localstripe(localstripe: str, receiver: Receiver) -> None:
    with client_for(localstripe) as client:
        # localstripe settles its debits by itself after half a second.
        assert buy(client, receiver, lambda _intent, _succeeds: None) == EXPECTED
        assert refused(client) == REFUSED
