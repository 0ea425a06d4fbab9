"""What goes wrong between the service and Stripe, as the SDK sees it."""

from typing import Any

import pytest
import stripe

from simulators.faults import Fault
from simulators.stripe import StripeSimulator
from tests.simulators.conftest import client_for


def create(client: stripe.StripeClient, key: str = "key-1") -> stripe.PaymentIntent:
    return client.v1.payment_intents.create({"amount": 500, "currency": "eur"}, {"idempotency_key": key})


@pytest.mark.parametrize("kind", ["cut", "reset_after", "hang_after"])
def test_a_lost_answer_leaves_the_effect_which_the_key_finds_again(
    simulator: StripeSimulator, kind: Any
) -> None:
    with client_for(simulator.url, timeout_seconds=0.3) as client:
        simulator.faults.add(kind)
        with pytest.raises(stripe.APIConnectionError):
            create(client)
        made = simulator.all("payment_intent")
        assert len(made) == 1
        assert create(client).id == made[0]["id"]
        assert len(simulator.all("payment_intent")) == 1


@pytest.mark.parametrize("kind", ["hang", "reset"])
def test_a_connection_lost_before_has_no_effect(simulator: StripeSimulator, kind: Any) -> None:
    with client_for(simulator.url, timeout_seconds=0.3) as client:
        simulator.faults.add(kind)
        with pytest.raises(stripe.APIConnectionError):
            create(client)
        assert simulator.all("payment_intent") == []
        assert create(client).status == "requires_payment_method"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("402", stripe.CardError),
        ("409", stripe.APIError),
        ("429", stripe.RateLimitError),
        ("500", stripe.APIError),
        ("503", stripe.APIError),
    ],
)
def test_a_planned_status_is_answered_without_an_effect(
    client: stripe.StripeClient, simulator: StripeSimulator, kind: Any, error: type[stripe.StripeError]
) -> None:
    simulator.faults.add(kind)
    with pytest.raises(error) as raised:
        create(client)
    assert raised.value.http_status == int(kind)
    assert simulator.all("payment_intent") == []
    assert create(client).amount == 500


def test_a_fault_hits_only_what_it_is_for_and_as_often_as_it_says(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    fault = simulator.faults.add("500", times=2, path="/payment_intents", method="post", skip=1)
    create(client, "passes")
    client.v1.customers.create({})
    client.v1.payment_intents.list()
    for key in ("first", "second"):
        with pytest.raises(stripe.APIError):
            create(client, key)
    create(client, "passes again")
    assert fault.hits == 2
    simulator.faults.add("500", times=None)
    simulator.faults.clear()
    create(client, "cleared")


def test_a_slow_network_delays_every_request(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    simulator.faults.delay_seconds = 0.05
    started = simulator.clock()
    create(client)
    assert simulator.clock() - started >= 0.05


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault 'explode'"):
        Fault("explode")  # type: ignore[arg-type]


def test_the_calls_are_counted(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    intent = create(client)
    client.v1.payment_intents.retrieve(intent.id)
    assert simulator.api.calls == ["POST /v1/payment_intents", f"GET /v1/payment_intents/{intent.id}"]
