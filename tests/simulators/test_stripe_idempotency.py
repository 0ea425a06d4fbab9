"""Idempotency keys: replay, mismatch, and two at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from simulators.stripe import StripeSimulator


def create(client: stripe.StripeClient, key: str, amount: int = 500) -> stripe.PaymentIntent:
    return client.v1.payment_intents.create({"amount": amount, "currency": "eur"}, {"idempotency_key": key})


def test_the_same_key_and_request_get_the_first_answer_again(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    first = create(client, "key-1")
    simulator.pay(first.id)
    again = create(client, "key-1")
    assert (again.id, again.status) == (first.id, "requires_payment_method")
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert first.last_response is not None
    assert again.last_response.headers["Original-Request"] == first.last_response.request_id
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert len(simulator.all("payment_intent")) == 1


def test_the_same_key_with_another_request_is_refused(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    create(client, "key-1")
    with pytest.raises(stripe.IdempotencyError) as mismatch:
        create(client, "key-1", amount=501)
    assert mismatch.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({}, {"idempotency_key": "key-1"})
    assert len(simulator.all("payment_intent")) == 1


def test_of_two_at_once_with_one_key_one_is_told_to_wait(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    simulator.api.processing_seconds = 0.3

    def attempt(_: int) -> str:
        try:
            return create(client, "key-1").id
        except stripe.APIError as error:
            return f"{error.http_status} {error.error.code if error.error else None}"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(4)))
    intents = simulator.all("payment_intent")
    assert len(intents) == 1
    assert sorted(outcomes) == sorted([intents[0]["id"], *["409 idempotency_key_in_use"] * 3])
    assert create(client, "key-1").id == intents[0]["id"]


def test_a_decline_is_kept_under_its_key_and_a_bad_parameter_is_not(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent = create(client, "key-1")
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            client.v1.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_chargeDeclined"}, {"idempotency_key": "pay"}
            )
    assert len(simulator.all("charge")) == 1
    with pytest.raises(stripe.InvalidRequestError):
        create(client, "key-2", amount=1)
    assert create(client, "key-2").amount == 500


def test_keys_are_forgotten_after_a_day(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    first = create(client, "key-1")
    simulator.advance(86400)
    assert create(client, "key-1").id != first.id


def test_a_kept_500_is_given_again_and_a_passing_one_is_not(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    simulator.faults.add("500_kept")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            create(client, "key-1")
    simulator.faults.add("500")
    with pytest.raises(stripe.APIError):
        create(client, "key-2")
    assert create(client, "key-2").amount == 500
    assert len(simulator.all("payment_intent")) == 1
