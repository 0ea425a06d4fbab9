"""Refunds and their limits."""

import pytest
import stripe

from simulators.stripe import StripeSimulator


def paid(client: stripe.StripeClient, simulator: StripeSimulator, method: str = "pm_card_visa") -> str:
    intent = client.v1.payment_intents.create({"amount": 1000, "currency": "eur"})
    simulator.pay(intent.id, method)
    if method == "pm_sepaDebit":
        simulator.settle(intent.id)
    return intent.id


def charge_of(client: stripe.StripeClient, intent_id: str) -> stripe.Charge:
    return client.v1.charges.list({"payment_intent": intent_id}).data[0]


def refund(client: stripe.StripeClient, intent_id: str, amount: int) -> stripe.Refund:
    return client.v1.refunds.create({"payment_intent": intent_id, "amount": amount})


def test_partial_refunds_add_up_to_the_whole(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    intent_id = paid(client, simulator)
    first = refund(client, intent_id, 300)
    assert (first.status, first.amount, first.payment_intent) == ("succeeded", 300, intent_id)
    charge = charge_of(client, intent_id)
    assert (charge.amount_refunded, charge.refunded, first.charge) == (300, False, charge.id)
    rest = client.v1.refunds.create({"charge": charge.id, "reason": "requested_by_customer"})
    assert rest.amount == 700
    whole = client.v1.charges.retrieve(charge.id, {"expand": ["refunds"]})
    assert (whole.amount_refunded, whole.refunded) == (1000, True)
    assert whole.refunds is not None
    assert [one.id for one in whole.refunds] == [rest.id, first.id]
    assert [one.id for one in client.v1.refunds.list({"payment_intent": intent_id})] == [rest.id, first.id]
    refunded = simulator.events("charge.refunded")
    assert [event["data"]["object"]["amount_refunded"] for event in refunded] == [300, 1000]
    assert [event["data"]["previous_attributes"]["amount_refunded"] for event in refunded] == [0, 300]
    assert [event["type"] for event in simulator.events()][-4:] == ["refund.created", "charge.refunded"] * 2


def test_more_than_the_unrefunded_rest_is_refused_and_changes_nothing(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent_id = paid(client, simulator)
    refund(client, intent_id, 600)
    with pytest.raises(stripe.InvalidRequestError, match=r"greater than unrefunded amount") as refused:
        refund(client, intent_id, 401)
    assert refused.value.param == "amount"
    assert charge_of(client, intent_id).amount_refunded == 600
    refund(client, intent_id, 400)
    with pytest.raises(stripe.InvalidRequestError) as over:
        refund(client, intent_id, 1)
    assert over.value.code == "charge_already_refunded"


def test_what_was_not_paid_cannot_be_refunded(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    open_intent = client.v1.payment_intents.create({"amount": 1000, "currency": "eur"})
    with pytest.raises(stripe.InvalidRequestError):
        refund(client, open_intent.id, 100)
    processing = simulator.pay(open_intent.id, "pm_sepaDebit")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": processing["latest_charge"]})
    assert refused.value.code == "charge_not_refundable"


def test_a_refund_that_fails_later_counts_no_more(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent_id = paid(client, simulator)
    made = refund(client, intent_id, 1000)
    simulator.fail_refund(made.id)
    after = client.v1.refunds.retrieve(made.id)
    assert (after.status, after.failure_reason) == ("failed", "lost_or_stolen_card")
    charge = charge_of(client, intent_id)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert [event["type"] for event in simulator.events()][-3:] == [
        "charge.refund.updated",
        "refund.updated",
        "refund.failed",
    ]
    assert refund(client, intent_id, 1000).status == "succeeded"


def test_a_sepa_refund_is_pending_until_it_arrives(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    made = refund(client, paid(client, simulator, "pm_sepaDebit"), 250)
    assert made.status == "pending"
    simulator.succeed_refund(made.id)
    assert client.v1.refunds.retrieve(made.id).status == "succeeded"
    updated = simulator.events("refund.updated")[0]["data"]
    assert (updated["previous_attributes"], updated["object"]["status"]) == (
        {"status": "pending"},
        "succeeded",
    )


def test_a_charge_the_bank_took_back_cannot_be_refunded_until_the_dispute_is_won(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent_id = paid(client, simulator)
    dispute = simulator.dispute(intent_id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        refund(client, intent_id, 100)
    assert refused.value.code == "charge_disputed"
    simulator.close_dispute(dispute["id"], won=True)
    assert refund(client, intent_id, 100).status == "succeeded"
