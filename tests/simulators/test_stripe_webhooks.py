"""Deliveries: signed like Stripe's, repeated until a 2xx, and as unruly as a test wants them."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import stripe

from simulators.stripe import StripeSimulator
from tests.simulators.conftest import client_for
from tests.simulators.receiver import Receiver


def make_customers(client: stripe.StripeClient, count: int = 3) -> None:
    for number in range(count):
        client.v1.customers.create({"name": str(number)})


def names(receiver: Receiver) -> list[str]:
    return [event.data.object["name"] for event in receiver.events]


def test_events_arrive_signed_in_the_order_they_were_made(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    make_customers(client)
    simulator.webhooks.wait_until_delivered_blocking()
    assert names(receiver) == ["0", "1", "2"], "construct_event accepted each signature"
    assert [json.loads(body)["pending_webhooks"] for body in receiver.bodies] == [1, 1, 1]
    assert [event["pending_webhooks"] for event in simulator.events()] == [0, 0, 0]


def test_a_receiver_with_another_secret_does_not_accept_them(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    receiver.secret = "whsec_other"
    simulator.webhooks.pause()
    make_customers(client, 1)
    assert [attempt.status for attempt in simulator.webhooks.deliver_now_blocking()] == [500]
    assert receiver.events == []


def test_each_of_several_secrets_signs(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    simulator.webhooks.secrets = ("whsec_old", "whsec_new")
    for secret in simulator.webhooks.secrets:
        receiver.secret = secret
        make_customers(client, 1)
        simulator.webhooks.wait_until_delivered_blocking()
    assert len(receiver.events) == 2


def test_a_test_may_post_a_delivery_itself_stale_or_with_a_wrong_secret(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    make_customers(client, 1)
    event = simulator.events()[0]

    def verify(body: bytes, headers: dict[str, str]) -> Any:
        return stripe.Webhook.construct_event(body, headers["Stripe-Signature"], "whsec_simulator")

    assert verify(*simulator.webhooks.signed(event)).id == event["id"]
    with pytest.raises(stripe.SignatureVerificationError):
        verify(*simulator.webhooks.signed(event, timestamp=int(time.time()) - 301))
    with pytest.raises(stripe.SignatureVerificationError):
        verify(*simulator.webhooks.signed(event, secrets=("whsec_other",)))


@pytest.mark.parametrize("answer", [500, 400, 302])
def test_a_delivery_is_repeated_until_a_2xx(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver, answer: int
) -> None:
    receiver.answers = [answer] * 3
    make_customers(client, 1)
    simulator.webhooks.wait_until_delivered_blocking()
    assert [attempt.status for attempt in simulator.webhooks.attempts] == [answer] * 3 + [200]
    assert len({event.id for event in receiver.events}) == 1


def test_a_receiver_that_hangs_gets_it_again(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    receiver.hang_first = True
    make_customers(client, 1)
    simulator.webhooks.wait_until_delivered_blocking()
    assert [attempt.status for attempt in simulator.webhooks.attempts] == [None, 200]
    assert "no answer" in simulator.webhooks.attempts[0].error


def test_a_receiver_that_is_not_there_gets_it_when_it_is(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    simulator.webhooks.url = "http://127.0.0.1:9/nobody"
    make_customers(client, 1)
    with pytest.raises(TimeoutError, match=r"customer\.created"):
        simulator.webhooks.wait_until_delivered_blocking(0.2)
    simulator.webhooks.url = receiver.url
    simulator.webhooks.wait_until_delivered_blocking()
    assert names(receiver) == ["0"]


def test_paused_deliveries_wait_and_can_be_made_at_once_reordered_repeated_and_dropped(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    webhooks = simulator.webhooks
    webhooks.pause()
    make_customers(client, 4)
    ids = [event["id"] for event in webhooks.undelivered()]
    assert len(ids) == 4
    assert receiver.events == []
    webhooks.timeout_seconds = 60  # a busy machine's answer may take longer than the usual ten
    attempts = webhooks.deliver_now_blocking([ids[2], ids[0]])
    assert [(one.event_id, one.status, one.error) for one in attempts] == [
        (ids[2], 200, ""),
        (ids[0], 200, ""),
    ]
    assert names(receiver) == ["2", "0"]
    webhooks.reorder([ids[3], ids[1]])
    webhooks.repeat(ids[0], 2)
    assert webhooks.drop([ids[1]]) == [ids[1]]
    webhooks.resume()
    webhooks.wait_until_delivered_blocking()
    assert names(receiver) == ["2", "0", "3", "0", "0"]


def test_lost_events_are_never_delivered_but_the_api_lists_them(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    simulator.webhooks.lose()
    make_customers(client, 2)
    simulator.webhooks.lose(False)
    make_customers(client, 1)
    simulator.webhooks.wait_until_delivered_blocking()
    assert len(receiver.events) == 1
    assert len(client.v1.events.list()) == 3


def test_undelivered_events_and_all_objects_outlive_a_restart(receiver: Receiver, tmp_path: Path) -> None:
    first = StripeSimulator(webhook_url=receiver.url, directory=tmp_path)
    first.webhooks.pause()
    with first.on_a_thread(), client_for(first.url) as client:
        intent = client.v1.payment_intents.create(
            {"amount": 500, "currency": "eur", "metadata": {"purchaseId": "p"}}, {"idempotency_key": "key"}
        )
        client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_sepaDebit"})
    again = StripeSimulator(webhook_url=receiver.url, directory=tmp_path)
    with again.on_a_thread(), client_for(again.url) as client:
        again.webhooks.wait_until_delivered_blocking()
        assert receiver.types == ["payment_intent.created", "charge.pending", "payment_intent.processing"]
        again.settle(intent.id)
        assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
        repeated = client.v1.payment_intents.create(
            {"amount": 500, "currency": "eur", "metadata": {"purchaseId": "p"}}, {"idempotency_key": "key"}
        )
        assert repeated.id == intent.id
    assert (tmp_path / "stripe.jsonl").exists()
